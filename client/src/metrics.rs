//! Every metric of the client: its name, unit and labels.

use adit_common::telemetry::version;
use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::config::ProxyUrl;

const NAMESPACE: &str = "adit_client";

/// The metrics of one client; several may live in one process.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) sessions: IntGaugeVec,
    pub(crate) dials: IntCounterVec,
    pub(crate) tunnels_ended: IntCounterVec,
    pub(crate) scrapes: IntCounterVec,
    pub(crate) scrapes_in_flight: IntGauge,
    pub(crate) faults: IntCounterVec,
    pub(crate) response_bytes: IntCounter,
    pub(crate) upstream_dials: IntCounter,
    pub(crate) upstream_reuses: IntCounter,
    pub(crate) connects_open: IntGauge,
    pub(crate) tasks: IntGauge,
}

impl Metrics {
    pub(crate) fn new(proxies: &[ProxyUrl]) -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(version::build_info(NAMESPACE)?))?;
        let make = Make(&registry);
        let metrics = Self {
            sessions: make.add(IntGaugeVec::new(
                opts(
                    "sessions",
                    "Tunnels that the proxy has accepted a registration by.",
                ),
                &["proxy"],
            )?)?,
            dials: make.add(IntCounterVec::new(
                opts(
                    "dials_total",
                    "Attempts to open a tunnel, by how they went.",
                ),
                &["proxy", "result"],
            )?)?,
            tunnels_ended: make.add(IntCounterVec::new(
                opts("tunnels_ended_total", "Tunnels that ended, by why."),
                &["proxy", "reason"],
            )?)?,
            scrapes: make.add(IntCounterVec::new(
                opts(
                    "scrapes_total",
                    "Scrapes that a target answered, by its status.",
                ),
                &["code"],
            )?)?,
            scrapes_in_flight: make.add(IntGauge::with_opts(opts(
                "scrapes_in_flight",
                "Scrapes under way.",
            ))?)?,
            faults: make.add(IntCounterVec::new(
                opts(
                    "faults_total",
                    "Scrapes without an answer of their target, by why.",
                ),
                &["fault"],
            )?)?,
            response_bytes: make.add(IntCounter::with_opts(opts(
                "response_bytes_total",
                "Bytes of targets' bodies passed on.",
            ))?)?,
            upstream_dials: make.add(IntCounter::with_opts(opts(
                "upstream_dials_total",
                "Connections opened to targets.",
            ))?)?,
            upstream_reuses: make.add(IntCounter::with_opts(opts(
                "upstream_reuses_total",
                "Scrapes that went by a connection a target had kept open.",
            ))?)?,
            connects_open: make.add(IntGauge::with_opts(opts(
                "connects_open",
                "CONNECT streams that are open.",
            ))?)?,
            tasks: make.add(IntGauge::with_opts(opts("tasks", "Tokio tasks alive."))?)?,
            registry,
        };
        // Known from the start, so that a rate does not miss the first.
        for proxy in proxies {
            let proxy = proxy.to_string();
            metrics.sessions.with_label_values(&[&*proxy]).set(0);
            for result in ["ok", "failed"] {
                metrics.dials.with_label_values(&[&*proxy, result]);
            }
        }
        Ok(metrics)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

struct Make<'a>(&'a Registry);

impl Make<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}
