//! What was typed, and how it becomes what is meant.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_common::config_file::FileError;
use adit_common::deadline::TimeoutRules;
use adit_common::net::listen::ListenAddress;
use adit_common::telemetry::logging::{HEADING as PROGRAM, LogFlags};
use adit_common::tunnel::watchdog::Liveness;
use adit_common::web_config::Web;
use clap::{Parser, Subcommand};

use crate::compat::mpp::{self, Translated};
use crate::config::access::scrapers::Whom;
use crate::config::external::ExternalUrl;
use crate::config::prefix::prefix;
use crate::config::query::{Pool, QueryFlags};
use crate::config::{Config, Listen, Roles, Settings, Source, exposure};

const DEFAULT_PORT: u16 = 8080;

/// Lets Prometheus scrape what it cannot dial: clients behind NAT dial in, scrapes go out to them.
///
/// Point clients at this program (adit-client --proxy-url=…) and Prometheus' `proxy_url` too.
#[derive(Debug, Parser)]
#[command(name = "adit-proxy")]
pub struct Flags {
    /// Address of every role without one of its own: HOST:PORT, :PORT or unix:/PATH; repeatable.
    /// [default: 127.0.0.1:8080 and [::1]:8080]
    #[arg(long = "web.listen-address", value_name = "ADDR", help_heading = LISTENING)]
    web_listen_address: Vec<ListenAddress>,

    /// When given, clients' tunnels are accepted only here
    #[arg(long = "tunnel.listen-address", value_name = "ADDR", help_heading = LISTENING)]
    tunnel_listen_address: Vec<ListenAddress>,

    /// When given, scrapes are accepted only here
    #[arg(long = "scrape.listen-address", value_name = "ADDR", help_heading = LISTENING)]
    scrape_listen_address: Vec<ListenAddress>,

    /// Address of the query side, where Grafana finds one Prometheus out of many; off until given.
    /// Needs --query.backend, or query in --config.file; repeatable
    #[arg(long = "query.listen-address", value_name = "ADDR", help_heading = QUERIES)]
    query_listen_address: Vec<ListenAddress>,

    /// Prometheus that answers queries, one of several with the same data: http(s)://HOST:PORT[/PREFIX],
    /// or tunnel://NAME:PORT for a target that a client offers; repeatable
    #[arg(long = "query.backend", value_name = "URL", help_heading = QUERIES)]
    query_backend: Vec<String>,

    /// Take mpp's flags and MPP_* variables, and serve its pages: --compat.mpp --endpoints-file=FILE …
    #[arg(long = "compat.mpp", help_heading = QUERIES)]
    compat_mpp: bool,

    /// What mpp's flags come to.
    #[arg(skip)]
    mpp: Option<Arc<Pool>>,

    /// The flag of mpp's by which a secret was typed.
    #[arg(skip)]
    bare_secret: Option<String>,

    /// Path below which tunnels, pages and path-style scrapes are, behind a front proxy
    #[arg(long = "web.route-prefix", value_name = "/PREFIX", default_value = "/", value_parser = prefix, help_heading = LISTENING)]
    web_route_prefix: String,

    /// TLS, client CAs and users, in the format of Prometheus' exporter-toolkit; read again when it
    /// changes
    #[arg(long = "web.config.file", value_name = "FILE", help_heading = LISTENING)]
    web_config_file: Option<PathBuf>,

    /// What others call us, for service discovery: http(s)://HOST[:PORT][/PREFIX].
    /// [default: as the request says]
    #[arg(long = "web.external-url", value_name = "URL", help_heading = LISTENING)]
    web_external_url: Option<ExternalUrl>,

    /// Listen beyond loopback although nobody has to say who they are
    #[arg(long = "allow-anonymous", help_heading = LISTENING)]
    allow_anonymous: bool,

    /// Deadline of a scrape that does not say how long it may take
    #[arg(long = "scrape.default-timeout", value_name = "DURATION", default_value = "15s", value_parser = duration, help_heading = SCRAPES)]
    scrape_default_timeout: Duration,

    /// Longest deadline, whatever a scrape says
    #[arg(long = "scrape.max-timeout", value_name = "DURATION", default_value = "5m", value_parser = duration, help_heading = SCRAPES)]
    scrape_max_timeout: Duration,

    /// How long a scrape of a client that is away waits for its return
    #[arg(long = "scrape.reconnect-wait", value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration, help_heading = SCRAPES)]
    scrape_reconnect_wait: Duration,

    /// For so long after the start scrapes of any name wait for its client to return
    #[arg(long = "scrape.startup-wait", value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration, help_heading = SCRAPES)]
    scrape_startup_wait: Duration,

    /// Taken off a scrape's timeout, so that our reason arrives before Prometheus gives up
    #[arg(long = "scrape.timeout-offset", value_name = "DURATION", default_value = "200ms", value_parser = humantime::parse_duration, help_heading = SCRAPES)]
    scrape_timeout_offset: Duration,

    /// A ping goes out after so long without a byte from a client, or to it
    #[arg(long = "tunnel.ping-interval", value_name = "DURATION", default_value = "15s", value_parser = duration, help_heading = TUNNELS)]
    tunnel_ping_interval: Duration,

    /// A tunnel ends after so long without a byte from its client
    #[arg(long = "tunnel.dead-after", value_name = "DURATION", default_value = "45s", value_parser = duration, help_heading = TUNNELS)]
    tunnel_dead_after: Duration,

    /// How long a name that left is remembered: its scrapes are told when it was last seen
    #[arg(long = "registration.timeout", value_name = "DURATION", default_value = "5m", value_parser = duration, help_heading = TUNNELS)]
    registration_timeout: Duration,

    /// One token for all clients, under any name (adit-proxy token makes one); read again on reload
    #[arg(long = "auth.token-file", value_name = "FILE", help_heading = TUNNELS)]
    auth_token_file: Option<PathBuf>,

    /// Take PushProx's released clients too: they poll and push where tunnels are accepted
    #[arg(long = "pushprox.enabled", help_heading = TUNNELS)]
    pushprox_enabled: bool,

    /// YAML file with what has no flag; read again on SIGHUP and POST /-/reload
    #[arg(long = "config.file", value_name = "FILE", help_heading = PROGRAM)]
    config_file: Option<PathBuf>,

    /// How long scrapes in flight may take to finish when stopping
    #[arg(long = "shutdown.grace", value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration, help_heading = PROGRAM)]
    shutdown_grace: Duration,

    /// Says whether the configuration could be used, and exits: reads every file it names
    #[arg(long = "check-config", help_heading = PROGRAM)]
    pub check_config: bool,

    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// How it logs.
    #[command(flatten)]
    pub log: LogFlags,

    /// Print version
    #[arg(long = "version", help_heading = PROGRAM)]
    pub version: bool,
}

/// What it does besides running.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new token for a client: print it with its SHA-256, or write it to FILE and print that
    /// only
    Token {
        /// A new file for it, which only its owner may read
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

const LISTENING: &str = "Listening";
const SCRAPES: &str = "Scrapes";
const TUNNELS: &str = "Tunnels";
const QUERIES: &str = "Queries";

/// What was typed makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum FlagError {
    /// clap says what, and prints help and version too.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The web configuration.
    #[error("--web.config.file: {0}")]
    Web(#[from] FileError),
    /// Two flags against each other.
    #[error("{0}")]
    Meaning(String),
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("expected a duration like 15s, 200ms or 5m: {error}"))?;
    if duration.is_zero() {
        return Err("must be above zero".into());
    }
    Ok(duration)
}

impl Flags {
    /// What was typed, the program's name before it. mpp's variables are `variable`'s to know.
    ///
    /// # Errors
    /// As the program prints them; help is one of them.
    pub fn read<I>(typed: I, variable: impl Fn(&str) -> Option<String>) -> Result<Self, FlagError>
    where
        I: IntoIterator<Item = OsString>,
    {
        let typed = mpp::translate(typed.into_iter().collect(), variable);
        let typed: Translated = typed.map_err(FlagError::Meaning)?;
        let mut flags = Self::try_parse_from(typed.arguments)?;
        flags.mpp = typed.pool;
        flags.bare_secret = typed.bare_secret;
        Ok(flags)
    }

    /// What is meant by it. What is unwise is logged.
    ///
    /// # Errors
    /// Flags that contradict each other, by name, with the way out.
    pub fn config(self) -> Result<Config, FlagError> {
        let liveness = Liveness::new(self.tunnel_ping_interval, self.tunnel_dead_after)
            .map_err(|error| FlagError::Meaning(error.to_string()))?;
        if self.scrape_default_timeout > self.scrape_max_timeout {
            return Err(FlagError::Meaning(format!(
                "--scrape.default-timeout: {} is above --scrape.max-timeout ({})",
                humantime::format_duration(self.scrape_default_timeout),
                humantime::format_duration(self.scrape_max_timeout),
            )));
        }
        if let Some(flag) = &self.bare_secret {
            tracing::warn!(
                flag,
                "a secret among a process' arguments can be read by everybody on this machine: use \
                 MPP_MARATHON_PRINCIPAL_SECRET, or principal_secret_file in --config.file"
            );
        }
        let web = Arc::new(Web::open(self.web_config_file.clone())?);
        let listens = !self.query_listen_address.is_empty();
        let query = QueryFlags::new(listens, &self.query_backend);
        let source = Source {
            file: self.config_file.clone(),
            token_file: self.auth_token_file.clone(),
            query: QueryFlags {
                mpp: self.mpp.clone(),
                ..query.map_err(FlagError::Meaning)?
            },
        };
        let settings = source.read().map_err(FlagError::Meaning)?;
        let listen = self.listen();
        if !self.allow_anonymous {
            exposure::check(&listen, &settings.access, &web.current())
                .map_err(FlagError::Meaning)?;
        }
        check_users(&settings, &web)?;
        Ok(Config {
            listen,
            mpp: self.compat_mpp,
            route_prefix: self.web_route_prefix,
            timeouts: TimeoutRules {
                default: self.scrape_default_timeout,
                max: self.scrape_max_timeout,
                offset: self.scrape_timeout_offset,
            },
            liveness,
            pushprox: self.pushprox_enabled,
            reconnect_wait: self.scrape_reconnect_wait,
            startup_wait: self.scrape_startup_wait,
            settings,
            source,
            web,
            external_url: self.web_external_url,
            registration_timeout: self.registration_timeout,
            shutdown_grace: self.shutdown_grace,
        })
    }

    fn listen(&self) -> Vec<(Listen, Roles)> {
        let at = |addresses: &[ListenAddress], roles: Roles| {
            addresses
                .iter()
                .map(move |address| (Listen::At(address.clone()), roles))
                .collect::<Vec<_>>()
        };
        let web = Roles {
            web: true,
            tunnel: self.tunnel_listen_address.is_empty(),
            scrape: self.scrape_listen_address.is_empty(),
            query: false,
        };
        let mut listen = if self.web_listen_address.is_empty() {
            vec![(Listen::LoopbackPair(DEFAULT_PORT), web)]
        } else {
            at(&self.web_listen_address, web)
        };
        let tunnel = Roles {
            tunnel: true,
            ..Roles::default()
        };
        let scrape = Roles {
            scrape: true,
            ..Roles::default()
        };
        listen.extend(at(&self.tunnel_listen_address, tunnel));
        let query = Roles {
            query: true,
            ..Roles::default()
        };
        listen.extend(at(&self.scrape_listen_address, scrape));
        listen.extend(at(&self.query_listen_address, query));
        listen
    }
}

/// Rights of somebody who cannot be known are a mistake.
fn check_users(settings: &Settings, web: &Web) -> Result<(), FlagError> {
    let web = web.current();
    let scrapers = settings.access.scrapers.iter().flatten();
    for scraper in scrapers {
        if let Whom::User(user) = &scraper.whom
            && web.users.get(user).is_none()
        {
            return Err(FlagError::Meaning(format!(
                "auth.scrapers: {user:?} is no user of --web.config.file: add it to basic_auth_users"
            )));
        }
    }
    Ok(())
}

impl Config {
    /// From what would be typed behind the program's name.
    ///
    /// # Errors
    /// As the program would print them.
    pub fn from_args<I>(args: I) -> Result<Self, FlagError>
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let name = std::iter::once(OsString::from("adit-proxy"));
        let typed = name.chain(args.into_iter().map(Into::into));
        Flags::read(typed, |_| None)?.config()
    }
}

#[cfg(test)]
#[path = "flags_tests.rs"]
mod tests;
