//! Where backends are found, and how what is found is spoken to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use adit_common::http_config::CredentialFile;
use adit_common::net::tls::ClientTls;
use adit_common::secret::Secret;
use adit_common::target::Scheme;

use super::endpoint::Endpoint;
use super::url::BackendUrl;

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
    pub scheme: Scheme,
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
    pub url: Endpoint,
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
    pub scheme: Scheme,
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
    pub urls: Vec<Endpoint>,
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
    Value(Secret),
}

/// Targets that clients offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelSource {
    /// Labels the target must have, each with this value.
    pub labels: BTreeMap<String, String>,
    /// How what is found is spoken to.
    pub manner: Manner,
}
