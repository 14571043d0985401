//! Where the cluster is: by a kubeconfig, or as a pod is told.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use adit_common::net::tls::{ClientTls, Pem};

use super::cluster::{Cluster, Identity, pem, server};
use super::kubeconfig;

/// Where a pod finds its service account.
pub(super) const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What a pod is told.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    /// `KUBERNETES_SERVICE_HOST`.
    pub(super) host: Option<String>,
    /// `KUBERNETES_SERVICE_PORT`.
    pub(super) port: Option<String>,
    /// Where the service account is.
    pub(super) account: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub(super) fn own() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            host: variable("KUBERNETES_SERVICE_HOST"),
            port: variable("KUBERNETES_SERVICE_PORT"),
            account: SERVICE_ACCOUNT.into(),
        }
    }
}

/// The cluster, by this kubeconfig, or as a pod finds it. It blocks.
///
/// # Errors
/// Which file or key cannot be used, and why; no secret.
pub(super) fn cluster(
    kubeconfig: Option<&Path>,
    surroundings: &Surroundings,
) -> Result<Cluster, String> {
    match kubeconfig {
        Some(path) => kubeconfig::read(path),
        None => around(surroundings),
    }
}

fn around(surroundings: &Surroundings) -> Result<Cluster, String> {
    let Some(host) = &surroundings.host else {
        return Err(
            "KUBERNETES_SERVICE_HOST is not set, so this is no pod: give a kubeconfig".to_owned(),
        );
    };
    let port = surroundings.port.as_deref().unwrap_or("443");
    let host = match host.parse() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.clone(),
    };
    let server = server(&format!("https://{host}:{port}"))
        .map_err(|why| format!("KUBERNETES_SERVICE_HOST: {why}"))?;
    let tls = ClientTls {
        pem: Pem {
            ca: Some(pem(&surroundings.account.join("ca.crt"))?),
            identity: None,
        },
        ..ClientTls::default()
    };
    Ok(Cluster {
        server,
        tls,
        identity: Identity::TokenFile(surroundings.account.join("token")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(host: Option<&str>, account: &Path) -> Surroundings {
        Surroundings {
            host: host.map(str::to_owned),
            port: Some("6443".to_owned()),
            account: account.to_owned(),
        }
    }

    #[test]
    fn a_pod_finds_its_cluster() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.crt"), "CERTIFICATE").unwrap();
        std::fs::write(folder.path().join("token"), "t0ken\n").unwrap();
        for (host, server) in [
            ("10.0.0.1", "https://10.0.0.1:6443"),
            ("fd00::1", "https://[fd00::1]:6443"),
        ] {
            let around = surroundings(Some(host), folder.path());
            let cluster = cluster(None, &around).unwrap();
            assert_eq!(cluster.server, server);
            assert!(cluster.tls.pem.ca.is_some());
            assert_eq!(cluster.identity.shown().unwrap().unwrap(), "Bearer t0ken");
            std::fs::write(folder.path().join("token"), "next").unwrap();
            assert_eq!(cluster.identity.shown().unwrap().unwrap(), "Bearer next");
            std::fs::write(folder.path().join("token"), "t0ken\n").unwrap();
        }
    }

    #[test]
    fn what_is_no_pod_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let read = |host| cluster(None, &surroundings(host, folder.path())).unwrap_err();
        assert!(read(None).contains("give a kubeconfig"));
        assert!(read(Some("a b")).contains("KUBERNETES_SERVICE_HOST: expected"));
        let error = read(Some("10.0.0.1"));
        assert!(error.contains("ca.crt: No such file"), "{error}");
        let identity = Identity::TokenFile(folder.path().join("token"));
        let error = identity.shown().unwrap_err();
        assert!(error.contains("token: No such file"), "{error}");
    }
}
