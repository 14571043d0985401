//! The query side, as it is meant: pools, where their backends are found, and how one of them is chosen.
//!
//! [`file`] is how it is written, [`url`] a backend's address. A pool is self-contained: what is the same
//! before and after a reload goes on as if nothing had been read.

pub mod file;
pub mod url;

mod words;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_common::http_config::CredentialFile;
use adit_common::net::tls::ClientTls;
use http::HeaderName;

use self::url::BackendUrl;

/// All of it. Without pools the query side is off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// In the order in which they are tried for a request.
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

/// How a backend is spoken to, whoever found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manner {
    /// With https.
    pub tls: ClientTls,
    /// Sent instead of what the caller shows; those in a URL go before them.
    pub credentials: Option<CredentialFile>,
    /// Lower ones first, 0 by default.
    pub priority: u32,
    /// Its share among equals, 1 by default.
    pub weight: NonZero<u32>,
}

/// A backend that is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticBackend {
    /// Where.
    pub url: BackendUrl,
    /// For metrics and people; nothing: its address.
    pub name: Option<String>,
    /// How.
    pub manner: Manner,
}

/// Where backends are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Written down.
    Static(StaticBackend),
    /// In a file that is read again.
    File(FileSource),
    /// In the DNS.
    Dns(DnsSource),
    /// At an HTTP service discovery endpoint, as Prometheus' `http_sd_configs`.
    Http(HttpSource),
    /// In a Kubernetes cluster.
    Kubernetes(KubernetesSource),
    /// In a Marathon.
    Marathon(MarathonSource),
    /// Among what clients offer through their tunnels.
    Tunnel(TunnelSource),
}

/// A file of backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// Where.
    pub path: PathBuf,
    /// How it is written.
    pub format: FileFormat,
    /// How often it is looked at.
    pub refresh: Duration,
    /// How what is found is spoken to.
    pub manner: Manner,
}

/// How a file of backends is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// A URL a line, as mpp's endpoints file; `#` starts a comment.
    Lines,
    /// Prometheus' `file_sd_configs`, JSON or YAML: targets are `HOST:PORT`, `__scheme__` and
    /// `__path_prefix__` among the labels say the rest.
    FileSd,
}

/// A name in the DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSource {
    /// What is looked up.
    pub name: String,
    /// Which records.
    pub records: DnsRecords,
    /// For addresses: SRV records have their own.
    pub port: u16,
    /// `http`, unless it says otherwise.
    pub scheme: adit_common::target::Scheme,
    /// Below what path they answer.
    pub path_prefix: String,
    /// Who is asked; nothing: as the system says.
    pub server: Option<SocketAddr>,
    /// How often.
    pub refresh: Duration,
    /// How what is found is spoken to.
    pub manner: Manner,
}

/// Which records of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsRecords {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Both.
    Addresses,
    /// Names with ports, priorities and weights (RFC 2782).
    Srv,
}

/// An HTTP service discovery endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSource {
    /// Where; its path is asked for as it is.
    pub url: String,
    /// How often.
    pub refresh: Duration,
    /// TLS towards the endpoint itself.
    pub tls: ClientTls,
    /// Shown to the endpoint itself.
    pub credentials: Option<CredentialFile>,
    /// How what is found is spoken to.
    pub manner: Manner,
}

/// Some of a Kubernetes cluster's pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesSource {
    /// Where the cluster is and who we are there; nothing: as every pod is told.
    pub kubeconfig: Option<PathBuf>,
    /// Where they are.
    pub namespace: String,
    /// Which they are.
    pub select: KubernetesSelect,
    /// Name or number; nothing: the first TCP port.
    pub port: Option<String>,
    /// `http`, unless it says otherwise.
    pub scheme: adit_common::target::Scheme,
    /// Below what path they answer.
    pub path_prefix: String,
    /// How what is found is spoken to.
    pub manner: Manner,
}

/// Which pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubernetesSelect {
    /// Those behind a service.
    Service(String),
    /// Those with such labels: a label selector in Kubernetes' own words.
    Pods(String),
}

/// Some apps of a Marathon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarathonSource {
    /// Its members, any of which answers for all.
    pub urls: Vec<String>,
    /// The ids of the apps.
    pub apps: Vec<String>,
    /// Name or index of the port; nothing: the first.
    pub port: Option<String>,
    /// Holds the principal's secret, as DC/OS writes it: JSON.
    pub principal_secret: Option<PrincipalSecret>,
    /// Where we log in, instead of what the secret says.
    pub auth_endpoint: Option<String>,
    /// TLS towards Marathon and the login.
    pub tls: ClientTls,
    /// How often it is asked.
    pub refresh: Duration,
    /// How what is found is spoken to.
    pub manner: Manner,
}

/// The secret of a DC/OS service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrincipalSecret {
    /// In a file.
    File(PathBuf),
    /// As mpp's environment variable has it.
    Value(adit_common::secret::Secret),
}

/// Targets that clients offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelSource {
    /// Labels the target must have, each with this value.
    pub labels: BTreeMap<String, String>,
    /// How what is found is spoken to.
    pub manner: Manner,
}

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

impl Default for Health {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 2,
            ready_path: "/-/ready".to_owned(),
            query: None,
            max_staleness: Duration::from_secs(120),
            warm_up: Duration::from_secs(30),
            warm_up_targets: 0.9,
            consecutive_failures: 3,
            ejection: Duration::from_secs(10),
            max_ejection: Duration::from_secs(300),
            max_ejected: 0.5,
        }
    }
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

impl Default for Strategy {
    fn default() -> Self {
        Self::MostData(MostData::default())
    }
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

impl Default for MostData {
    fn default() -> Self {
        Self {
            metric: DataMetric::Auto,
            hysteresis: 0.05,
            hold: 3,
        }
    }
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
    /// Retries per request, in the long run.
    pub budget: f64,
    /// How long one backend may take until its answer begins; nothing: as long as there is time.
    pub header_timeout: Option<Duration>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            budget: 0.2,
            header_timeout: None,
        }
    }
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

impl Default for Allow {
    fn default() -> Self {
        Self {
            write: false,
            admin: false,
            lifecycle: false,
            debug: false,
            unknown: true,
        }
    }
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            tls: ClientTls::default(),
            credentials: None,
            priority: 0,
            weight: NonZero::<u32>::MIN,
        }
    }
}

impl Pool {
    /// With every key at its default.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            hosts: Vec::new(),
            path_prefix: String::new(),
            sources: Vec::new(),
            grace: Duration::from_secs(60),
            selection_interval: Duration::from_secs(10),
            health: Health::default(),
            strategy: Strategy::default(),
            affinity: vec![Affinity::Primary],
            retry: Retry::default(),
            hedge: None,
            allow: Allow::default(),
            request_body: 10 << 20,
            response_hold: 1 << 20,
            timeout: Duration::from_secs(120),
            backend_requests: 256,
        }
    }
}
