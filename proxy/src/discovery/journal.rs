//! What the log and the metrics say of a pool's sources.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::Listed;
use super::union::{SourceView, Turn};
use crate::metrics::{QueryMetrics, Series};

/// Of the backends that came or went so many are named in the log.
const MOST_NAMED: usize = 8;

/// What the log and the metrics say of one pool's sources. Dropping it takes its share of the gauges away.
#[derive(Debug)]
pub(super) struct Journal {
    pool: Arc<str>,
    metrics: QueryMetrics,
    /// Backends by kind of source, as the gauges have them.
    counted: BTreeMap<&'static str, i64>,
    _series: Series,
}

impl Journal {
    /// Failures are counted from the start, so that a rate does not miss the first.
    pub(super) fn new(
        pool: Arc<str>,
        metrics: QueryMetrics,
        views: &[SourceView],
        list: &[Listed],
    ) -> Self {
        for view in views {
            let labels = [&*pool, view.kind];
            metrics.discovery_errors.with_label_values(&labels);
        }
        if !list.is_empty() {
            let backends = missing(list, &[]);
            tracing::info!(pool = &*pool, count = list.len(), %backends, "backends at the start");
        }
        let mut journal = Self {
            _series: metrics.series(&pool, None),
            pool,
            metrics,
            counted: BTreeMap::new(),
        };
        journal.count(views);
        journal
    }

    /// What a word of this source was, and what it changed about it.
    pub(super) fn said(&self, source: &SourceView, is_failure: bool, turn: Option<Turn>) {
        let (pool, kind, what) = (&*self.pool, source.kind, &*source.what);
        if is_failure || matches!(turn, Some(Turn::Fails(_))) {
            let errors = &self.metrics.discovery_errors;
            errors.with_label_values(&[pool, kind]).inc();
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

    /// There is another list from now on.
    pub(super) fn listed(&self, before: &[Listed], list: &[Listed]) {
        let (added, removed) = (missing(list, before), missing(before, list));
        let pool = &*self.pool;
        tracing::info!(pool, count = list.len(), %added, %removed, "backends changed");
    }

    /// By difference: whoever follows the same pool after a reload has begun before we are gone.
    pub(super) fn count(&mut self, views: &[SourceView]) {
        let mut counted: BTreeMap<&'static str, i64> = BTreeMap::new();
        for view in views {
            *counted.entry(view.kind).or_default() += i64::try_from(view.backends).unwrap_or(0);
        }
        for (kind, count) in counted {
            let before = self.counted.insert(kind, count).unwrap_or(0);
            let gauge = &self.metrics.discovered;
            gauge
                .with_label_values(&[&*self.pool, kind])
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
    let others: HashSet<_> = others.iter().map(|one| &one.found.url).collect();
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
