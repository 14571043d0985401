//! What every actor may look at: who is who, what was done, and what came of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::chronicle::Chronicle;
use super::lag::Lag;
use super::tally::{Part, Tally, Violation, say};

/// How far back what happened is shown with a violation: a client's longest back-off and more.
const BACK: Duration = Duration::from_secs(15);

/// One run.
#[derive(Debug)]
pub(super) struct World {
    /// All chance is made of it.
    pub(super) seed: u64,
    /// The proxies, where they always are.
    pub(super) proxies: Vec<SocketAddr>,
    /// Every target.
    pub(super) places: Vec<Place>,
    /// What targets did, by request.
    pub(super) ledger: Ledger,
    pub(super) tally: Tally,
    pub(super) chronicle: Chronicle,
    pub(super) lag: Lag,
    /// Which site has a name now, and had it before; for reports.
    pub(super) owners: Owners,
    /// Cancelled when no further fault may begin and those under way end.
    pub(super) calm: CancellationToken,
    /// Targets answer whole and at once.
    pub(super) well_behaved: AtomicBool,
    /// Sent to when targets shall close the connections nobody uses.
    pub(super) tidy: watch::Sender<()>,
    /// When each proxy was killed.
    kills: Mutex<Vec<(usize, Instant)>>,
}

/// A target, as scrapers know it.
#[derive(Debug)]
pub(super) struct Place {
    /// What it calls itself in every line.
    pub(super) id: String,
    /// The name that routes to it.
    pub(super) name: String,
    /// With the name, what scrapers ask for.
    pub(super) port: u16,
    /// The only proxy it can be reached by, if a PushProx client carries it.
    pub(super) only_by: Option<usize>,
    rivals: Mutex<Vec<Rival>>,
}

/// Another machine that had the name for a while.
#[derive(Debug)]
struct Rival {
    id: String,
    from: Instant,
    until: Option<Instant>,
}

/// What targets did with each request, until its scrape is judged.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<HashMap<u64, Vec<Done>>>);

/// One thing a target did.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) at: Instant,
    pub(super) what: String,
    /// It was to answer whole, and at once.
    pub(super) plain: bool,
}

/// Sites of names: the one that has it, and the one before.
#[derive(Debug, Default)]
pub(super) struct Owners(Mutex<HashMap<String, [Option<String>; 2]>>);

impl World {
    pub(super) fn new(seed: u64, proxies: Vec<SocketAddr>, places: Vec<Place>) -> Self {
        Self {
            seed,
            proxies,
            places,
            ledger: Ledger::default(),
            tally: Tally::default(),
            chronicle: Chronicle::new(),
            lag: Lag::start(),
            owners: Owners::default(),
            calm: CancellationToken::new(),
            well_behaved: AtomicBool::new(true),
            tidy: watch::Sender::new(()),
            kills: Mutex::default(),
        }
    }

    /// The chance of one actor.
    pub(super) fn chance(&self, who: &str) -> Chance {
        Chance::new(self.seed, who)
    }

    pub(super) fn are_well_behaved(&self) -> bool {
        self.well_behaved.load(Ordering::Relaxed)
    }

    /// Whether anything may be done to anybody.
    pub(super) fn rages(&self) -> bool {
        !self.are_well_behaved() && !self.calm.is_cancelled()
    }

    /// A fault is put in place.
    pub(super) fn fault(&self, who: &str, kind: &str, what: impl Into<String>) {
        self.tally.count(Part::Faults, kind);
        self.chronicle.note(who, what);
    }

    /// A program is started, stopped or changed.
    pub(super) fn change(&self, who: &str, what: &str) {
        self.tally.count(Part::Restarts, what);
        self.chronicle.note(who, what);
    }

    /// Something is wrong. Says at once all that may help.
    pub(super) fn violation(
        &self,
        violation: Violation,
        whom: &[String],
        from: Instant,
        details: &str,
    ) {
        self.tally.violated(violation);
        let now = self.chronicle.seconds(Instant::now());
        let happened = self.chronicle.about(whom, from, BACK);
        say(&format!(
            "VIOLATION: {} (seed {}, at {now:.3}s)\n{details}\n  what happened to {}:\n{happened}",
            violation.as_str(),
            self.seed,
            whom.join(", "),
        ));
    }

    /// A proxy dies without a word.
    pub(super) fn killed(&self, proxy: usize) {
        lock(&self.kills).push((proxy, Instant::now()));
    }

    /// Whether that happened to it in this time.
    pub(super) fn was_killed(&self, proxy: usize, from: Instant, until: Instant) -> bool {
        let kills = lock(&self.kills);
        let mut of_it = kills.iter().filter(|(which, _)| *which == proxy);
        of_it.any(|(_, at)| *at >= from && *at <= until)
    }

    /// Everybody who may have to do with a scrape.
    pub(super) fn concerned(&self, place: &Place, proxy: usize) -> Vec<String> {
        let mut whom = vec![format!("p{proxy}"), place.id.clone(), place.name.clone()];
        if place.only_by.is_some() {
            whom.push(way(&place.name, proxy));
        }
        for owner in self.owners.of(&place.name) {
            whom.push(way(&owner, proxy));
            whom.push(owner);
        }
        whom
    }
}

/// What the way from a client to a proxy is called.
pub(super) fn way(client: &str, proxy: usize) -> String {
    format!("{client}-p{proxy}")
}

impl Place {
    pub(super) fn new(id: String, name: String, port: u16, only_by: Option<usize>) -> Self {
        Self {
            id,
            name,
            port,
            only_by,
            rivals: Mutex::default(),
        }
    }

    /// What scrapers ask for.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.name, self.port)
    }

    /// Another target may answer for it from now on.
    pub(super) fn rival_comes(&self, id: String) {
        lock(&self.rivals).push(Rival {
            id,
            from: Instant::now(),
            until: None,
        });
    }

    /// And no longer.
    pub(super) fn rival_is_gone(&self, id: &str) {
        for rival in lock(&self.rivals).iter_mut().filter(|r| r.id == id) {
            rival.until = Some(Instant::now());
        }
    }

    /// Whether that target may have answered for it in this time.
    pub(super) fn may_be(&self, id: &str, from: Instant, until: Instant) -> bool {
        let is = |rival: &Rival| {
            rival.id == id && rival.from <= until && rival.until.is_none_or(|gone| gone >= from)
        };
        id == self.id || lock(&self.rivals).iter().any(is)
    }
}

impl Ledger {
    /// More requests than are under way: those whose scrapers had left come late, and are dropped.
    const MOST: usize = 10_000;

    /// A target does something with a request.
    pub(super) fn note(&self, request: u64, what: String, plain: bool) {
        let mut requests = lock(&self.0);
        let at = Instant::now();
        if requests.len() > Self::MOST {
            let minute = Duration::from_secs(60);
            requests.retain(|_, done| done.iter().any(|done| at - done.at < minute));
        }
        let done = Done { at, what, plain };
        requests.entry(request).or_default().push(done);
    }

    /// All that was done with a request.
    pub(super) fn take(&self, request: u64) -> Vec<Done> {
        lock(&self.0).remove(&request).unwrap_or_default()
    }
}

impl Owners {
    /// A site has a name from now on.
    pub(super) fn set(&self, name: &str, site: &str) {
        let mut names = lock(&self.0);
        let owners = names.entry(name.to_owned()).or_default();
        if owners[0].as_deref() != Some(site) {
            owners.swap(0, 1);
            owners[0] = Some(site.to_owned());
        }
    }

    fn of(&self, name: &str) -> Vec<String> {
        let names = lock(&self.0);
        let owners = names.get(name).cloned().unwrap_or_default();
        owners.into_iter().flatten().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rival_may_answer_while_it_is_there() {
        let place = Place::new("t1".into(), "n1".into(), 9100, None);
        let moment = || {
            std::thread::sleep(Duration::from_millis(2));
            Instant::now()
        };
        let before = moment();
        assert!(place.may_be("t1", before, before));
        place.rival_comes("r1".into());
        let during = moment();
        assert!(place.may_be("r1", before, during) && !place.may_be("r1", before, before));
        place.rival_is_gone("r1");
        let after = moment();
        assert!(place.may_be("r1", during, after) && !place.may_be("r1", after, after));
        assert!(!place.may_be("r2", before, after));
    }

    #[test]
    fn the_ledger_is_emptied_by_whoever_judges_and_by_age() {
        let ledger = Ledger::default();
        ledger.note(1, "answered".into(), true);
        assert_eq!(ledger.take(1).len(), 1);
        assert!(ledger.take(1).is_empty());
    }

    #[test]
    fn a_name_remembers_its_owner_and_the_one_before() {
        let owners = Owners::default();
        for site in ["s1", "s2", "s2", "s3"] {
            owners.set("n", site);
        }
        assert_eq!(owners.of("n"), ["s3", "s2"]);
    }
}
