//! What is meant, after flags and file were read: the only form of the settings that travels.
//!
//! [`file`] is the YAML, [`exposure`] what must not be reachable; [`access`] who may what and [`duplicates`] who of several has a name, both
//! in the words of [`pattern`]. [`query`] is the query side: pools and their backends. [`limits`] is how much of everything there may be, [`trusted`] whom we believe where a request comes from.

pub mod pattern;

pub mod access;
pub mod duplicates;
pub mod limits;
pub mod trusted;

pub mod query;

pub mod external;
pub(crate) mod prefix;

pub mod file;

pub(crate) mod exposure;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_common::deadline::TimeoutRules;
use adit_common::net::listen::{self, BindError, ListenAddress, Listener, Local};
use adit_common::tunnel::watchdog::Liveness;
use adit_common::web_config::Web;

/// What an address is for. Whoever asks it for something else gets a 404.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles {
    /// Clients' tunnels.
    pub tunnel: bool,
    /// Scrapes in every form.
    pub scrape: bool,
    /// Our own pages.
    pub web: bool,
    /// Queries, and what is ours beside them.
    pub query: bool,
}

impl std::fmt::Display for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let roles = [
            (self.tunnel, "tunnel"),
            (self.scrape, "scrape"),
            (self.web, "web"),
            (self.query, "query"),
        ];
        let mut first = true;
        for (_, name) in roles.iter().filter(|(has, _)| *has) {
            if !first {
                f.write_str(",")?;
            }
            f.write_str(name)?;
            first = false;
        }
        Ok(())
    }
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// Nothing was said: 127.0.0.1 and, where the machine has it, ::1.
    LoopbackPair(u16),
    /// As said.
    At(ListenAddress),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoopbackPair(port) => write!(f, "127.0.0.1:{port} and [::1]:{port}"),
            Self::At(address) => address.fmt(f),
        }
    }
}

impl Listen {
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::LoopbackPair(_) => true,
            Self::At(address) => address.is_loopback(),
        }
    }
}

/// An address that is bound, with what it is for.
#[derive(Debug)]
pub struct Bound {
    pub(crate) listener: Listener,
    pub(crate) roles: Roles,
}

impl Bound {
    /// The address, with the port the system chose where 0 was asked for.
    pub fn local(&self) -> &Local {
        self.listener.local()
    }

    /// What it is for.
    pub fn roles(&self) -> Roles {
        self.roles
    }
}

use self::access::Access;
use self::duplicates::Rules;
use self::external::ExternalUrl;
use self::file::File;
pub use self::limits::Limits;
use self::query::{Query, QueryFlags};
use self::trusted::TrustedProxies;

/// All that is read again with the file; of it the limits are those of the start for as long as we run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Who may have a name.
    pub rules: Rules,
    /// Who may what.
    pub access: Access,
    /// How much of everything there may be.
    pub limits: Limits,
    /// Whom we believe where a request comes from.
    pub trusted_proxies: TrustedProxies,
    /// One Prometheus out of many.
    pub query: Query,
}

/// The settings of a proxy. [`Config::from_args`] makes one from what a user would type.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses, each with its roles.
    pub listen: Vec<(Listen, Roles)>,
    /// Below what path our own resources are; empty, or with a slash in front and none behind.
    pub route_prefix: String,
    /// How a scrape's deadline comes about.
    pub timeouts: TimeoutRules,
    /// When a tunnel is silent, and when dead.
    pub liveness: Liveness,
    /// Whether mpp's pages are there.
    pub mpp: bool,
    /// Whether PushProx's clients may poll and push.
    pub pushprox: bool,
    /// How long a scrape of a name that is away waits for its return.
    pub reconnect_wait: Duration,
    /// For how long after the start any name may be one that has yet to return.
    pub startup_wait: Duration,
    /// As read at the start.
    pub settings: Settings,
    /// Where they were read, and are read again.
    pub source: Source,
    /// TLS, users and what else is asked of whoever connects.
    pub web: Arc<Web>,
    /// What others call us; nothing: as they say.
    pub external_url: Option<ExternalUrl>,
    /// How long a name that left is remembered.
    pub registration_timeout: Duration,
    /// How long scrapes in flight may take to finish when we stop.
    pub shutdown_grace: Duration,
}

impl Config {
    /// Binds every address, or none.
    ///
    /// # Errors
    /// Names the first address that could not be bound.
    pub async fn bind(&self) -> Result<Vec<Bound>, BindError> {
        let mut bound = Vec::new();
        for (listen, roles) in &self.listen {
            let listeners = match listen {
                Listen::LoopbackPair(port) => listen::bind_loopback_pair(*port).await?,
                Listen::At(address) => listen::bind(address).await?,
            };
            bound.extend(listeners.into_iter().map(|listener| Bound {
                listener,
                roles: *roles,
            }));
        }
        Ok(bound)
    }
}

impl Config {
    /// The ports we listen on, as they were written.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.listen.iter().filter_map(|(listen, _)| match listen {
            Listen::LoopbackPair(port) => Some(*port),
            Listen::At(address) => address.port(),
        })
    }

    /// What was read, a line each: for `--check-config`.
    pub fn summary(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .listen
            .iter()
            .map(|(listen, roles)| format!("listen on {listen} for {roles}"))
            .collect();
        let at = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let web = self.web.current();
        if let Some(path) = self.web.path() {
            let tls = if web.tls.is_some() { "TLS" } else { "no TLS" };
            let users = web.users.names().count();
            lines.push(format!(
                "--web.config.file {}: {tls}, {users} users",
                path.display()
            ));
        }
        if let Some(path) = at(&self.source.token_file) {
            lines.push(format!("--auth.token-file {path}"));
        }
        if let Some(path) = at(&self.source.file) {
            let rules = self.settings.rules.names.len();
            lines.push(format!("--config.file {path}: rules for {rules} names"));
        }
        let access = &self.settings.access;
        lines.push(match &access.clients {
            Some(clients) => format!("clients: {} entries", clients.len()),
            None if web.asks() => "clients: by --web.config.file".to_owned(),
            None => "clients: anybody".to_owned(),
        });
        lines.push(match &access.scrapers {
            Some(scrapers) => format!("scrapers: {} entries", scrapers.len()),
            None if web.asks() => "scrapers: by --web.config.file, everything".to_owned(),
            None => "scrapers: anybody, everything".to_owned(),
        });
        let pools = self.settings.query.pools.iter();
        for pool in pools {
            lines.push(format!("pool {pool}"));
            lines.extend(pool.besides().map(|besides| format!("pool {besides}")));
        }
        if self.mpp {
            lines
                .push("--compat.mpp: /mpp/health, /mpp/metrics and /mpp/status as well".to_owned());
        }
        let limits = self.settings.limits.changed();
        if !limits.is_empty() {
            lines.push(format!("limits: {}", limits.join(", ")));
        }
        let trusted = &self.settings.trusted_proxies;
        if !trusted.is_empty() {
            lines.push(format!("trusted proxies: {trusted}"));
        }
        lines
    }
}

/// Where the settings stand.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// `--config.file`.
    pub file: Option<PathBuf>,
    /// `--auth.token-file`.
    pub token_file: Option<PathBuf>,
    /// What flags say of the query side.
    pub query: QueryFlags,
}

impl Source {
    /// Whether there is anything to read again.
    pub fn is_empty(&self) -> bool {
        self.file.is_none() && self.token_file.is_none()
    }

    /// Reads them. It blocks.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read(&self) -> Result<Settings, String> {
        let token_file = self.token_file.as_deref();
        let Some(path) = &self.file else {
            return File::default().settings(Path::new(""), token_file, &self.query);
        };
        let file = File::read(path).map_err(|error| format!("--config.file: {error}"))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        file.settings(directory, token_file, &self.query)
    }
}
