//! The query side, as it is meant: pools, where their backends are found, and how one of them is chosen.
//!
//! [`file`] is how it is written, [`defaults`] what holds where nothing is, [`url`] a backend's address,
//! [`source`] where backends are found, by which [`endpoint`], [`flags`] what is typed, [`shown`] what
//! people are told of it. A pool is self-contained: what is the same before and after a reload goes on as
//! if nothing had been read.

pub mod url;
pub mod flags;
pub mod source;
pub mod endpoint;

mod defaults;
pub mod file;

mod shown;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

pub use self::endpoint::Endpoint;
pub use self::flags::QueryFlags;
pub use self::source::{
    DnsRecords, DnsSource, FileFormat, FileSource, HttpSource, KubernetesSelect, KubernetesSource,
    Manner, MarathonSource, PrincipalSecret, Source, StaticBackend, TunnelSource,
};

/// Keys of a pool that are limits, as those of `limits` are.
pub(crate) const LIMITS: [&str; 2] = [REQUEST_BODY, BACKEND_REQUESTS];
pub(crate) const REQUEST_BODY: &str = "request_body";
pub(crate) const BACKEND_REQUESTS: &str = "backend_requests";

/// All of it. Without pools the query side is off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// In the order in which they are tried for a request: those with hosts first, and of them those
    /// that are further below.
    pub pools: Vec<Arc<Pool>>,
}

/// A set of duplicates, and whoever asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// For metrics and people.
    pub name: Arc<str>,
    /// Hosts it answers to, in lower case and without a port; none: to all.
    pub hosts: Vec<String>,
    /// Below what path it is, and what is taken off; empty, or with a slash in front and none behind.
    pub path_prefix: String,
    /// Where its backends are found, all of them at once.
    pub sources: Vec<Source>,
    /// How long a source that fails is believed what it said last.
    pub grace: Duration,
    /// How often it is asked which backend is best.
    pub selection_interval: Duration,
    /// How backends are watched.
    pub health: Health,
    /// Which of them is best.
    pub strategy: Strategy,
    /// Who stays with whom. Empty: nobody.
    pub affinity: Vec<Affinity>,
    /// When another backend is asked.
    pub retry: Retry,
    /// When a second one is asked before the first has answered; nothing: never.
    pub hedge: Option<Hedge>,
    /// What is passed on although it changes something.
    pub allow: Allow,
    /// Most bytes of a request's body; it is held until there is an answer.
    pub request_body: usize,
    /// Bytes of an answer that are held back, so that another backend can still be asked.
    pub response_hold: usize,
    /// Longest time for an answer, whatever the request says.
    pub timeout: Duration,
    /// Requests under way at one backend.
    pub backend_requests: usize,
}

// There is no NaN among the ratios: what is written is held against bounds.
impl Eq for Pool {}

/// How backends are watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// Between two probes of one backend; a tenth more or less.
    pub interval: Duration,
    /// For a whole probe.
    pub timeout: Duration,
    /// Good probes in a row until one that was down is up.
    pub rise: u32,
    /// Bad ones until one that was up is down.
    pub fall: u32,
    /// What is asked first; empty: nothing.
    pub ready_path: String,
    /// A PromQL query instead of the one that tells how old the newest scrape is and how many targets
    /// are scraped: any answer counts as good.
    pub query: Option<String>,
    /// The newest scrape may be so old, by the server's own clock.
    pub max_staleness: Duration,
    /// How long after its start a server is not asked as long as others can be.
    pub warm_up: Duration,
    /// A server has warmed up when it scrapes this share of what the best of the pool does.
    pub warm_up_targets: f64,
    /// Requests that failed in a row until a backend is left alone for a while.
    pub consecutive_failures: u32,
    /// For how long, doubled each time it happens again.
    pub ejection: Duration,
    /// And at most so long.
    pub max_ejection: Duration,
    /// At most this share of a pool is left alone at once.
    pub max_ejected: f64,
}

/// Which backend is best; always a whole order of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Strategy {
    /// Who has most.
    MostData(MostData),
    /// Those who go back this far, and of them who has most.
    MinHistory(Duration, MostData),
    /// By chance, by weight.
    Random,
    /// One after the other, by weight.
    RoundRobin,
    /// The first by priority and then as written; one that has returned has to stay for so long
    /// before it is the first again.
    FirstAvailable {
        /// For how long.
        fail_back: Duration,
    },
    /// Of two by chance the one with less to do.
    LeastLoaded,
    /// The same for the same key.
    ConsistentHash,
}

/// What "most" means, and when a change is worth it.
#[derive(Debug, Clone, PartialEq)]
pub struct MostData {
    /// What is compared.
    pub metric: DataMetric,
    /// By what share another one has to be better.
    pub hysteresis: f64,
    /// At how many checks in a row.
    pub hold: u32,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataMetric {
    /// How far back it goes; among equals stored samples, then series in memory.
    Auto,
    /// How far back it goes.
    History,
    /// Samples in blocks, where the server tells (3.6).
    StoredSamples,
    /// mpp's: samples since the server's start.
    IngestedSamples,
}

/// Who stays with whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Affinity {
    /// Everybody with the one backend that was best, as long as it can be asked.
    Primary,
    /// A browser with the backend of its cookie.
    Cookie(Cookie),
    /// An address, or a network, with one backend.
    SourceAddress {
        /// Bits of an IPv4 address that count.
        ipv4_prefix: u8,
        /// Bits of an IPv6 address that count.
        ipv6_prefix: u8,
    },
    /// Everybody who sends the same in this field with one backend.
    Header(HeaderName),
}

/// The cookie's attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// `Path`.
    pub path: String,
    /// `Max-Age`; nothing: until the browser is closed.
    pub max_age: Option<Duration>,
}

/// When another backend is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Backends asked for one request, the first included.
    pub attempts: usize,
    /// Retries that are not answered either, per request, in the long run.
    pub budget: f64,
    /// How long one backend may take until its answer begins; nothing: as long as there is time.
    pub header_timeout: Option<Duration>,
}

/// When a second backend is asked before the first has answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Hedge {
    /// Which share of answers come sooner than that: 0.95.
    pub quantile: f64,
    /// Never sooner.
    pub min: Duration,
    /// Never later.
    pub max: Duration,
    /// Hedges per request, in the long run.
    pub budget: f64,
}

/// What is passed on although it changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allow {
    /// Remote write and OTLP.
    pub write: bool,
    /// `/api/v1/admin/…`.
    pub admin: bool,
    /// `/-/reload` and `/-/quit`.
    pub lifecycle: bool,
    /// `/debug/…`.
    pub debug: bool,
    /// Paths that Prometheus does not have.
    pub unknown: bool,
}
