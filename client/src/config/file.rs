//! The keys of the YAML file: what was written. `adit_common::config_file` reads it, strictly.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use adit_common::config_file::Parsed;
use adit_common::http_config::{FileAuthorization, FileBasicAuth, FileTls, either};
use adit_common::name::Name;
use adit_common::target::Target;
use http::{HeaderValue, Method};
use serde::Deserialize;

use super::auth::FileAuth;
use super::http_proxy::FileHttpProxy;
use super::path::Prefix;
use super::size::Size;
use super::url::{ProxyUrl, UpstreamUrl};
use super::{Cost, TargetConfig};

/// The file as written. Every key has the flag of the same meaning; flags win.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// `--proxy-url`.
    pub proxies: Vec<Parsed<ProxyUrl>>,
    /// `--name`.
    pub names: Vec<Name>,
    /// `--target`, with more to say of each.
    pub targets: Vec<FileTarget>,
    /// `--allow-any-port`.
    pub allow_any_port: bool,
    /// On every target.
    pub labels: BTreeMap<String, String>,
    /// `--tls.…`.
    pub tls: FileTls,
    /// `--auth.…`.
    pub auth: FileAuth,
    /// `--http-proxy`, with more to say of it.
    pub http_proxy: FileHttpProxy,
}

/// A target in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTarget {
    target: Target,
    #[serde(default)]
    url: Option<Parsed<UpstreamUrl>>,
    #[serde(default)]
    host: Option<Parsed<HeaderValue>>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    tls: FileTls,
    #[serde(default)]
    methods: Option<Vec<Parsed<WrittenMethod>>>,
    #[serde(default)]
    paths: Option<Vec<Parsed<Prefix>>>,
    #[serde(default)]
    connect: Option<bool>,
    #[serde(default)]
    authorization: Option<FileAuthorization>,
    #[serde(default)]
    basic_auth: Option<FileBasicAuth>,
    #[serde(default)]
    scrapes: Option<usize>,
    #[serde(default)]
    serial: bool,
    #[serde(default)]
    connects: Option<usize>,
    #[serde(default)]
    response_bytes: Option<Parsed<Size>>,
    #[serde(default)]
    timeout: Option<Parsed<WrittenTime>>,
}

/// A method, in capitals as they all are: `get` would be one that nobody sends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WrittenMethod(Method);

impl FromStr for WrittenMethod {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "expected a method in capitals, as in GET";
        match text.parse::<Method>() {
            Ok(Method::CONNECT) => Err("CONNECT is no method of a target: say connect: true"),
            Ok(method) if !text.bytes().any(|byte| byte.is_ascii_lowercase()) => Ok(Self(method)),
            _ => Err(FORM),
        }
    }
}

/// A time above nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WrittenTime(Duration);

impl FromStr for WrittenTime {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time = humantime::parse_duration(text).ok();
        let time = time.filter(|time| !time.is_zero());
        time.map(Self).ok_or("expected a time above 0s, as in 10s")
    }
}

impl FileTarget {
    /// With its files found.
    ///
    /// # Errors
    /// What contradicts itself, or would offer nothing.
    pub fn resolve(self, directory: &Path) -> Result<TargetConfig, String> {
        let target = self.target.clone();
        let named = |words: &str| format!("target {target}: {words}");
        for (key, is_empty) in [
            ("methods", self.methods.as_ref().is_some_and(Vec::is_empty)),
            ("paths", self.paths.as_ref().is_some_and(Vec::is_empty)),
        ] {
            if is_empty {
                let words = format!("{key}: none is given: leave it out, or the whole target");
                return Err(named(&words));
            }
        }
        let cost = self.cost().map_err(|words| named(&words))?;
        let all = |paths: Vec<Parsed<Prefix>>| paths.into_iter().map(|path| path.0).collect();
        let credentials =
            either(self.authorization, self.basic_auth, directory).map_err(|w| named(&w))?;
        Ok(TargetConfig {
            host: self.host.map(|host| host.0),
            labels: self.labels,
            tls: self.tls.resolve(directory),
            methods: self
                .methods
                .map(|methods| methods.into_iter().map(|method| method.0.0).collect()),
            paths: self.paths.map(all),
            connect: self.connect,
            credentials,
            cost,
            ..TargetConfig::new(self.target, self.url.map(|url| url.0))
        })
    }

    fn cost(&self) -> Result<Cost, String> {
        for (key, count) in [("scrapes", self.scrapes), ("connects", self.connects)] {
            if count == Some(0) {
                return Err(format!("{key}: expected at least 1"));
            }
        }
        if self.serial && self.scrapes.is_some() {
            return Err("serial is one scrape at a time: leave out scrapes".to_owned());
        }
        let default = Cost::default();
        let connects = if self.serial { 1 } else { default.connects };
        Ok(Cost {
            scrapes: self.scrapes.unwrap_or(default.scrapes),
            serial: self.serial,
            connects: self.connects.unwrap_or(connects),
            response_bytes: match &self.response_bytes {
                None => default.response_bytes,
                // As Prometheus' body_size_limit.
                Some(Parsed(Size(0))) => None,
                Some(Parsed(Size(most))) => Some(*most),
            },
            timeout: self.timeout.as_ref().map(|time| time.0.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use adit_common::config_file::parse;
    use adit_common::http_config::CredentialFile;

    use super::*;

    #[test]
    fn a_whole_file() {
        let file: File = parse(
            "proxies: [https://proxy.example/adit]\n\
             names: [pi]\n\
             allow_any_port: true\n\
             labels: {site: berlin}\n\
             tls: {ca_file: ca.pem}\n\
             targets:\n\
             - target: tls.example:9443\n  \
               url: https://127.0.0.1:9443\n  \
               host: other.example\n  \
               labels: {job: x}\n  \
               tls: {ca_file: /etc/ca.pem, server_name: tls.example, insecure_skip_verify: false}\n",
        )
        .unwrap();
        assert_eq!(file.proxies[0].0.path, "/adit/tunnel");
        let tls = file.tls.resolve(Path::new("/etc/adit"));
        assert_eq!(tls.ca_file, Some("/etc/adit/ca.pem".into()));
        let target = file.targets.into_iter().next().unwrap();
        let target = target.resolve(Path::new("/etc/adit")).unwrap();
        assert_eq!(target.tls.ca_file, Some("/etc/ca.pem".into()));
        assert_eq!(target.host.unwrap(), "other.example");
    }

    fn target(keys: &str) -> Result<TargetConfig, String> {
        let file: File = parse(&format!("targets:\n- {{target: 'pi:1', {keys}}}\n"))?;
        let target = file.targets.into_iter().next().unwrap();
        target.resolve(Path::new("/etc/adit"))
    }

    #[test]
    fn what_a_target_may_be_asked_and_cost() {
        let target = target(
            "methods: [GET, PROPFIND], paths: [/metrics, /a/b/], connect: true, scrapes: 2, \
             connects: 3, response_bytes: 64MiB, timeout: 1m 30s, \
             basic_auth: {username: x, password_file: p}",
        )
        .unwrap();
        assert_eq!(target.methods.unwrap()[1].as_str(), "PROPFIND");
        assert_eq!(target.paths.unwrap()[1], "/a/b".parse().unwrap());
        assert_eq!(target.connect, Some(true));
        let basic = CredentialFile::Basic {
            username: "x".into(),
            password_file: "/etc/adit/p".into(),
        };
        assert_eq!(target.credentials, Some(basic));
        let cost = Cost {
            scrapes: 2,
            serial: false,
            connects: 3,
            response_bytes: Some(64 << 20),
            timeout: Some(Duration::from_secs(90)),
        };
        assert_eq!(target.cost, cost);
        assert_eq!(self::target("connects: 16").unwrap().cost, Cost::default());
        let serial = self::target("serial: true").unwrap().cost;
        assert!(serial.serial && serial.connects == 1);
        let free = self::target("response_bytes: 0").unwrap().cost;
        assert_eq!(free.response_bytes, None);
        let bytes = self::target("response_bytes: 1000").unwrap().cost;
        assert_eq!(bytes.response_bytes, Some(1000));
    }

    #[test]
    fn what_a_target_cannot_mean_says_why() {
        for (keys, says) in [
            ("methods: [get]", "in capitals"),
            ("methods: [CONNECT]", "connect: true"),
            ("methods: []", "target pi:1: methods: none is given"),
            ("paths: []", "target pi:1: paths: none is given"),
            ("paths: [metrics]", "as in /metrics"),
            ("paths: [/a/../b]", "has a segment"),
            ("scrapes: 0", "target pi:1: scrapes: expected at least 1"),
            ("connects: 0", "connects: expected at least 1"),
            ("serial: true, scrapes: 2", "leave out scrapes"),
            ("response_bytes: 64 elephants", "as in 64MiB"),
            ("timeout: 0s", "above 0s"),
            ("timeout: soon", "as in 10s"),
            ("method: [GET]", "did you mean \"methods\"?"),
            (
                "authorization: {credentials_file: a}, basic_auth: {username: x, password_file: p}",
                "exclude each other",
            ),
        ] {
            let error = target(keys).unwrap_err();
            assert!(error.contains(says), "{keys}: {error}");
        }
    }

    #[test]
    fn an_empty_file_says_nothing() {
        assert!(parse::<File>("").unwrap().targets.is_empty());
    }

    #[test]
    fn a_wrong_key_or_value_is_named() {
        for (text, says) in [
            (
                "nmaes: [pi]\n",
                ":1:1: unknown key \"nmaes\", did you mean \"names\"?",
            ),
            (
                "names: [pi]\ncolour: red\n",
                "expected one of proxies, names",
            ),
            ("targets:\n- url: http://x\n", "key \"target\" is missing"),
            (
                "targets:\n- {target: pi:9100, tls: {cafile: x}}\n",
                "did you mean \"ca_file\"?",
            ),
            ("proxies: [\"ftp://x\"]\n", "http(s)://"),
        ] {
            let error = parse::<File>(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
