//! Who belongs to a pool, as discovery finds them.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::{State, watched};
use crate::discovery::Listed;
use crate::query::backend::Backend;
use crate::query::health::{self, Report};
use crate::query::standing::Standing;
use crate::query::strategy::Candidate;

/// Who cannot be opened, for want of a file most often, is tried again after so long.
const AGAIN: Duration = Duration::from_secs(10);

/// Those there are now.
#[derive(Debug, Default)]
pub(super) struct Members(RwLock<Arc<Vec<Member>>>);

/// A backend that is watched for as long as it belongs to the pool.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) backend: Arc<Backend>,
    listed: Listed,
    _watching: Arc<Watching>,
}

/// Its tasks.
#[derive(Debug)]
struct Watching(Vec<AbortHandle>);

impl Drop for Watching {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Members {
    pub(super) fn current(&self) -> Arc<Vec<Member>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, members: Vec<Member>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(members);
    }
}

impl Member {
    /// As strategies see it.
    pub(super) fn candidate(&self, now: Instant) -> Candidate {
        self.candidate_of(&self.backend.standing.borrow(), now)
    }

    /// The same when its standing was that.
    pub(crate) fn candidate_of(&self, standing: &Standing, now: Instant) -> Candidate {
        let backend = &self.backend;
        Candidate {
            name: Arc::clone(&backend.name),
            tier: backend.tier_of(standing, now),
            priority: backend.priority,
            weight: backend.weight,
            data: standing.data.clone(),
            under_way: backend.load.under_way(),
            latency: backend.load.latency(),
        }
    }
}

/// Makes members of what is listed, for as long as the pool is there.
pub(super) async fn follow(state: Arc<State>, mut listed: watch::Receiver<Arc<Vec<Listed>>>) {
    let mut tasks = JoinSet::new();
    loop {
        let list = Arc::clone(&listed.borrow_and_update());
        let all = take(&state, &list, &mut tasks).await;
        // Those of members that left have ended.
        while tasks.try_join_next().is_some() {}
        let again = async {
            match all {
                true => std::future::pending().await,
                false => tokio::time::sleep(AGAIN).await,
            }
        };
        tokio::select! {
            changed = listed.changed() => if changed.is_err() { return },
            () = again => {}
        }
    }
}

/// Whether all of them could be opened.
async fn take(state: &Arc<State>, list: &[Listed], tasks: &mut JoinSet<()>) -> bool {
    let before = state.members.current();
    let mut names = HashSet::new();
    let mut members = Vec::new();
    let mut all = true;
    for listed in list {
        let name = name_of(listed, &mut names);
        let same =
            |member: &&Member| member.listed.is_same(listed) && *member.backend.name == *name;
        if let Some(member) = before.iter().find(same) {
            members.push(member.clone());
            continue;
        }
        match open(state, listed, &name).await {
            Ok(backend) => members.push(watch(state, backend, listed, tasks)),
            Err(why) => {
                all = false;
                tracing::error!(pool = %state.config.name, backend = %name, err = %why, "backend left out");
            }
        }
    }
    state.members.replace(members);
    state.changed.notify_waiters();
    all
}

/// As it is called, or where it is; the latter as well when another one is called so.
fn name_of(listed: &Listed, names: &mut HashSet<Arc<str>>) -> Arc<str> {
    let found = &listed.found;
    let place = format!("{}{}", found.url.address, found.url.prefix);
    let candidates = [found.name.clone(), Some(place), Some(found.url.to_string())];
    // No two are at the same URL.
    let mut name = candidates.into_iter().flatten().map(Arc::<str>::from);
    let free = name.find(|name| !names.contains(name));
    let free = free.unwrap_or_else(|| format!("{} ({})", found.url, names.len()).into());
    names.insert(Arc::clone(&free));
    free
}

async fn open(state: &State, listed: &Listed, name: &Arc<str>) -> Result<Arc<Backend>, String> {
    let (listed, name) = (listed.clone(), Arc::clone(name));
    let (registry, peers) = (Arc::clone(&state.registry), Arc::clone(&state.peers));
    let rules = Arc::new(state.config.health.clone());
    let open = move || {
        let Listed { found, source } = &listed;
        Backend::open(found, name, source, &registry, &rules, &peers)
    };
    let opened = tokio::task::spawn_blocking(open).await;
    opened.unwrap_or_else(|error| Err(error.to_string()))
}

fn watch(
    state: &Arc<State>,
    backend: Arc<Backend>,
    listed: &Listed,
    tasks: &mut JoinSet<()>,
) -> Member {
    let told = watched::follow(Arc::clone(state), Arc::clone(&backend));
    let interval = state.config.selection_interval;
    let series = state
        .metrics
        .series(&state.config.name, Some(&backend.name));
    // It has none yet: it was opened a moment ago.
    let _ = backend.series.set(series);
    let report = Report::new(&state.metrics, &state.config.name, &backend.name);
    // Whoever wants to know looks at its standing.
    let probing = health::watch(Arc::clone(&backend), interval, report, || {});
    let watching = Watching(vec![tasks.spawn(told), tasks.spawn(probing)]);
    Member {
        backend,
        listed: listed.clone(),
        _watching: Arc::new(watching),
    }
}
