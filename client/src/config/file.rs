//! The keys of the YAML file: what was written. `adit_common::config_file` reads it, strictly.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use adit_common::config_file::Parsed;
use adit_common::name::Name;
use adit_common::net::tls::ClientTls;
use adit_common::target::Target;
use http::HeaderValue;
use serde::Deserialize;

use super::TargetConfig;
use super::auth::FileAuth;
use super::http_proxy::FileHttpProxy;
use super::url::{ProxyUrl, UpstreamUrl};

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
}

/// TLS towards a proxy or a target. Files are relative to the configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileTls {
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    server_name: Option<String>,
    insecure_skip_verify: bool,
}

impl FileTls {
    /// With its files found.
    pub fn resolve(self, directory: &Path) -> ClientTls {
        let at = |file: Option<PathBuf>| file.map(|file| directory.join(file));
        ClientTls {
            ca_file: at(self.ca_file),
            cert_file: at(self.cert_file),
            key_file: at(self.key_file),
            server_name: self.server_name,
            insecure_skip_verify: self.insecure_skip_verify,
        }
    }
}

impl FileTarget {
    /// With its files found.
    pub fn resolve(self, directory: &Path) -> TargetConfig {
        TargetConfig {
            target: self.target,
            url: self.url.map(|url| url.0),
            host: self.host.map(|host| host.0),
            labels: self.labels,
            tls: self.tls.resolve(directory),
        }
    }
}

#[cfg(test)]
mod tests {
    use adit_common::config_file::parse;

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
        let target = target.resolve(Path::new("/etc/adit"));
        assert_eq!(target.tls.ca_file, Some("/etc/ca.pem".into()));
        assert_eq!(target.host.unwrap(), "other.example");
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
