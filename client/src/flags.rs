//! What was typed. Together with the file it becomes what is meant: [`crate::config::source`].

use std::path::PathBuf;
use std::time::Duration;

use adit_common::config_file::FileError;
use adit_common::name::Name;
use adit_common::net::listen::ListenAddress;
use adit_common::telemetry::logging::{HEADING as PROGRAM, LogFlags};
use clap::Parser;

use crate::check::Check;
use crate::config::url::name_flag;

/// Dials out to an Adit proxy and answers its scrapes from the targets beside it.
///
/// Nothing has to be opened here, and nothing is scraped but what is named.
#[derive(Debug, Parser)]
#[command(name = "adit-client")]
pub struct Flags {
    /// Proxy to keep a tunnel to: http(s)://HOST[:PORT][/PREFIX]; repeatable, all at once
    #[arg(long = "proxy-url", value_name = "URL", help_heading = PROXIES)]
    pub(crate) proxy_url: Vec<String>,

    /// HTTP proxy on the way to them: http(s)://HOST[:PORT], or none.
    /// [default: as HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say]
    #[arg(long = "http-proxy", value_name = "URL", help_heading = PROXIES)]
    pub(crate) http_proxy: Option<String>,

    /// File with the token that lets us in; read again at every dial
    #[arg(long = "auth.token-file", value_name = "FILE", help_heading = PROXIES)]
    pub(crate) auth_token_file: Option<PathBuf>,

    /// User at the proxies, or at what stands before them; needs --auth.password-file
    #[arg(long = "auth.username", value_name = "USER", help_heading = PROXIES)]
    pub(crate) auth_username: Option<String>,

    /// File with that user's password; read again at every dial
    #[arg(long = "auth.password-file", value_name = "FILE", help_heading = PROXIES)]
    pub(crate) auth_password_file: Option<PathBuf>,

    /// Trust only the CAs of this PEM file when dialling proxies
    #[arg(long = "tls.ca-file", value_name = "FILE", help_heading = PROXIES)]
    pub(crate) tls_ca_file: Option<PathBuf>,

    /// Our certificate towards proxies, PEM; needs --tls.key-file
    #[arg(long = "tls.cert-file", value_name = "FILE", help_heading = PROXIES)]
    pub(crate) tls_cert_file: Option<PathBuf>,

    /// Its key, PEM
    #[arg(long = "tls.key-file", value_name = "FILE", help_heading = PROXIES)]
    pub(crate) tls_key_file: Option<PathBuf>,

    /// Name in the proxies' certificates, if not the URL's
    #[arg(long = "tls.server-name", value_name = "NAME", help_heading = PROXIES)]
    pub(crate) tls_server_name: Option<String>,

    /// A ping goes out after so long without a byte from a proxy, or to it
    #[arg(long = "tunnel.ping-interval", value_name = "DURATION", default_value = "15s", value_parser = humantime::parse_duration, help_heading = PROXIES)]
    pub(crate) tunnel_ping_interval: Duration,

    /// A tunnel ends, and is dialled again, after so long without a byte from its proxy
    #[arg(long = "tunnel.dead-after", value_name = "DURATION", default_value = "45s", value_parser = humantime::parse_duration, help_heading = PROXIES)]
    pub(crate) tunnel_dead_after: Duration,

    /// What may be scraped, as the scraper names it: HOST:PORT, and where it really is if not at
    /// that port of localhost: =http(s)://HOST:PORT or =unix:/PATH; repeatable
    #[arg(long = "target", value_name = "HOST:PORT[=URL]", help_heading = TARGETS)]
    pub(crate) target: Vec<String>,

    /// Name that routes here besides the hosts of the targets; repeatable.
    /// [default: this host's name]
    #[arg(long = "name", visible_alias = "fqdn", value_name = "NAME", value_parser = name_flag, help_heading = TARGETS)]
    pub(crate) name: Vec<Name>,

    /// Offer every port of the names at localhost, as PushProx does
    #[arg(long = "allow-any-port", help_heading = TARGETS)]
    pub(crate) allow_any_port: bool,

    /// YAML file with the same and more; flags win
    #[arg(long = "config.file", value_name = "FILE", help_heading = PROGRAM)]
    pub config_file: Option<PathBuf>,

    /// Address of our own metrics and health; repeatable.
    /// [default: 127.0.0.1:9369 and [::1]:9369]
    #[arg(long = "web.listen-address", value_name = "ADDR", help_heading = PROGRAM)]
    pub(crate) web_listen_address: Vec<ListenAddress>,

    /// Who may see those, and TLS for them: a file as Prometheus' exporters take it; read again when
    /// it changes
    #[arg(long = "web.config.file", value_name = "FILE", help_heading = PROGRAM)]
    pub(crate) web_config_file: Option<PathBuf>,

    /// Let everybody see them, also beyond this machine
    #[arg(long = "allow-anonymous", help_heading = PROGRAM)]
    pub(crate) allow_anonymous: bool,

    /// How long scrapes in flight may take to finish when stopping
    #[arg(long = "shutdown.grace", value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration, help_heading = PROGRAM)]
    pub(crate) shutdown_grace: Duration,

    /// Say whether flags, file and the files they name can be used, and run nothing; =online dials
    /// every proxy and asks every target, too
    #[arg(long = "check-config", value_name = "HOW", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "files", help_heading = PROGRAM)]
    pub check_config: Option<Check>,

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
    /// The other one.
    #[error("--web.config.file: {0}")]
    Web(FileError),
    /// Settings that contradict each other, or lack something.
    #[error("{0}")]
    Meaning(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::source::host_name;

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
