//! Where the API server is, and who we are there.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use adit_common::credentials::Credentials;
use adit_common::net::tls::{ClientTls, Pem};
use adit_common::secret::Secret;
use http::{HeaderValue, Uri};

use super::kubeconfig;

/// Where a pod finds its service account.
pub(super) const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A cluster as we reach it. What its files hold is read with it, but for tokens, which change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cluster {
    /// `https://HOST:PORT`, and a path where several clusters have one address; no slash behind.
    pub(super) server: String,
    pub(super) tls: ClientTls,
    pub(super) identity: Identity,
}

/// What is shown to the API server, beside a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    Nobody,
    This(Credentials),
    /// Read for every request: the kubelet puts a new one there before the old one expires.
    TokenFile(PathBuf),
}

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

impl Cluster {
    /// By this kubeconfig, or as a pod finds it. It blocks.
    ///
    /// # Errors
    /// Which file or key cannot be used, and why; no secret.
    pub(super) fn read(
        kubeconfig: Option<&Path>,
        surroundings: &Surroundings,
    ) -> Result<Self, String> {
        match kubeconfig {
            Some(path) => kubeconfig::read(path),
            None => Self::around(surroundings),
        }
    }

    fn around(surroundings: &Surroundings) -> Result<Self, String> {
        let Some(host) = &surroundings.host else {
            return Err(
                "KUBERNETES_SERVICE_HOST is not set, so this is no pod: give a kubeconfig"
                    .to_owned(),
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
        Ok(Self {
            server,
            tls,
            identity: Identity::TokenFile(surroundings.account.join("token")),
        })
    }
}

impl Identity {
    /// As a field's value, marked as sensitive. It blocks.
    ///
    /// # Errors
    /// Names the file and never shows what is in it.
    pub(super) fn shown(&self) -> Result<Option<HeaderValue>, String> {
        let credentials = match self {
            Self::Nobody => return Ok(None),
            Self::This(credentials) => credentials.clone(),
            // It stands in a volume that is the pod's alone, and readable to all in it.
            Self::TokenFile(path) => {
                Credentials::Bearer(Secret::read_again(path).map_err(|error| error.to_string())?)
            }
        };
        match credentials.to_value() {
            Some(value) => Ok(Some(value)),
            None => Err("a token or password that cannot stand in a header field".to_owned()),
        }
    }
}

/// An API server's address, as it is put before paths.
pub(super) fn server(text: &str) -> Result<String, String> {
    const FORM: &str = "expected http(s)://HOST[:PORT][/PATH]";
    let uri: Uri = text.parse().map_err(|_| FORM.to_owned())?;
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(FORM.to_owned());
    };
    // Credentials have keys of their own.
    if authority.as_str().contains('@') || uri.query().is_some() {
        return Err(FORM.to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Certificates, or a key.
pub(super) fn pem(path: &Path) -> Result<Secret, String> {
    /// Of bytes in a file: a bundle of all CAs there are has 250 KB.
    const MOST: u64 = 1 << 20;
    let failed = |why: String| format!("{}: {why}", path.display());
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if size.len() > MOST {
        return Err(failed(format!("has over {MOST} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    Ok(Secret::new(text))
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
            let cluster = Cluster::read(None, &around).unwrap();
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
        let read = |host| Cluster::read(None, &surroundings(host, folder.path())).unwrap_err();
        assert!(read(None).contains("give a kubeconfig"));
        assert!(read(Some("a b")).contains("KUBERNETES_SERVICE_HOST: expected"));
        let error = read(Some("10.0.0.1"));
        assert!(error.contains("ca.crt: No such file"), "{error}");
        let identity = Identity::TokenFile(folder.path().join("token"));
        let error = identity.shown().unwrap_err();
        assert!(error.contains("token: No such file"), "{error}");
    }
}
