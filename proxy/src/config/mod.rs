//! What is meant, after flags and file were read: the only form of the settings that travels.
//!
//! [`file`] is the YAML, [`duplicates`] who may have a name.

pub mod duplicates;
pub mod file;

use std::path::PathBuf;
use std::time::Duration;

use adit_common::deadline::TimeoutRules;
use adit_common::net::listen::{self, BindError, ListenAddress, Listener, Local};
use adit_common::tunnel::watchdog::Liveness;

/// What an address is for. Whoever asks it for something else gets a 404.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles {
    /// Clients' tunnels.
    pub tunnel: bool,
    /// Scrapes in every form.
    pub scrape: bool,
    /// Our own pages.
    pub web: bool,
}

impl std::fmt::Display for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let roles = [
            (self.tunnel, "tunnel"),
            (self.scrape, "scrape"),
            (self.web, "web"),
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

use self::duplicates::Rules;
use self::file::File;

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
    /// Whether PushProx's clients may poll and push.
    pub pushprox: bool,
    /// How long a scrape of a name that is away waits for its return.
    pub reconnect_wait: Duration,
    /// For how long after the start any name may be one that has yet to return.
    pub startup_wait: Duration,
    /// Who may have a name.
    pub rules: Rules,
    /// Where the rules were read, and are read again.
    pub file: Option<PathBuf>,
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
    /// What reads the rules again; nothing without a file. It blocks.
    pub(crate) fn reread(&self) -> Option<impl FnOnce() -> Result<Rules, String> + Send + 'static> {
        let path = self.file.clone()?;
        Some(move || {
            let file = File::read(&path).map_err(|error| error.to_string())?;
            Ok(file.rules())
        })
    }
}

/// What anybody can make us hold. One home for every number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections an address accepts: clients hold one each, a Prometheus some.
    pub(crate) connections: usize,
    /// Scrapes under way in all. Each may hold a stream's window (512 KiB) at worst.
    pub(crate) scrapes: usize,
    /// Scrapes under way at one client. Half of the streams its tunnel allows.
    pub(crate) scrapes_per_client: usize,
    /// CONNECT streams at one client; they live as long as their TLS connection.
    pub(crate) connects_per_client: usize,
    /// Scrapes that wait for a name to return, in all: those of a restart's first seconds. Each
    /// holds its connection and its head.
    pub(crate) waiting: usize,
    /// The same for one name.
    pub(crate) waiting_per_name: usize,
    /// From the first byte of a request's head to its last, and for the first byte of a
    /// connection. A scrape's own deadline starts behind it.
    pub(crate) head_time: Duration,
    /// How long a connection may be idle between requests. Go's transport, and so Prometheus,
    /// closes its own after five minutes: ours must not be the first to.
    pub(crate) idle_time: Duration,
    /// For the whole of an answer that is no scrape's.
    pub(crate) page_time: Duration,
    /// From the upgrade to a registration we understand.
    pub(crate) registration_time: Duration,
    /// How long a CONNECT may be without a byte either way; Prometheus closes idle connections
    /// to targets after five minutes.
    pub(crate) connect_idle_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            scrapes: 4096,
            scrapes_per_client: 128,
            connects_per_client: 120,
            waiting: 2048,
            waiting_per_name: 128,
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(360),
            page_time: Duration::from_secs(30),
            registration_time: Duration::from_secs(10),
            connect_idle_time: Duration::from_secs(900),
        }
    }
}
