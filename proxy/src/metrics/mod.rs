//! Every metric of the proxy: its name, unit and labels. Those of the query side are in [`query`].

mod query;

use adit_common::telemetry::version;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

pub(crate) use self::query::{QueryMetrics, Series};
use crate::config::Limits;
use crate::config::query::LIMITS;

const NAMESPACE: &str = "adit_proxy";

/// Upper bounds of the durations of scrapes, in seconds: from a loopback hop to the longest timeout.
const SCRAPE_SECONDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The metrics of one proxy; several may live in one process.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) connections: IntGauge,
    pub(crate) tls_failures: IntCounterVec,
    pub(crate) auth_failures: IntCounterVec,
    pub(crate) limits_reached: IntCounterVec,
    pub(crate) malformed: IntCounter,
    pub(crate) sessions: IntGauge,
    pub(crate) sessions_ended: IntCounterVec,
    pub(crate) tunnels_refused: IntCounter,
    pub(crate) registrations_refused: IntCounter,
    pub(crate) tunnel_received: IntCounter,
    pub(crate) tunnel_sent: IntCounter,
    pub(crate) names: IntGaugeVec,
    pub(crate) scrapes: IntCounterVec,
    pub(crate) scrapes_in_flight: IntGauge,
    pub(crate) scrapes_waiting: IntGauge,
    pub(crate) scrape_outcomes: IntCounterVec,
    pub(crate) scrape_retries: IntCounter,
    pub(crate) polls: IntGauge,
    pub(crate) pushes: IntCounterVec,
    pub(crate) scrapes_cut: IntCounterVec,
    pub(crate) scrape_duration: Histogram,
    pub(crate) scrape_bytes: IntCounter,
    pub(crate) connects_open: IntGauge,
    pub(crate) reload_successful: IntGauge,
    pub(crate) reload_seconds: IntGauge,
    pub(crate) tasks: IntGauge,
    pub(crate) query: QueryMetrics,
}

impl Metrics {
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(version::build_info(NAMESPACE)?))?;
        let make = Make(&registry);
        Ok(Self {
            connections: make.gauge("connections", "Connections accepted and open.")?,
            tls_failures: make.counters(
                "tls_handshake_failures_total",
                "Connections that came to no TLS, by why.",
                &["reason"],
            )?,
            auth_failures: make.counters(
                "auth_failures_total",
                "Requests that were not let in, by who asked and why.",
                &["role", "reason"],
            )?,
            limits_reached: make.counters(
                "limits_reached_total",
                "What was refused since a limit was reached, by the limit.",
                &["limit"],
            )?,
            malformed: make.counter(
                "malformed_requests_total",
                "Requests that are no HTTP/1.1 or framed against its grammar, each the last of its \
                 connection.",
            )?,
            sessions: make.gauge("sessions", "Clients' tunnels that are registered.")?,
            sessions_ended: make.counters(
                "sessions_ended_total",
                "Sessions that ended, by why.",
                &["reason"],
            )?,
            tunnels_refused: make.counter(
                "tunnels_refused_total",
                "Requests for a tunnel that were answered with an error.",
            )?,
            registrations_refused: make.counter(
                "registrations_refused_total",
                "Tunnels whose client offered nothing we take, or a name that another keeps.",
            )?,
            tunnel_received: make.counter(
                "tunnel_received_bytes_total",
                "Bytes received through tunnels that ended, below TLS.",
            )?,
            tunnel_sent: make.counter(
                "tunnel_sent_bytes_total",
                "Bytes sent through tunnels that ended, below TLS.",
            )?,
            names: make.gauges("names", "Names by state: here or away.", &["state"])?,
            scrapes: make.counters(
                "scrapes_total",
                "Scrapes by form and by the status they were answered with.",
                &["form", "code"],
            )?,
            scrapes_in_flight: make.gauge("scrapes_in_flight", "Scrapes under way.")?,
            scrapes_waiting: make.gauge(
                "scrapes_waiting",
                "Scrapes of a name that is away, waiting for its return.",
            )?,
            scrape_outcomes: make.counters(
                "scrape_outcomes_total",
                "Scrapes by how they ended.",
                &["outcome"],
            )?,
            scrape_retries: make.counter(
                "scrape_retries_total",
                "Scrapes sent a second time since what carried them was lost.",
            )?,
            polls: make.gauge(
                "polls",
                "Long-polls of PushProx clients that wait for a scrape.",
            )?,
            pushes: make.counters(
                "pushes_total",
                "Pushes of PushProx clients, by what became of them.",
                &["result"],
            )?,
            scrapes_cut: make.counters(
                "scrapes_cut_total",
                "Scrapes whose body broke off after its head had been passed on, by why.",
                &["reason"],
            )?,
            scrape_duration: make.histogram(
                "scrape_duration_seconds",
                "From a scrape's head to the last byte of its answer.",
                &SCRAPE_SECONDS,
            )?,
            scrape_bytes: make.counter(
                "scrape_response_bytes_total",
                "Bytes of targets' bodies passed on to scrapers.",
            )?,
            connects_open: make.gauge("connects_open", "CONNECT streams that are open.")?,
            reload_successful: make.gauge(
                "config_last_reload_successful",
                "Whether the configuration could be used when it was read last.",
            )?,
            reload_seconds: make.gauge(
                "config_last_reload_success_timestamp_seconds",
                "When the configuration in force was read.",
            )?,
            tasks: make.gauge("tasks", "Tokio tasks alive.")?,
            query: QueryMetrics::new(&make)?,
            registry,
        })
    }
}

impl Metrics {
    /// Every limit, also of a pool, is counted from the start, so that a rate does not miss the first.
    pub(crate) fn prepare_limits(&self) {
        for limit in Limits::KEYS.iter().chain(&LIMITS) {
            self.limits_reached.with_label_values(&[limit]);
        }
    }

    /// Something was refused for this limit.
    pub(crate) fn limit(&self, limit: &str) {
        self.limits_reached.with_label_values(&[limit]).inc();
    }
}

struct Make<'a>(&'a Registry);

impl Make<'_> {
    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(name, help).namespace(NAMESPACE)
    }

    fn register<C>(&self, collector: C) -> prometheus::Result<C>
    where
        C: prometheus::core::Collector + Clone + 'static,
    {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::with_opts(Self::opts(name, help))?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Self::opts(name, help), labels)?)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::with_opts(Self::opts(name, help))?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Self::opts(name, help), labels)?)
    }

    fn float_gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<GaugeVec> {
        self.register(GaugeVec::new(Self::opts(name, help), labels)?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        bounds: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::from(Self::opts(name, help)).buckets(bounds.to_vec());
        self.register(HistogramVec::new(opts, labels)?)
    }

    fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> prometheus::Result<Histogram> {
        let opts = HistogramOpts::from(Self::opts(name, help)).buckets(bounds.to_vec());
        self.register(Histogram::with_opts(opts)?)
    }
}
