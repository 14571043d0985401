//! What is meant, after flags and file were read: the only form of the settings that travels.
//!
//! [`file`] is the YAML, [`url`] the URLs in it and in flags, [`auth`] what proxies are shown,
//! [`http_proxy`] what may stand before them; [`path`] and [`size`] have what else has a form of its own;
//! [`source`] reads file and flags together.

pub mod auth;
pub mod file;
pub mod path;
pub mod size;
pub mod http_proxy;
pub mod url;

pub(crate) mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use adit_common::name::Name;
use adit_common::net::listen::{self, BindError, ListenAddress, Listener};
use adit_common::net::tls::{ClientTls, TlsError};
use adit_common::registration::RegistrationError;
use adit_common::secret::SecretError;
use adit_common::target::Target;
use adit_common::tunnel::watchdog::Liveness;
use adit_common::web_config::Web;
use http::{HeaderValue, Method};

pub use self::auth::Auth;
pub use self::http_proxy::{HttpProxy, HttpProxyChoice, HttpProxyUrl};
pub use self::path::Prefix;
pub use self::url::{ProxyUrl, UpstreamUrl};
pub use adit_common::http_config::CredentialFile;

/// The settings of a client. [`Config::from_args`] makes one from what a user would type.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where our own pages are; nothing: the loopback pair on port 9369.
    pub listen: Vec<ListenAddress>,
    /// Who may see them, and by which TLS. It follows its file by itself.
    pub web: Arc<Web>,
    /// A tunnel is kept to each.
    pub proxies: Vec<ProxyUrl>,
    /// What routes here besides the hosts of the targets.
    pub names: Vec<Name>,
    /// What may be scraped.
    pub targets: Vec<TargetConfig>,
    /// Every port of the names at localhost may be, too.
    pub allow_any_port: bool,
    /// On every target, for service discovery.
    pub labels: BTreeMap<String, String>,
    /// Towards the proxies.
    pub tls: ClientTls,
    /// What they are shown.
    pub auth: Auth,
    /// On the way to them.
    pub http_proxy: HttpProxy,
    /// When a tunnel is silent, and when dead.
    pub liveness: Liveness,
    /// How long scrapes in flight may take to finish when we stop.
    pub shutdown_grace: Duration,
    /// What it was read from, for a reload.
    pub source: Source,
}

/// Reads the configuration once more: what was typed, with what its file says by then. Clones are the
/// same.
#[derive(Clone)]
pub struct Source {
    has_file: bool,
    read: Arc<dyn Fn() -> Result<Config, String> + Send + Sync>,
}

impl Source {
    pub(crate) fn new(
        has_file: bool,
        read: impl Fn() -> Result<Config, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            has_file,
            read: Arc::new(read),
        }
    }

    /// Whether there is anything that may have changed.
    pub fn has_file(&self) -> bool {
        self.has_file
    }

    /// What is meant by flags and file now. It blocks.
    ///
    /// # Errors
    /// What is missing or contradicts, with the way out.
    pub fn read(&self) -> Result<Config, String> {
        (self.read)()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("has_file", &self.has_file)
            .finish_non_exhaustive()
    }
}

/// One target.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// As scrapers name it.
    pub target: Target,
    /// Where it really is; nothing: its port at localhost, by the scheme of the scrape.
    pub url: Option<UpstreamUrl>,
    /// The `Host` it is sent, whatever else would be.
    pub host: Option<HeaderValue>,
    /// For service discovery.
    pub labels: BTreeMap<String, String>,
    /// Towards this target.
    pub tls: ClientTls,
    /// What may be asked; nothing: GET, HEAD, and POST where Prometheus' API only reads.
    pub methods: Option<Vec<Method>>,
    /// Below which paths; nothing: everywhere.
    pub paths: Option<Vec<Prefix>>,
    /// Whether by CONNECT as well; nothing: where neither of them is chosen.
    pub connect: Option<bool>,
    /// What is sent as `Authorization`; nothing: what the scraper sends.
    pub credentials: Option<CredentialFile>,
    /// At most.
    pub cost: Cost,
}

impl TargetConfig {
    /// With the default of everything else.
    pub fn new(target: Target, url: Option<UpstreamUrl>) -> Self {
        Self {
            target,
            url,
            host: None,
            labels: BTreeMap::new(),
            tls: ClientTls::default(),
            methods: None,
            paths: None,
            connect: None,
            credentials: None,
            cost: Cost::default(),
        }
    }
}

/// What a target may cost, whoever asks and through whichever proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Scrapes under way at once. The default, 64, is half of what a proxy sends a client at once:
    /// one target that is slow leaves room for the others.
    pub scrapes: usize,
    /// One scrape at a time, and the next one waits for its turn: for devices that serve one
    /// connection. Then `scrapes` says nothing.
    pub serial: bool,
    /// CONNECT streams open at once. Each Prometheus keeps one: the default, 16, is for eight pairs
    /// of them. 1 where `serial` is set.
    pub connects: usize,
    /// Most bytes of an answer's body, as it comes; nothing: no limit. The default, 2 GiB, is twice
    /// the largest federation seen; it costs no memory, only the uplink.
    pub response_bytes: Option<u64>,
    /// The longest a scrape may take; nothing: as long as the proxy says, an hour at most.
    pub timeout: Option<Duration>,
}

impl Default for Cost {
    fn default() -> Self {
        Self {
            scrapes: 64,
            serial: false,
            connects: 16,
            response_bytes: Some(2 << 30),
            timeout: None,
        }
    }
}

/// PushProx' client has its metrics there, too.
const DEFAULT_PORT: u16 = 9369;

impl Config {
    /// Binds every address of our own pages, or none.
    ///
    /// # Errors
    /// Names the first address that could not be bound.
    pub async fn bind(&self) -> Result<Vec<Listener>, BindError> {
        if self.listen.is_empty() {
            return listen::bind_loopback_pair(DEFAULT_PORT).await;
        }
        let mut listeners = Vec::new();
        for address in &self.listen {
            listeners.extend(listen::bind(address).await?);
        }
        Ok(listeners)
    }
}

/// Settings that cannot be used, though each makes sense by itself.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Of TLS.
    #[error("{what}: {error}")]
    Tls {
        /// Of which connection.
        what: String,
        /// Why not.
        error: TlsError,
    },
    /// Of a file that holds a secret.
    #[error("{what}: {error}")]
    Secret {
        /// Whose, or the key that names it.
        what: String,
        /// Why there is none in it.
        error: SecretError,
    },
    /// The HTTP proxy that the environment asks for.
    #[error("{variable}: {reason}; --http-proxy=URL names another, --http-proxy=none goes without")]
    Environment {
        /// The variable that names it.
        variable: &'static str,
        /// Why it cannot be used.
        reason: &'static str,
    },
    /// No proxy would take what is offered.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
}
