//! A storm, for as long as you like, and then silence: `make soak`.
//!
//! Two real proxies, some dozens of clients, of targets and of scrapers, and everything between them
//! goes wrong by chance. Every answer is held against what was asked for. At the end everything must
//! be as it was, and every name be back.
//!
//! * [`plan`] is who there is. [`world`] is what everybody may look at: [`chance`] from one seed, the [`chronicle`] of what was
//!   done to whom, and the [`tally`] of what came of it; [`lag`] is how late this machine itself is.
//! * [`target`] answers, with faults of its own, in [`body`]s that say whose they are in every line.
//! * [`sites`] have clients, which are stopped, killed and started; [`moves`] takes names from one to
//!   another. [`pushprox`] are clients of PushProx'.
//! * [`proxies`] are restarted; [`weather`] is what happens on the way to them.
//! * [`scrapers`] scrape and judge.
//! * [`storm`] is everybody together; [`settle`] measures before it and after it, and [`files`] says
//!   what a program has open that has too much.
//!
//! It is no test: nothing of it is asserted, violations are counted and told at once with all that
//! may help, and the run goes on.

mod plan;
mod world;

mod chance;
mod chronicle;
mod lag;
mod tally;

mod body;
mod target;

mod program;
mod sites;
mod moves;
mod pushprox;

mod proxies;
mod weather;

mod scrapers;

mod storm;

mod settle;
mod files;

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use clap::Parser;

use self::chance::Chance;
use self::plan::Plan;
use self::scrapers::Scrapers;
use self::storm::Storm;
use self::tally::{Violation, say, words};
use self::world::World;
use crate::ports;

const PROXIES: usize = 2;
const SITES: usize = 24;
const SCRAPERS: usize = 36;
/// How long every target is scraped in the silence, and no longer than a part of the storm.
const SILENCE: Duration = Duration::from_secs(60);

/// A long run with faults by chance.
#[derive(Debug, Parser)]
#[command(name = "soak")]
pub struct Options {
    /// How long the storm lasts
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    duration: Duration,

    /// What all chance is made of; printed at the start
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs it all, and says whether nothing was violated.
///
/// # Panics
/// When it cannot begin: a program is missing, or something does not start.
pub async fn run(options: Options) -> bool {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let duration = options.duration;
    say(&format!(
        "soak: seed {seed}, a storm of {}",
        words(duration)
    ));
    let folder = tempfile::Builder::new().prefix("adit-soak-").tempdir();
    let folder = folder.expect("a folder of our own");
    let plan = Plan::draw(
        &mut Chance::new(seed, "plan"),
        SITES,
        pushprox::POLLERS,
        PROXIES,
    );
    let proxies = std::iter::repeat_with(|| ([127, 0, 0, 1], ports::unused()).into());
    let world = World::new(seed, proxies.take(PROXIES).collect(), plan.places);
    let world = Arc::new(world);
    note_panics(&world);
    let mut storm = Storm::gather(&world, plan.listeners, folder.path()).await;
    storm.sites(plan.offers).await;
    storm.pollers(plan.pollers).await;
    let base = storm
        .expected()
        .base()
        .await
        .expect("everybody is here before it begins");
    say(&format!(
        "{SITES} clients, {} of PushProx, {} targets, {SCRAPERS} scrapers; {PROXIES} proxies at {:?}",
        pushprox::POLLERS,
        world.places.len(),
        world.proxies
    ));
    let scrapers = Scrapers::new(&world);
    storm.rage(&scrapers, SCRAPERS, duration).await;
    say(&format!("the storm is over: {}", world.tally.line()));
    let calm = Instant::now();
    storm.expected().everybody_is_back().await;
    world.tidy.send_replace(());
    storm.expected().nothing_is_leaked(&base).await;
    say(&format!(
        "everything had settled after {:?}",
        calm.elapsed()
    ));
    let silence = SILENCE.min(duration / 4);
    let count = storm
        .expected()
        .every_name_answers(&scrapers, silence)
        .await;
    say(&format!("{count} plain scrapes in {}", words(silence)));
    storm.end().await;
    say(&format!(
        "\nsoak: seed {seed}, {}\n{}",
        words(duration),
        world.tally.table()
    ));
    let is_good = world.tally.violations() == 0;
    if !is_good {
        keep(folder.keep().as_path());
    }
    is_good
}

fn keep(folder: &Path) {
    say(&format!(
        "logs and configurations are in {}",
        folder.display()
    ));
}

/// A task of ours that panics, or of a client in this process, is a violation.
fn note_panics(world: &Arc<World>) {
    let world: Weak<World> = Arc::downgrade(world);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        if let Some(world) = world.upgrade() {
            let words = format!("  {panic}");
            world.violation(Violation::BadEnd, &[], Instant::now(), &words);
        }
    }));
}
