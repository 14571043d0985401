//! Hears what sources say, and lets it be known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::report::News;
use super::union::{State, Turn};
use super::{Listed, Report, dns, file, http, tunnel};
use crate::config::query::Source;
use crate::metrics::QueryMetrics;
use crate::registry::Registry;

/// Of the backends that came or went so many are named in the log.
const MOST_NAMED: usize = 8;

/// Begins to follow one source. What is written down needs nobody.
pub(super) fn source(
    source: Source,
    report: Report,
    registry: &Arc<Registry>,
    tasks: &mut JoinSet<()>,
) {
    match source {
        Source::Static(_) => {}
        Source::File(source) => {
            tasks.spawn(file::follow(source, report));
        }
        Source::Dns(source) => {
            tasks.spawn(dns::follow(source, report));
        }
        Source::Http(source) => {
            tasks.spawn(http::follow(source, report));
        }
        Source::Tunnel(source) => {
            tasks.spawn(tunnel::follow(source, Arc::clone(registry), report));
        }
        // Theirs come with the merge of discovery/kubernetes and discovery/marathon.
        Source::Kubernetes(_) | Source::Marathon(_) => {}
    }
}

/// Hears all of them, until the pool is gone.
pub(super) async fn all(
    mut heard: mpsc::Receiver<News>,
    state: Arc<Mutex<State>>,
    tell: watch::Sender<Arc<Vec<Listed>>>,
    mut journal: Journal,
) {
    loop {
        let next = lock(&state).next_change(Instant::now());
        let grace_over = async {
            match next {
                Some(next) => sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        let word = tokio::select! {
            word = heard.recv() => Some(word),
            () = grace_over => None,
        };
        let mut state = lock(&state);
        let now = Instant::now();
        match word {
            Some(Some((source, word))) => {
                let is_failure = word.is_err();
                let turn = state.said(source, word, now);
                journal.said(source, is_failure, turn, &state);
            }
            // No source has a task, and none will.
            Some(None) => break,
            None => {}
        }
        let list = state.list(now);
        tell.send_if_modified(|known| {
            let is_same = known.len() == list.len()
                && known.iter().zip(&list).all(|(one, two)| one.is_same(two));
            journal.listed(known, &list, &state, now);
            if !is_same {
                *known = Arc::new(list);
            }
            !is_same
        });
    }
    // The gauges stay until the pool is gone.
    tell.closed().await;
    drop(journal);
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the log and the metrics say of one pool's sources. Dropping it takes its share of the gauges away.
#[derive(Debug)]
pub(super) struct Journal {
    pool: Arc<str>,
    metrics: QueryMetrics,
    /// Backends by kind of source, as the gauges have them.
    counted: BTreeMap<&'static str, i64>,
}

impl Journal {
    /// Failures are counted from the start, so that a rate does not miss the first.
    pub(super) fn new(pool: Arc<str>, metrics: QueryMetrics, state: &State) -> Self {
        let mut counted = BTreeMap::new();
        for view in state.views(Instant::now()) {
            counted.insert(view.kind, 0);
            let labels = [&*pool, view.kind];
            metrics.discovery_errors.with_label_values(&labels);
            metrics.discovered.with_label_values(&labels);
        }
        Self {
            pool,
            metrics,
            counted,
        }
    }

    fn said(&self, source: usize, is_failure: bool, turn: Option<Turn>, state: &State) {
        let Some((kind, what)) = state.source(source) else {
            return;
        };
        let pool = &*self.pool;
        if is_failure {
            let labels = [pool, kind];
            self.metrics
                .discovery_errors
                .with_label_values(&labels)
                .inc();
        }
        match turn {
            Some(Turn::Fails(reason)) => {
                tracing::warn!(pool, source = kind, what, %reason, "backends cannot be looked up");
            }
            Some(Turn::Answers) => {
                tracing::info!(pool, source = kind, what, "backends can be looked up again");
            }
            None => {}
        }
    }

    /// The list is this from now on.
    pub(super) fn listed(
        &mut self,
        before: &[Listed],
        list: &[Listed],
        state: &State,
        now: Instant,
    ) {
        let added = missing(list, before);
        let removed = missing(before, list);
        if !(added.is_empty() && removed.is_empty()) {
            let pool = &*self.pool;
            tracing::info!(pool, backends = list.len(), %added, %removed, "backends changed");
        }
        let mut counted: BTreeMap<&'static str, i64> = BTreeMap::new();
        for view in state.views(now) {
            *counted.entry(view.kind).or_default() += i64::try_from(view.backends).unwrap_or(0);
        }
        self.count(counted);
    }

    /// By difference: whoever follows the same pool after a reload has begun before we are gone.
    fn count(&mut self, counted: BTreeMap<&'static str, i64>) {
        for (kind, count) in counted {
            let before = self.counted.insert(kind, count).unwrap_or(0);
            let labels = [&*self.pool, kind];
            self.metrics
                .discovered
                .with_label_values(&labels)
                .add(count - before);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        for (kind, count) in &self.counted {
            let labels = [&*self.pool, kind];
            let gauge = self.metrics.discovered.with_label_values(&labels);
            gauge.sub(*count);
            if gauge.get() == 0 {
                // It is gone already when another of this pool's journals was dropped just now.
                let _ = self.metrics.discovered.remove_label_values(&labels);
            }
        }
    }
}

/// Those of `some` that are not among `others`, for people.
fn missing(some: &[Listed], others: &[Listed]) -> String {
    let others: std::collections::HashSet<_> = others.iter().map(|one| &one.found.url).collect();
    let missing = some.iter().map(|one| &one.found.url);
    let missing: Vec<_> = missing.filter(|url| !others.contains(url)).collect();
    let mut names: Vec<String> = missing
        .iter()
        .take(MOST_NAMED)
        .map(ToString::to_string)
        .collect();
    if missing.len() > MOST_NAMED {
        names.push(format!("and {} more", missing.len() - MOST_NAMED));
    }
    names.join(",")
}
