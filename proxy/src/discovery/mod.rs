//! Where backends are.
//!
//! Each [`Source`] is followed by a task of its own, which looks now and then, or is told, and says what
//! it has [`found`], or that it failed, in a [`report`]. What is written down is [`found`] without any.
//!
//! * [`file`] is a list that somebody writes, [`dns`] one of records, [`http`] one at a URL; [`groups`] is
//!   Prometheus' form of a list, in a file or at a URL. [`tunnel`] is what clients offer, [`kubernetes`] and
//!   [`marathon`] are what a cluster runs.
//! * [`turns`] says when the next look is, and keeps what blocks off the runtime.
//! * [`union`] holds what each source said last, and makes one list of all: a source that cannot be asked
//!   is believed for a while, and so is one whose list is suddenly empty.
//! * [`follow`] hears the reports and lets the list be known; [`journal`] says in the log and in metrics
//!   what came of them.

mod found;
mod report;

mod turns;
mod groups;

mod file;
mod dns;
mod http;
mod tunnel;
mod kubernetes;
mod marathon;

mod union;
mod journal;
mod follow;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

#[cfg(fuzzing)]
pub(crate) mod fuzzing;

pub(crate) use self::found::{Found, Listed};
pub(crate) use self::report::Report;
pub(crate) use self::union::{SourceStanding, SourceView};

use self::journal::Journal;
use self::union::State;
use crate::config::query::Source;
use crate::metrics::QueryMetrics;
use crate::registry::Registry;

/// All sources of one pool, followed. Dropping it ends that, and takes its gauges away.
#[derive(Debug)]
pub(crate) struct Discovery {
    listed: watch::Receiver<Arc<Vec<Listed>>>,
    state: Arc<Mutex<State>>,
    registry: Arc<Registry>,
    metrics: QueryMetrics,
    pool: Arc<str>,
    _tasks: JoinSet<()>,
}

impl Discovery {
    /// Follows every source from now on. What is written down is listed when this returns, whatever else
    /// there is as soon as it has been found.
    pub(crate) fn start(
        sources: &[Source],
        grace: Duration,
        registry: &Arc<Registry>,
        metrics: QueryMetrics,
        pool: Arc<str>,
    ) -> Self {
        let state = State::new(sources, grace, Instant::now());
        Self::begin(state, sources, Arc::clone(registry), metrics, pool)
    }

    /// The same pool's, with other sources or another grace. What sources said that are still there is
    /// listed when this returns, and all of them are looked at anew.
    pub(crate) fn again(&self, sources: &[Source], grace: Duration) -> Self {
        let state = {
            let known = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            known.again(sources, grace, Instant::now())
        };
        let (registry, metrics) = (Arc::clone(&self.registry), self.metrics.clone());
        Self::begin(state, sources, registry, metrics, Arc::clone(&self.pool))
    }

    fn begin(
        state: State,
        sources: &[Source],
        registry: Arc<Registry>,
        metrics: QueryMetrics,
        pool: Arc<str>,
    ) -> Self {
        let now = Instant::now();
        let (list, views) = (state.list(now), state.views(now));
        let journal = Journal::new(Arc::clone(&pool), metrics.clone(), &views, &list);
        let (tell, listed) = watch::channel(Arc::new(list));
        let state = Arc::new(Mutex::new(state));
        let (news, heard) = report::channel();
        let mut tasks = JoinSet::new();
        for (index, source) in sources.iter().enumerate() {
            let report = Report::new(index, news.clone());
            follow::source(source.clone(), report, &registry, &mut tasks);
        }
        drop(news);
        tasks.spawn(follow::all(heard, Arc::clone(&state), tell, journal));
        Self {
            listed,
            state,
            registry,
            metrics,
            pool,
            _tasks: tasks,
        }
    }

    /// One list of all: whoever is in it twice stands there once, as the first of the sources has it, in
    /// the order of the sources. A list that has not changed is the same [`Arc`].
    pub(crate) fn listed(&self) -> watch::Receiver<Arc<Vec<Listed>>> {
        self.listed.clone()
    }

    /// Each source with its state, for people.
    pub(crate) fn sources(&self) -> Vec<SourceView> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.views(Instant::now())
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
#[path = "../../../tests/src/fake_clusters/mod.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "it is another crate's, and has all that one needs"
)]
mod fake_clusters;
