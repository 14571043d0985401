//! What is meant, after flags and file were read: the only form of the settings that travels.
//!
//! [`file`] is the YAML, [`url`] the URLs in it and in flags, [`auth`] what proxies are shown,
//! [`http_proxy`] what may stand before them; [`source`] reads all together.

pub mod auth;
pub mod file;
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
use http::HeaderValue;

pub use self::auth::Auth;
pub use self::http_proxy::{HttpProxy, HttpProxyChoice, HttpProxyUrl};
pub use self::url::{ProxyUrl, UpstreamUrl};

/// The settings of a client. [`Config::from_args`] makes one from what a user would type.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where our own pages are; nothing: the loopback pair on port 9369.
    pub listen: Vec<ListenAddress>,
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
        /// The key that names the file.
        what: &'static str,
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
