//! Backends in a cluster: Kubernetes and Marathon.

use std::path::{Path, PathBuf};

use adit_common::config_file::Parsed;
use adit_common::http_config::FileTls;
use adit_common::target::Scheme;
use serde::Deserialize;

use super::manner::{Door, FileManner, backend, manner, spoken_to};
use super::values::{PathPrefix, ServerUrl, path_prefix, refresh};
use crate::config::limits::Time;
use crate::config::query::{
    KubernetesSelect, KubernetesSource, MarathonSource, PrincipalSecret, Source,
};

spoken_to! {
    /// Some pods. Without `kubeconfig` the cluster is the one we run in.
    pub(super) struct FileKubernetes {
        #[serde(default)]
        kubeconfig: Option<PathBuf>,
        #[serde(default)]
        namespace: Option<String>,
        #[serde(default)]
        service: Option<String>,
        #[serde(default)]
        pod_selector: Option<String>,
        #[serde(default)]
        port: Option<String>,
        #[serde(default)]
        scheme: Option<Scheme>,
        #[serde(default)]
        path_prefix: Option<Parsed<PathPrefix>>,
    }
}

impl FileKubernetes {
    /// What is meant. It blocks.
    ///
    /// # Errors
    /// Which key, and why.
    pub(super) fn resolve(mut self, directory: &Path) -> Result<Source, String> {
        let (door, rank) = self.take_manner();
        let namespace = self.namespace.unwrap_or_else(|| "default".to_owned());
        object("namespace", &namespace)?;
        let select = match (self.service, self.pod_selector) {
            (Some(service), None) => {
                object("service", &service)?;
                KubernetesSelect::Service(service)
            }
            (None, Some(selector)) => {
                if selector.trim().is_empty() || selector.chars().any(char::is_control) {
                    let words = "pod_selector: expected a label selector, as in app=prometheus";
                    return Err(words.to_owned());
                }
                KubernetesSelect::Pods(selector)
            }
            _ => return Err("service: expected one of service, pod_selector".to_owned()),
        };
        let port = self.port.map(port).transpose()?;
        Ok(Source::Kubernetes(KubernetesSource {
            kubeconfig: self.kubeconfig.map(|path| directory.join(path)),
            namespace,
            select,
            port,
            scheme: self.scheme.unwrap_or(Scheme::Http),
            path_prefix: path_prefix(self.path_prefix),
            manner: manner(door, rank, directory)?,
        }))
    }
}

/// The name of an object in Kubernetes (RFC 1123): it stands in paths.
fn object(key: &str, name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let dashed = name.starts_with(['-', '.']) || name.ends_with(['-', '.']);
    match !name.is_empty() && name.len() <= 253 && name.chars().all(legal) && !dashed {
        true => Ok(()),
        false => Err(format!(
            "{key}: expected lower case letters, digits, '-' and '.'"
        )),
    }
}

/// A number, or a name.
fn port(text: String) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_number = text.chars().all(|c| c.is_ascii_digit());
    let good = match is_number {
        true => text.parse::<u16>().is_ok(),
        false => text.chars().all(legal),
    };
    match good && !text.is_empty() {
        true => Ok(text),
        false => Err("port: expected a name, or a number up to 65535".to_owned()),
    }
}

/// Some apps of a Marathon, asked for every 10s unless it says otherwise. `tls` is for Marathon and the
/// login.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileMarathon {
    urls: Vec<Parsed<ServerUrl>>,
    apps: Vec<String>,
    #[serde(default)]
    port: Option<String>,
    #[serde(default)]
    principal_secret_file: Option<PathBuf>,
    #[serde(default)]
    auth_endpoint: Option<Parsed<ServerUrl>>,
    #[serde(default)]
    tls: Option<FileTls>,
    #[serde(default)]
    refresh: Option<Time>,
    #[serde(default)]
    backend: Option<FileManner>,
}

impl FileMarathon {
    /// What is meant. It blocks.
    ///
    /// # Errors
    /// Which key, and why.
    pub(super) fn resolve(self, directory: &Path) -> Result<Source, String> {
        if self.urls.is_empty() {
            return Err("urls: expected at least one".to_owned());
        }
        let is_app = |app: &String| !app.trim_matches('/').is_empty() && !app.contains(['?', '#']);
        if self.apps.is_empty() || !self.apps.iter().all(is_app) {
            return Err("apps: expected ids of apps, as in /monitoring/prometheus".to_owned());
        }
        let door = Door {
            tls: self.tls,
            ..Door::default()
        };
        let (tls, _) = door.resolve(directory)?;
        let secret = self.principal_secret_file;
        Ok(Source::Marathon(MarathonSource {
            urls: self.urls.into_iter().map(|url| url.0.0.into()).collect(),
            apps: self.apps,
            port: self.port.map(port).transpose()?,
            principal_secret: secret.map(|path| PrincipalSecret::File(directory.join(path))),
            auth_endpoint: self.auth_endpoint.map(|url| url.0.0),
            tls,
            refresh: refresh(self.refresh, 10)?,
            manner: backend(self.backend, directory)?,
        }))
    }
}
