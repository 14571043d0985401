//! Every metric of the client: its name, unit and labels.

use std::time::{SystemTime, UNIX_EPOCH};

use adit_common::telemetry::version;
use prometheus::core::Collector;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

const NAMESPACE: &str = "adit_client";

/// The metrics of one client; several may live in one process.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) sessions: IntGaugeVec,
    pub(crate) dials: IntCounterVec,
    pub(crate) tunnels_ended: IntCounterVec,
    pub(crate) moves: IntCounterVec,
    pub(crate) scrapes: IntCounterVec,
    pub(crate) scrapes_in_flight: IntGauge,
    pub(crate) scrapes_waiting: IntGauge,
    pub(crate) faults: IntCounterVec,
    pub(crate) responses_cut: IntCounterVec,
    pub(crate) response_bytes: IntCounter,
    pub(crate) upstream_dials: IntCounter,
    pub(crate) upstream_reuses: IntCounter,
    pub(crate) connects_open: IntGauge,
    pub(crate) tasks: IntGauge,
    reload_successful: IntGauge,
    reload_success_time: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(version::build_info(NAMESPACE)?))?;
        let make = Make(&registry);
        let metrics = Self {
            sessions: make.gauges(
                "sessions",
                "Tunnels that the proxy has accepted a registration by.",
                &["proxy"],
            )?,
            dials: make.counters(
                "dials_total",
                "Attempts to open a tunnel, by how they went.",
                &["proxy", "result"],
            )?,
            tunnels_ended: make.counters(
                "tunnels_ended_total",
                "Tunnels that ended, by why.",
                &["proxy", "reason"],
            )?,
            moves: make.counters(
                "moves_total",
                "Times a proxy asked for the next tunnel before it closed one.",
                &["proxy"],
            )?,
            scrapes: make.counters(
                "scrapes_total",
                "Scrapes that a target answered, by its status.",
                &["code"],
            )?,
            scrapes_in_flight: make.gauge("scrapes_in_flight", "Scrapes under way.")?,
            scrapes_waiting: make.gauge(
                "scrapes_waiting",
                "Scrapes that wait for their turn at a serial target.",
            )?,
            faults: make.counters(
                "faults_total",
                "Scrapes without an answer of their target, by why.",
                &["fault"],
            )?,
            responses_cut: make.counters(
                "responses_cut_total",
                "Answers of targets that were broken off in the middle, by why.",
                &["reason"],
            )?,
            response_bytes: make.counter(
                "response_bytes_total",
                "Bytes of targets' bodies passed on.",
            )?,
            upstream_dials: make
                .counter("upstream_dials_total", "Connections opened to targets.")?,
            upstream_reuses: make.counter(
                "upstream_reuses_total",
                "Scrapes that went by a connection a target had kept open.",
            )?,
            connects_open: make.gauge("connects_open", "CONNECT streams that are open.")?,
            tasks: make.gauge("tasks", "Tokio tasks alive.")?,
            reload_successful: make.gauge(
                "config_last_reload_successful",
                "Whether the last reading of the configuration succeeded.",
            )?,
            reload_success_time: make.add(Gauge::with_opts(opts(
                "config_last_reload_success_timestamp_seconds",
                "When the configuration was last read with success.",
            ))?)?,
            registry,
        };
        // Whoever starts us has read it.
        metrics.reloaded(true);
        Ok(metrics)
    }

    /// A proxy that is configured. Known from the start, so that a rate does not miss the first.
    pub(crate) fn know(&self, proxy: &str) {
        self.sessions.with_label_values(&[proxy]);
        self.moves.with_label_values(&[proxy]);
        for result in ["ok", "failed", "denied", "busy"] {
            self.dials.with_label_values(&[proxy, result]);
        }
    }

    /// One that is configured no longer: that it has no session is nobody's alarm. Its counters
    /// stay, as counters do.
    pub(crate) fn forget(&self, proxy: &str) {
        // An error: it was not known.
        let _ = self.sessions.remove_label_values(&[proxy]);
    }

    /// The configuration was read, or could not be.
    pub(crate) fn reloaded(&self, successful: bool) {
        self.reload_successful.set(successful.into());
        if successful {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            self.reload_success_time
                .set(since.map_or(0.0, |since| since.as_secs_f64()));
        }
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

struct Make<'a>(&'a Registry);

impl Make<'_> {
    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.add(IntCounter::with_opts(opts(name, help))?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.add(IntCounterVec::new(opts(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.add(IntGauge::with_opts(opts(name, help))?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.add(IntGaugeVec::new(opts(name, help), labels)?)
    }

    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}
