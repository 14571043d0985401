//! What metrics say of one backend's health.

use std::sync::Arc;

use crate::metrics::QueryMetrics;
use crate::query::standing::{Probed, Standing, State};
use prometheus::GaugeVec;

/// The series of one backend that are about its health.
#[derive(Debug)]
pub(crate) struct Report {
    metrics: QueryMetrics,
    pool: Arc<str>,
    backend: Arc<str>,
}

/// Every result of a probe, for a counter that starts at 0.
const RESULTS: [&str; 7] = [
    "ok",
    "mute",
    "not-ready",
    "stopping",
    "failed",
    "unlinked",
    "unasked",
];

impl Report {
    /// Of this backend in this pool.
    pub(crate) fn new(metrics: &QueryMetrics, pool: &Arc<str>, backend: &Arc<str>) -> Self {
        let report = Self {
            metrics: metrics.clone(),
            pool: Arc::clone(pool),
            backend: Arc::clone(backend),
        };
        for result in RESULTS {
            report.probes(result).inc_by(0);
        }
        report.metrics.ejections.with_label_values(&report.names());
        report
    }

    pub(super) fn probed(&self, outcome: &Probed) {
        self.probes(outcome.as_str()).inc();
    }

    /// It is left alone from now on.
    pub(super) fn ejected(&self) {
        let names = self.names();
        self.metrics.ejections.with_label_values(&names).inc();
    }

    /// How it is now.
    pub(super) fn show(&self, standing: &Standing) {
        let names = self.names();
        let healthy = standing.state == State::Healthy;
        self.metrics
            .up
            .with_label_values(&names)
            .set(healthy.into());
        for state in State::ALL {
            let is = standing.state == state;
            let [pool, backend] = names;
            let labels = [pool, backend, state.as_str()];
            self.metrics.state.with_label_values(&labels).set(is.into());
        }
        // What was said last by one that is gone is no longer so; how far back it goes still is.
        let data = &standing.data;
        let there = |value: Option<f64>| value.filter(|_| standing.state != State::Down);
        let replay = standing.replay.map(|(read, all)| read as f64 / all as f64);
        self.set(&self.metrics.history, data.history());
        self.set(&self.metrics.staleness, there(data.age));
        self.set(&self.metrics.clock_skew, there(data.clock_skew));
        self.set(&self.metrics.replay, replay);
    }

    fn names(&self) -> [&str; 2] {
        [&self.pool, &self.backend]
    }

    fn probes(&self, result: &str) -> prometheus::IntCounter {
        let labels = [&*self.pool, &*self.backend, result];
        self.metrics.probes.with_label_values(&labels)
    }

    /// What is unknown has no series.
    fn set(&self, gauge: &GaugeVec, value: Option<f64>) {
        match value {
            Some(value) => gauge.with_label_values(&self.names()).set(value),
            None => drop(gauge.remove_label_values(&self.names())),
        }
    }
}
