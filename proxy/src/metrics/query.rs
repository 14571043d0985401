//! What the query side counts. The series of a pool, and those of a backend in it, are there as long as
//! somebody holds its [`Series`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec};

use super::Make;

/// From a request's first byte to a backend until its answer's head, in seconds.
const HEAD_SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];

/// Takes those of its series away that are about this pool, or this backend in it, whatever else they say.
macro_rules! forget {
    ($vec:expr, $pool:ident, $backend:ident) => {
        for metric in $vec.collect().iter().flat_map(MetricFamily::get_metric) {
            let labels = metric.get_label();
            let labels: HashMap<&str, &str> =
                labels.iter().map(|l| (l.name(), l.value())).collect();
            let about = labels.get("backend").or_else(|| labels.get("from"));
            let is_its = $backend.is_none() || about.copied() == $backend;
            if labels.get("pool") == Some(&$pool) && is_its {
                // It was there a moment ago.
                let _ = $vec.remove(&labels);
            }
        }
    };
}

/// How many hold the series of a pool, or of a backend in it.
type Holders = Arc<Mutex<HashMap<Name, usize>>>;
type Name = (Arc<str>, Option<Arc<str>>);

/// Keeps the series of one pool, or of one backend in it; with the last one of the same name they go.
/// After a reload another of that name may be there before the first has ended: their series go on.
#[derive(Debug)]
pub(crate) struct Series {
    metrics: QueryMetrics,
    name: Name,
}

impl QueryMetrics {
    /// For whoever counts something there, for as long as it may.
    pub(crate) fn series(&self, pool: &Arc<str>, backend: Option<&Arc<str>>) -> Series {
        let name = (Arc::clone(pool), backend.map(Arc::clone));
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        *holders.entry(name.clone()).or_default() += 1;
        drop(holders);
        let metrics = self.clone();
        Series { metrics, name }
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        let holders = &self.metrics.holders;
        let mut holders = holders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = holders.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                holders.remove(&self.name);
                // Before anybody else can hold them anew.
                self.metrics.forget(&self.name.0, self.name.1.as_deref());
            }
        }
    }
}

macro_rules! query_metrics {
    ($($field:ident: $kind:ident = $make:ident($name:literal, $labels:expr, $help:literal);)*) => {
        /// All of it; clones count together.
        #[derive(Debug, Clone)]
        pub(crate) struct QueryMetrics {
            $(pub(crate) $field: $kind,)*
            pub(crate) buffered: IntGauge,
            pub(crate) waiting: IntGauge,
            pub(crate) duration: HistogramVec,
            holders: Holders,
        }

        impl QueryMetrics {
            fn forget(&self, pool: &str, backend: Option<&str>) {
                $(forget!(self.$field, pool, backend);)*
                forget!(self.duration, pool, backend);
            }

            pub(super) fn new(make: &Make<'_>) -> prometheus::Result<Self> {
                Ok(Self {
                    $($field: make.$make($name, $help, &$labels)?,)*
                    holders: Holders::default(),
                    buffered: make.gauge(
                        "query_buffered_bytes",
                        "Bytes of requests and answers that are held so that another backend can be asked.",
                    )?,
                    waiting: make.gauge(
                        "query_waiting",
                        "Queries that nobody is left to be asked, and that wait for a backend's tunnel.",
                    )?,
                    duration: make.histograms(
                        "query_backend_request_duration_seconds",
                        "From a request to a backend until the head of its answer.",
                        &["pool", "backend"],
                        &HEAD_SECONDS,
                    )?,
                })
            }
        }
    };
}

query_metrics! {
    requests: IntCounterVec = counters("query_requests_total", ["pool", "class", "code"],
        "Queries by what was asked for and by the status they were answered with.");
    backend_requests: IntCounterVec = counters("query_backend_requests_total", ["pool", "backend", "class", "code"],
        "Requests to a backend by what was asked for and by its status, or by why there was none.");
    in_flight: IntGaugeVec = gauges("query_backend_requests_in_flight", ["pool", "backend"],
        "Requests under way at a backend.");
    truncated: IntCounterVec = counters("query_truncated_total", ["pool", "backend"],
        "Answers that broke off after their head had been passed on.");
    retries: IntCounterVec = counters("query_retries_total", ["pool", "from", "reason"],
        "Requests sent to another backend, by the one that failed and why.");
    retries_denied: IntCounterVec = counters("query_retries_denied_total", ["pool"],
        "Requests not sent to another backend since the budget for retries that fail was spent.");
    hedges: IntCounterVec = counters("query_hedges_total", ["pool", "result"],
        "Second requests sent before the first was answered, by which won.");
    affinity: IntCounterVec = counters("query_affinity_total", ["pool", "type", "result"],
        "Callers who were to stay with a backend: hit, miss, or broken since it could not be asked.");
    selections: IntCounterVec = counters("query_selections_total", ["pool"],
        "How often backends were compared.");
    primary_changes: IntCounterVec = counters("query_primary_changes_total", ["pool", "reason"],
        "How often another backend became the first.");
    panic: IntGaugeVec = gauges("query_panic_mode", ["pool"],
        "Whether the pool has no backend that can be asked, and asks all of them.");
    min_history_eligible: IntGaugeVec = gauges("query_min_history_eligible", ["pool"],
        "Backends that go back as far as min-history says.");
    up: IntGaugeVec = gauges("query_backend_up", ["pool", "backend"],
        "Whether a backend is healthy.");
    state: IntGaugeVec = gauges("query_backend_state", ["pool", "backend", "state"],
        "1 for the state a backend is in.");
    selected: IntGaugeVec = gauges("query_backend_selected", ["pool", "backend"],
        "Whether a backend is the first to be asked.");
    ejections: IntCounterVec = counters("query_backend_ejections_total", ["pool", "backend"],
        "How often a backend was left alone for a while since requests to it had failed.");
    probes: IntCounterVec = counters("query_backend_probes_total", ["pool", "backend", "result"],
        "Probes by what came of them.");
    history: GaugeVec = float_gauges("query_backend_history_seconds", ["pool", "backend"],
        "How far back a backend's data goes.");
    staleness: GaugeVec = float_gauges("query_backend_staleness_seconds", ["pool", "backend"],
        "Since a backend's newest scrape, by its own clock.");
    score: GaugeVec = float_gauges("query_backend_data_score", ["pool", "backend"],
        "What the strategy compares.");
    clock_skew: GaugeVec = float_gauges("query_backend_clock_skew_seconds", ["pool", "backend"],
        "By how much a backend's clock is ahead of ours.");
    replay: GaugeVec = float_gauges("query_backend_wal_replay_ratio", ["pool", "backend"],
        "How much of its write-ahead log a starting backend has read.");
    discovered: IntGaugeVec = gauges("query_discovery_backends", ["pool", "source"],
        "Backends that a source of service discovery has.");
    discovery_errors: IntCounterVec = counters("query_discovery_errors_total", ["pool", "source"],
        "How often a source of service discovery could not be asked.");
}
