//! What was typed, and how it becomes what is meant together with the file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_common::config_file::{self, FileError, Parsed};
use adit_common::name::Name;
use adit_common::net::listen::ListenAddress;
use adit_common::net::tls::ClientTls;
use adit_common::target::Target;
use adit_common::telemetry::logging::{HEADING as PROGRAM, LogFlags};
use adit_common::tunnel::watchdog::Liveness;
use clap::Parser;

use crate::config::file::{File, FileTarget};
use crate::config::url::{name_flag, target_flag};
use crate::config::{Config, ProxyUrl, TargetConfig, UpstreamUrl};

/// Dials out to an Adit proxy and answers its scrapes from the targets beside it.
///
/// Nothing has to be opened here, and nothing is scraped but what is named.
#[derive(Debug, Parser)]
#[command(name = "adit-client")]
pub struct Flags {
    /// Proxy to keep a tunnel to: http(s)://HOST[:PORT][/PREFIX]; repeatable, all at once
    #[arg(long = "proxy-url", value_name = "URL", help_heading = PROXIES)]
    proxy_url: Vec<String>,

    /// Trust only the CAs of this PEM file when dialling proxies
    #[arg(long = "tls.ca-file", value_name = "FILE", help_heading = PROXIES)]
    tls_ca_file: Option<PathBuf>,

    /// Our certificate towards proxies, PEM; needs --tls.key-file
    #[arg(long = "tls.cert-file", value_name = "FILE", help_heading = PROXIES)]
    tls_cert_file: Option<PathBuf>,

    /// Its key, PEM
    #[arg(long = "tls.key-file", value_name = "FILE", help_heading = PROXIES)]
    tls_key_file: Option<PathBuf>,

    /// Name in the proxies' certificates, if not the URL's
    #[arg(long = "tls.server-name", value_name = "NAME", help_heading = PROXIES)]
    tls_server_name: Option<String>,

    /// A ping goes out after so long without a byte from a proxy, or to it
    #[arg(long = "tunnel.ping-interval", value_name = "DURATION", default_value = "15s", value_parser = humantime::parse_duration, help_heading = PROXIES)]
    tunnel_ping_interval: Duration,

    /// A tunnel ends, and is dialled again, after so long without a byte from its proxy
    #[arg(long = "tunnel.dead-after", value_name = "DURATION", default_value = "45s", value_parser = humantime::parse_duration, help_heading = PROXIES)]
    tunnel_dead_after: Duration,

    /// What may be scraped, as the scraper names it: HOST:PORT, and where it really is if not at
    /// that port of localhost: =http(s)://HOST:PORT or =unix:/PATH; repeatable
    #[arg(long = "target", value_name = "HOST:PORT[=URL]", help_heading = TARGETS)]
    target: Vec<String>,

    /// Name that routes here besides the hosts of the targets; repeatable.
    /// [default: this host's name]
    #[arg(long = "name", visible_alias = "fqdn", value_name = "NAME", value_parser = name_flag, help_heading = TARGETS)]
    name: Vec<Name>,

    /// Offer every port of the names at localhost, as PushProx does
    #[arg(long = "allow-any-port", help_heading = TARGETS)]
    allow_any_port: bool,

    /// YAML file with the same and more; flags win
    #[arg(long = "config.file", value_name = "FILE", help_heading = PROGRAM)]
    config_file: Option<PathBuf>,

    /// Address of our own metrics and health; repeatable.
    /// [default: 127.0.0.1:9369 and [::1]:9369]
    #[arg(long = "web.listen-address", value_name = "ADDR", help_heading = PROGRAM)]
    web_listen_address: Vec<ListenAddress>,

    /// How long scrapes in flight may take to finish when stopping
    #[arg(long = "shutdown.grace", value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration, help_heading = PROGRAM)]
    shutdown_grace: Duration,

    /// How it logs.
    #[command(flatten)]
    pub log: LogFlags,

    /// Print version
    #[arg(long = "version", help_heading = PROGRAM)]
    pub version: bool,
}

const PROXIES: &str = "Proxies";
const TARGETS: &str = "Targets";

/// What was typed or written makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum FlagError {
    /// clap says what, and prints help and version too.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The file.
    #[error("--config.file: {0}")]
    File(#[from] FileError),
    /// Settings that contradict each other, or lack something.
    #[error("{0}")]
    Meaning(String),
}

impl Flags {
    /// What is meant by flags and file.
    ///
    /// # Errors
    /// What is missing or contradicts, with the way out.
    pub fn config(self) -> Result<Config, FlagError> {
        Source(Arc::new(self)).read()
    }
}

/// What was typed, to be read once more with what its file says by then. Clones are the same.
#[derive(Debug, Clone)]
pub struct Source(Arc<Flags>);

impl Source {
    /// Whether there is anything that may have changed.
    pub fn has_file(&self) -> bool {
        self.0.config_file.is_some()
    }

    /// What is meant by flags and file. It blocks.
    ///
    /// # Errors
    /// As [`Flags::config`].
    pub fn read(&self) -> Result<Config, FlagError> {
        let flags = &*self.0;
        let (file, directory) = match &flags.config_file {
            Some(path) => (
                config_file::read::<File>(path)?,
                path.parent().unwrap_or(Path::new("")),
            ),
            None => (File::default(), Path::new("")),
        };
        let allow_any_port = flags.allow_any_port || file.allow_any_port;
        let targets = flags.targets(file.targets, directory)?;
        if targets.is_empty() && !allow_any_port {
            let words = "nothing may be scraped: give --target=HOST:PORT for each target, or \
                         --allow-any-port for every port of this host";
            return Err(meaning(words));
        }
        let mut names = match flags.name.is_empty() {
            true => file.names,
            false => flags.name.clone(),
        };
        if names.is_empty() && allow_any_port {
            names.push(host_name()?);
        }
        let liveness = Liveness::new(flags.tunnel_ping_interval, flags.tunnel_dead_after)
            .map_err(|error| meaning(error.to_string()))?;
        Ok(Config {
            listen: flags.web_listen_address.clone(),
            proxies: flags.proxies(file.proxies)?,
            names,
            targets,
            allow_any_port,
            labels: file.labels,
            tls: flags.tls(file.tls.resolve(directory))?,
            liveness,
            shutdown_grace: flags.shutdown_grace,
            source: self.clone(),
        })
    }
}

/// What flags and file say of one thing.
impl Flags {
    fn proxies(&self, file: Vec<Parsed<ProxyUrl>>) -> Result<Vec<ProxyUrl>, FlagError> {
        let proxies: Vec<ProxyUrl> = match self.proxy_url.is_empty() {
            true => file.into_iter().map(|url| url.0).collect(),
            false => each("--proxy-url", &self.proxy_url, str::parse::<ProxyUrl>)?,
        };
        if proxies.is_empty() {
            return Err(meaning("no proxy: give --proxy-url=URL"));
        }
        for (index, proxy) in proxies.iter().enumerate() {
            if proxies[..index].iter().any(|other| other.is_same(proxy)) {
                return Err(meaning(format!("proxy {proxy} is given twice")));
            }
        }
        Ok(proxies)
    }

    /// Sorted.
    fn targets(
        &self,
        file: Vec<FileTarget>,
        directory: &Path,
    ) -> Result<Vec<TargetConfig>, FlagError> {
        let mut targets: Vec<TargetConfig> = match self.target.is_empty() {
            true => file.into_iter().map(|t| t.resolve(directory)).collect(),
            false => each("--target", &self.target, target_flag)?
                .into_iter()
                .map(TargetConfig::from)
                .collect(),
        };
        if let Some(twice) = duplicate(&mut targets) {
            return Err(meaning(format!("target {twice} is given twice")));
        }
        for target in &targets {
            check_tls(&format!("target {}: tls", target.target), &target.tls)?;
        }
        Ok(targets)
    }

    fn tls(&self, file: ClientTls) -> Result<ClientTls, FlagError> {
        let tls = ClientTls {
            ca_file: self.tls_ca_file.clone().or(file.ca_file),
            cert_file: self.tls_cert_file.clone().or(file.cert_file),
            key_file: self.tls_key_file.clone().or(file.key_file),
            server_name: self.tls_server_name.clone().or(file.server_name),
            insecure_skip_verify: file.insecure_skip_verify,
        };
        check_tls("tls", &tls)?;
        Ok(tls)
    }
}

impl From<(Target, Option<UpstreamUrl>)> for TargetConfig {
    fn from((target, url): (Target, Option<UpstreamUrl>)) -> Self {
        Self {
            target,
            url,
            host: None,
            labels: Default::default(),
            tls: ClientTls::default(),
        }
    }
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
        let name = std::iter::once(OsString::from("adit-client"));
        Flags::try_parse_from(name.chain(args.into_iter().map(Into::into)))?.config()
    }
}

/// Parsed here and not by clap, which quotes what it was given: a URL may hold a password.
fn each<T, E: std::fmt::Display>(
    flag: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, FlagError> {
    let one = |text: &String| {
        parse(text).map_err(|error| meaning(format!("{flag} {:?}: {error}", masked(text))))
    };
    texts.iter().map(one).collect()
}

/// With what stands where a URL has its user and password masked.
fn masked(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.find("://").map_or(0, |at| at + 3);
            format!("{}***@{host}", &before[..scheme])
        }
        None => text.to_owned(),
    }
}

fn meaning(words: impl Into<String>) -> FlagError {
    FlagError::Meaning(words.into())
}

/// Sorts them on the way.
fn duplicate(targets: &mut [TargetConfig]) -> Option<Target> {
    targets.sort_by(|a, b| a.target.cmp(&b.target));
    targets
        .windows(2)
        .find(|pair| pair[0].target == pair[1].target)
        .map(|pair| pair[0].target.clone())
}

/// Half a certificate is found now and not at the first handshake.
fn check_tls(what: &str, tls: &ClientTls) -> Result<(), FlagError> {
    if tls.cert_file.is_some() != tls.key_file.is_some() {
        let words = format!("{what}: a certificate and its key go together, one is missing");
        return Err(meaning(words));
    }
    Ok(())
}

fn host_name() -> Result<Name, FlagError> {
    let host = hostname::get().map_err(|error| error.to_string());
    host.and_then(|host| host.into_string().map_err(|_| "not text".to_owned()))
        .and_then(|host| name_flag(&host))
        .map_err(|error| {
            meaning(format!(
                "this host has no usable name, give --name: {error}"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "--proxy-url=http://proxy:8080";

    fn config(args: &[&str]) -> Result<Config, FlagError> {
        Config::from_args(args)
    }

    #[test]
    fn the_two_flags_of_a_household() {
        let config = config(&[PROXY, "--target=pi:9100"]).unwrap();
        assert_eq!(config.proxies[0].to_string(), "http://proxy:8080");
        assert_eq!(config.targets[0].target.to_string(), "pi:9100");
        assert!(
            config.names.is_empty(),
            "the hosts of targets route by themselves"
        );
    }

    #[test]
    fn pushprox_habit_takes_this_hosts_name() {
        let config = config(&[PROXY, "--allow-any-port"]).unwrap();
        assert_eq!(config.names, [host_name().unwrap()]);
        let config = self::config(&[PROXY, "--allow-any-port", "--fqdn=pi"]).unwrap();
        assert_eq!(config.names[0].as_str(), "pi");
    }

    #[test]
    fn wrong_flags_say_what_is_right() {
        for (args, says) in [
            (&["--target=pi:9100"][..], "--proxy-url=URL"),
            (&[PROXY], "--target=HOST:PORT"),
            (
                &[PROXY, "--target=pi"],
                "--target \"pi\": expected HOST:PORT[=URL]",
            ),
            (
                &[PROXY, "--target=pi:1", "--target=PI:1"],
                "pi:1 is given twice",
            ),
            (
                &[PROXY, "--target=pi:1", "--proxy-url=ws://PROXY.:8080/"],
                "proxy http://PROXY.:8080 is given twice",
            ),
            (
                &["--proxy-url=proxy:8080", "--target=pi:1"],
                "--proxy-url \"proxy:8080\": expected http(s)://",
            ),
            (&[PROXY, "--target=pi:1", "--name=a:1"], "brackets"),
            (
                &[PROXY, "--target=pi:1", "--tls.cert-file=x"],
                "one is missing",
            ),
            (
                &[PROXY, "--target=pi:1", "--config.file=/nonexistent"],
                "/nonexistent",
            ),
            (&[PROXY, "--tagret=pi:1"], "--target"),
            (
                &[PROXY, "--target=pi:1", "--tunnel.ping-interval=10ms"],
                "minimum of 200ms",
            ),
        ] {
            let error = config(args).unwrap_err().to_string();
            assert!(error.contains(says), "{args:?}: {error}");
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        for args in [
            ["--proxy-url=http://user:s3c@ret@proxy", "--target=pi:1"],
            [PROXY, "--target=pi:1=http://user:s3c@ret@pi:1"],
        ] {
            let error = config(&args).unwrap_err().to_string();
            assert!(error.contains("http://***@p"), "{error}");
            assert!(!error.contains("s3c") && !error.contains("ret"), "{error}");
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("client.yml");
        let text = "proxies: [http://a]\nnames: [file]\nallow_any_port: true\n\
                    targets: [{target: file:1}]\ntls: {ca_file: ca.pem}\n";
        std::fs::write(&path, text).unwrap();
        let file = format!("--config.file={}", path.display());
        let read = config(&[&file]).unwrap();
        assert_eq!(read.proxies[0].to_string(), "http://a");
        assert_eq!(read.tls.ca_file, Some(directory.path().join("ca.pem")));
        let both = config(&[&file, PROXY, "--name=flag", "--target=flag:1"]).unwrap();
        assert_eq!(both.proxies[0].to_string(), "http://proxy:8080");
        assert_eq!(both.names[0].as_str(), "flag");
        assert_eq!(both.targets[0].target.to_string(), "flag:1");
    }

    #[test]
    fn the_file_is_read_again_and_flags_stay_as_typed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("client.yml");
        std::fs::write(&path, "proxies: [http://a]\ntargets: [{target: one:1}]\n").unwrap();
        let file = format!("--config.file={}", path.display());
        let config = config(&[&file, "--name=flag"]).unwrap();
        assert!(config.source.has_file());
        std::fs::write(&path, "proxies: [http://b]\ntargets: [{target: two:1}]\n").unwrap();
        let again = config.source.read().unwrap();
        assert_eq!(again.proxies[0].to_string(), "http://b");
        assert_eq!(again.targets[0].target.to_string(), "two:1");
        assert_eq!(again.names, config.names);
        std::fs::write(&path, "targts: []\n").unwrap();
        let error = again.source.read().unwrap_err().to_string();
        assert!(error.contains("client.yml:1:1: unknown key"), "{error}");
    }
}
