//! Two real proxies at fixed addresses, each restarted now and then: told to stop, or killed.
//! Never both at once, or nothing would be learnt meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::chance::Chance;
use super::program;
use super::tally::Violation;
use super::world::World;
use crate::program::Program;
use crate::scraper;

/// The settings of all of them. The grace is longer than any scrape.
const FLAGS: [&str; 6] = [
    "--tunnel.ping-interval=500ms",
    "--tunnel.dead-after=2s",
    "--scrape.reconnect-wait=3s",
    "--scrape.default-timeout=5s",
    "--shutdown.grace=10s",
    "--pushprox.enabled",
];
/// What a CONNECT has to be answered in, which says no time of its own.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// Seconds between two events at one proxy, on average.
const EVENT_EVERY: f64 = 30.0;

/// One proxy.
pub(super) struct Proxy {
    world: Arc<World>,
    index: usize,
    who: String,
    config: PathBuf,
    program: Option<Program>,
}

impl Proxy {
    /// Starts it.
    pub(super) async fn start(world: &Arc<World>, index: usize, folder: &std::path::Path) -> Self {
        let who = format!("p{index}");
        let mut proxy = Self {
            world: Arc::clone(world),
            index,
            config: folder.join(format!("{who}.yml")),
            who,
            program: None,
        };
        proxy.write("duplicates: replace\n");
        proxy.up().await;
        proxy
    }

    /// Restarts it now and then, until there shall be calm. Whoever does has a permit of `turn`.
    pub(super) async fn keep(mut self, turn: Arc<Semaphore>) -> Self {
        let world = Arc::clone(&self.world);
        let mut chance = world.chance(&self.who);
        loop {
            let next = sleep(chance.until_next(EVENT_EVERY));
            if world.calm.run_until_cancelled(next).await.is_none() {
                return self;
            }
            if chance.often(0.3) {
                self.reload(&mut chance).await;
                continue;
            }
            // Never closed.
            let permit = turn.acquire().await;
            self.restart(&mut chance).await;
            // Clients come back before the other one goes.
            sleep(Duration::from_secs(5)).await;
            drop(permit);
        }
    }

    async fn restart(&mut self, chance: &mut Chance) {
        if chance.often(0.5) {
            self.world
                .change(&self.who, "proxy told to stop, and started");
            self.stop().await;
        } else {
            self.world.change(&self.who, "proxy killed, and started");
            if let Some(mut program) = self.program.take() {
                self.world.killed(self.index);
                program.kill();
                self.keep_log(&program.log());
            }
            sleep(chance.time(0.0..2.0)).await;
        }
        self.up().await;
        self.world.chronicle.note(&self.who, "up again");
    }

    async fn up(&mut self) {
        let mut flags: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        let address = self.world.proxies[self.index];
        flags.push(format!("--web.listen-address={address}"));
        flags.push(format!("--config.file={}", self.config.display()));
        let (program, _) = program::start("adit-proxy", &flags).await;
        self.program = Some(program);
    }

    /// As systemd does it.
    pub(super) async fn stop(&mut self) {
        let Some(program) = self.program.take() else {
            return;
        };
        let told = Instant::now();
        program.signal("TERM");
        let ended = program.finished().await;
        let took = format!("{} stopped after {:?}", self.who, told.elapsed());
        self.world.chronicle.note(&self.who, took);
        self.keep_log(&ended.stderr);
        if ended.status.code() != Some(0) {
            let words = format!(
                "{} exited with {}:\n{}",
                self.who, ended.status, ended.stderr
            );
            self.bad_end(&words);
        }
    }

    /// What the file says changes, or cannot be used; nothing may come of the latter.
    async fn reload(&mut self, chance: &mut Chance) {
        let good = chance.often(0.7);
        self.write(match good {
            true => "duplicates: replace\nnames: [{match: '*.ha', duplicates: replicas}]\n",
            false => "duplicates: perhaps\n",
        });
        self.world
            .change(&self.who, "proxy's configuration reloaded");
        let request = "POST /-/reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                       Content-Length: 0\r\n\r\n";
        let address = self.world.proxies[self.index];
        let status = scraper::send(address, request).await.head.status;
        // The next start needs one that can be read.
        self.write("duplicates: replace\n");
        if status != if good { 200 } else { 500 } {
            let words = format!(
                "{}: a reload (good: {good}) was answered {status}",
                self.who
            );
            self.bad_end(&words);
        }
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.config, text).expect("a folder of our own");
    }

    fn look_for_panics(&self, log: &str) {
        let panics = program::panics(log);
        if !panics.is_empty() {
            self.bad_end(&format!("{}: {panics:?}", self.who));
        }
    }

    fn bad_end(&self, words: &str) {
        let whom = [self.who.clone()];
        let now = Instant::now();
        self.world.violation(Violation::BadEnd, &whom, now, words);
    }

    /// Which of them it is.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Its process, while it is up.
    pub(super) fn process(&self) -> u32 {
        self.program.as_ref().map(Program::id).unwrap_or_default()
    }

    /// What it said is kept beside its configuration.
    fn keep_log(&self, log: &str) {
        program::append(&self.config.with_extension("log"), log);
        self.look_for_panics(log);
    }
}
