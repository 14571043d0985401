//! The names of this process' own sessions, and for a while of those that left.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use adit_common::name::Name;
use adit_common::registration::Instance;
use tokio::time::Instant;

use crate::session::Session;

/// Names remembered after they left. Only an accepted client puts one there; at so many the
/// oldest goes.
const MOST_AWAY: usize = 100_000;

/// One writer when sessions come and go, many readers for scrapes.
#[derive(Debug)]
pub(crate) struct Registry {
    remember: Duration,
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    /// The newest session last; never empty.
    here: HashMap<Name, Vec<Arc<Session>>>,
    /// The names of each session, by its id: leaving costs as much as it had, not as all have.
    names: HashMap<u64, Vec<Name>>,
    away: HashMap<Name, Instant>,
}

/// What is known of a name.
#[derive(Debug)]
pub(crate) enum Found {
    /// Held by this session.
    Here(Arc<Session>),
    /// Left then.
    Away(Instant),
    /// Never seen, or forgotten.
    Unknown,
}

/// A name is held by an instance that started later.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is held by an instance that started later ({by})")]
pub(crate) struct Taken {
    pub(crate) name: Name,
    pub(crate) by: Instance,
}

impl Registry {
    /// `remember`: how long a name that left is known as away.
    pub(crate) fn new(remember: Duration) -> Self {
        Self {
            remember,
            tables: RwLock::default(),
        }
    }

    /// Who holds a name. Leaves no trace of one that nobody does.
    pub(crate) fn find(&self, name: &Name) -> Found {
        let tables = self.read();
        if let Some(session) = tables.here.get(name).and_then(|held| held.last()) {
            return Found::Here(Arc::clone(session));
        }
        match tables.away.get(name) {
            Some(since) if since.elapsed() < self.remember => Found::Away(*since),
            _ => Found::Unknown,
        }
    }

    /// Gives `session` exactly these names, or none of them and the reason.
    ///
    /// Sessions of one instance share names. Of two instances the one that started later keeps
    /// them: the sessions returned have lost a name and must be told, so that data of two machines
    /// is never mixed.
    pub(crate) fn claim(
        &self,
        session: &Arc<Session>,
        names: &[Name],
    ) -> Result<Vec<Arc<Session>>, Taken> {
        let mut tables = self.write();
        let instance = session.instance();
        let holders = |name: &Name| tables.here.get(name).into_iter().flatten();
        for name in names {
            let newer = holders(name)
                .map(|held| held.instance())
                .find(|held| held.id != instance.id && held.started > instance.started);
            if let Some(by) = newer {
                return Err(Taken {
                    name: name.clone(),
                    by,
                });
            }
        }
        let mut evicted: Vec<Arc<Session>> = Vec::new();
        for name in names {
            for held in holders(name).filter(|held| held.instance().id != instance.id) {
                if !evicted.iter().any(|other| other.id() == held.id()) {
                    evicted.push(Arc::clone(held));
                }
            }
        }
        for old in &evicted {
            tables.remove(old.id(), &[]);
        }
        // A changed registration: what is no longer offered leaves, the rest keeps its place.
        tables.remove(session.id(), names);
        for name in names {
            tables.away.remove(name);
            let held = tables.here.entry(name.clone()).or_default();
            if !held.iter().any(|other| other.id() == session.id()) {
                held.push(Arc::clone(session));
            }
        }
        tables.names.insert(session.id(), names.to_vec());
        Ok(evicted)
    }

    /// Takes every name from a session that ended. Again does nothing.
    pub(crate) fn release(&self, session: &Session) {
        self.write().remove(session.id(), &[]);
    }

    /// Forgets what has been away for long.
    pub(crate) fn sweep(&self) {
        let remember = self.remember;
        self.write()
            .away
            .retain(|_, since| since.elapsed() < remember);
    }

    /// Every name that is here, sorted.
    pub(crate) fn names(&self) -> Vec<Name> {
        let mut names: Vec<Name> = self.read().here.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// How many names are here, and how many away.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let tables = self.read();
        (tables.here.len(), tables.away.len())
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// Takes all names but `keep` from a session.
    fn remove(&mut self, id: u64, keep: &[Name]) {
        let now = Instant::now();
        for name in self.names.remove(&id).unwrap_or_default() {
            if keep.contains(&name) {
                continue;
            }
            if let Some(held) = self.here.get_mut(&name) {
                held.retain(|session| session.id() != id);
                if held.is_empty() {
                    self.here.remove(&name);
                    self.leave(name, now);
                }
            }
        }
    }

    fn leave(&mut self, name: Name, now: Instant) {
        if self.away.len() >= MOST_AWAY
            && let Some((oldest, _)) = self.away.iter().min_by_key(|(_, since)| **since)
        {
            let oldest = oldest.clone();
            self.away.remove(&oldest);
        }
        self.away.insert(name, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<Name> {
        list.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn instance(started: u64) -> Instance {
        Instance {
            started,
            ..Instance::now()
        }
    }

    fn registry() -> Registry {
        Registry::new(Duration::from_secs(300))
    }

    fn holder(registry: &Registry, name: &str) -> Option<u64> {
        match registry.find(&name.parse().unwrap()) {
            Found::Here(session) => Some(session.id()),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_here_then_away_then_forgotten() {
        let registry = registry();
        let session = Session::for_tests(instance(1));
        registry.claim(&session, &names(&["pi", "nas"])).unwrap();
        assert_eq!(holder(&registry, "pi"), Some(session.id()));
        registry.release(&session);
        assert!(matches!(
            registry.find(&"pi".parse().unwrap()),
            Found::Away(_)
        ));
        assert_eq!(registry.sizes(), (0, 2));
        tokio::time::advance(Duration::from_secs(300)).await;
        assert!(matches!(
            registry.find(&"pi".parse().unwrap()),
            Found::Unknown
        ));
        registry.sweep();
        assert_eq!(registry.sizes(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn asking_for_unknown_names_leaves_nothing() {
        let registry = registry();
        for n in 0..1000 {
            let name = format!("unknown-{n}").parse().unwrap();
            assert!(matches!(registry.find(&name), Found::Unknown));
        }
        assert_eq!(registry.sizes(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn two_sessions_of_one_instance_share_and_the_newest_serves() {
        let registry = registry();
        let same = instance(1);
        let (old, new) = (Session::for_tests(same), Session::for_tests(same));
        assert!(registry.claim(&old, &names(&["pi"])).unwrap().is_empty());
        assert!(registry.claim(&new, &names(&["pi"])).unwrap().is_empty());
        assert_eq!(holder(&registry, "pi"), Some(new.id()));
        registry.release(&new);
        assert_eq!(holder(&registry, "pi"), Some(old.id()));
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_instances_the_one_that_started_later_keeps_the_name() {
        let registry = registry();
        let (older, newer) = (
            Session::for_tests(instance(1)),
            Session::for_tests(instance(2)),
        );
        registry.claim(&older, &names(&["pi", "nas"])).unwrap();
        let evicted = registry.claim(&newer, &names(&["pi"])).unwrap();
        assert_eq!(evicted.len(), 1);
        assert_eq!(evicted[0].id(), older.id());
        assert_eq!(holder(&registry, "pi"), Some(newer.id()));
        assert_eq!(
            holder(&registry, "nas"),
            None,
            "a session that lost a name has none"
        );
        let taken = registry.claim(&older, &names(&["nas", "pi"])).unwrap_err();
        assert_eq!(taken.name.as_str(), "pi");
        assert_eq!(holder(&registry, "nas"), None, "all names or none");
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_registration_moves_only_what_changed() {
        let registry = registry();
        let session = Session::for_tests(instance(1));
        registry.claim(&session, &names(&["a", "b"])).unwrap();
        registry.claim(&session, &names(&["b", "c"])).unwrap();
        assert_eq!(holder(&registry, "a"), None);
        assert_eq!(holder(&registry, "b"), Some(session.id()));
        assert_eq!(registry.names(), names(&["b", "c"]));
        assert_eq!(registry.sizes(), (2, 1));
    }
}
