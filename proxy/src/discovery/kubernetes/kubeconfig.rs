//! A kubeconfig's current context.
//!
//! Keys we do not know are none of our business: distributions put in much of their own. Those that
//! would change whom we ask, or as whom, are refused where we cannot follow them.
//! <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>

use std::path::{Path, PathBuf};

use adit_common::config_file;
use adit_common::credentials::Credentials;
use adit_common::fault::one_line;
use adit_common::net::tls::{ClientTls, Pem};
use adit_common::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::cluster::{Cluster, Identity, pem, server};

#[derive(Deserialize)]
struct File {
    #[serde(rename = "current-context", default)]
    current_context: Option<String>,
    #[serde(default)]
    contexts: Option<Vec<NamedContext>>,
    #[serde(default)]
    clusters: Option<Vec<NamedCluster>>,
    #[serde(default)]
    users: Option<Vec<NamedUser>>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: FileContext,
}

#[derive(Deserialize)]
struct FileContext {
    cluster: String,
    #[serde(default)]
    user: Option<String>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: FileCluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FileCluster {
    #[serde(default)]
    server: Option<String>,
    #[serde(default)]
    certificate_authority: Option<PathBuf>,
    #[serde(default)]
    certificate_authority_data: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: Option<bool>,
    #[serde(default)]
    tls_server_name: Option<String>,
    #[serde(default)]
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: Option<FileUser>,
}

// No `Debug`: secrets stand in it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct FileUser {
    #[serde(default)]
    token: Option<String>,
    #[serde(default, rename = "tokenFile")]
    token_file: Option<PathBuf>,
    #[serde(default)]
    client_certificate: Option<PathBuf>,
    #[serde(default)]
    client_certificate_data: Option<String>,
    #[serde(default)]
    client_key: Option<PathBuf>,
    #[serde(default)]
    client_key_data: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    exec: Option<IgnoredAny>,
    #[serde(default)]
    auth_provider: Option<IgnoredAny>,
    #[serde(default, rename = "as")]
    impersonated: Option<String>,
}

/// What the current context of this file means, with the files that it names read. It blocks.
///
/// # Errors
/// Names the file and the key in it; no secret.
pub(super) fn read(path: &Path) -> Result<Cluster, String> {
    let file: File = config_file::read(path).map_err(|error| error.to_string())?;
    let directory = path.parent().unwrap_or(Path::new(""));
    meaning(file, directory).map_err(|why| format!("{}: {why}", path.display()))
}

fn meaning(file: File, directory: &Path) -> Result<Cluster, String> {
    let Some(current) = some(file.current_context) else {
        return Err("there is no current-context: kubectl config use-context".to_owned());
    };
    let none = |kind, name: &str| format!("there is no {kind} {:?}", one_line(name));
    let context = file.contexts.into_iter().flatten();
    let context = context
        .into_iter()
        .find(|context| context.name == current)
        .ok_or_else(|| none("context", &current))?
        .context;
    let cluster = file.clusters.into_iter().flatten();
    let cluster = cluster
        .into_iter()
        .find(|cluster| cluster.name == context.cluster)
        .ok_or_else(|| none("cluster", &context.cluster))?
        .cluster;
    let user = match some(context.user) {
        None => FileUser::default(),
        Some(name) => {
            let user = file.users.into_iter().flatten();
            let user = user.into_iter().find(|user| user.name == name);
            user.ok_or_else(|| none("user", &name))?
                .user
                .unwrap_or_default()
        }
    };
    user.refuse_what_we_cannot()?;
    if some(cluster.proxy_url).is_some() {
        return Err("proxy-url: API servers are only asked directly".to_owned());
    }
    let server = server(&some(cluster.server).unwrap_or_default())
        .map_err(|why| format!("cluster {:?}: server: {why}", one_line(&context.cluster)))?;
    let ca = given(
        (
            "certificate-authority-data",
            cluster.certificate_authority_data,
        ),
        cluster.certificate_authority,
        directory,
    )?;
    let identity = user.certificate(directory)?;
    let tls = ClientTls {
        pem: Pem { ca, identity },
        server_name: some(cluster.tls_server_name),
        insecure_skip_verify: cluster.insecure_skip_tls_verify.unwrap_or(false),
        ..ClientTls::default()
    };
    Ok(Cluster {
        server,
        tls,
        identity: user.shown(directory)?,
    })
}

impl FileUser {
    fn refuse_what_we_cannot(&self) -> Result<(), String> {
        for (key, there) in [
            ("exec", self.exec.is_some()),
            ("auth-provider", self.auth_provider.is_some()),
            ("as", self.impersonated.is_some()),
        ] {
            if there {
                return Err(format!(
                    "{key}: no other program is run and nobody is impersonated; give the user a \
                     token, a tokenFile, or a client-certificate (kubectl create token)"
                ));
            }
        }
        Ok(())
    }

    fn certificate(&self, directory: &Path) -> Result<Option<(Secret, Secret)>, String> {
        let chain = given(
            (
                "client-certificate-data",
                self.client_certificate_data.clone(),
            ),
            self.client_certificate.clone(),
            directory,
        )?;
        let key = given(
            ("client-key-data", self.client_key_data.clone()),
            self.client_key.clone(),
            directory,
        )?;
        match (chain, key) {
            (Some(chain), Some(key)) => Ok(Some((chain, key))),
            (None, None) => Ok(None),
            _ => Err("client-certificate and client-key are of use together only".to_owned()),
        }
    }

    /// A file goes before a token that stands there, as in kubectl.
    fn shown(self, directory: &Path) -> Result<Identity, String> {
        if let Some(path) = file(self.token_file) {
            return Ok(Identity::TokenFile(directory.join(path)));
        }
        if let Some(token) = some(self.token) {
            let token = Secret::new(token.trim().to_owned());
            return Ok(Identity::This(Credentials::Bearer(token)));
        }
        match (some(self.username), some(self.password)) {
            (None, None) => Ok(Identity::Nobody),
            (Some(user), Some(password)) if !user.contains(':') => {
                let password = Secret::new(password);
                Ok(Identity::This(Credentials::Basic { user, password }))
            }
            _ => Err("username (without a colon) and password are of use together only".to_owned()),
        }
    }
}

/// Go's way to leave a text out is to leave it empty.
fn some(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn file(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// PEM in base64 that stands here, or else in a file.
fn given(
    (key, data): (&str, Option<String>),
    path: Option<PathBuf>,
    directory: &Path,
) -> Result<Option<Secret>, String> {
    if let Some(data) = some(data) {
        let data: String = data.split_ascii_whitespace().collect();
        let text = STANDARD.decode(data).ok();
        return match text.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(text) => Ok(Some(Secret::new(text))),
            None => Err(format!("{key}: expected PEM in base64")),
        };
    }
    file(path)
        .map(|path| pem(&directory.join(path)))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `kind get kubeconfig` and k3s write it.
    const KIND: &str = r#"
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Q0VSVElGSUNBVEU=
    server: https://127.0.0.1:36001
    tls-server-name: kubernetes
    extensions: [{name: minikube, extension: {provider: x}}]
  name: kind-kind
- cluster: {server: "https://other:6443/"}
  name: other
contexts:
- context: {cluster: kind-kind, user: kind-kind, namespace: x}
  name: kind-kind
- context: {cluster: other, user: USER}
  name: other
current-context: CURRENT
kind: Config
preferences: {}
users:
- name: kind-kind
  user:
    client-certificate-data: Q0hBSU4=
    client-key-data: S0VZ
- {name: token, user: {token: "s3cret"}}
- {name: file, user: {token: "s3cret", tokenFile: folder/token}}
- {name: basic, user: {username: u, password: s3cret}}
- {name: nobody, user: {}}
- {name: empty, user: null}
- {name: half, user: {client-key-data: S0VZ}}
- {name: exec, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [s3cret]}}}
- {name: provider, user: {auth-provider: {name: gcp}}}
- {name: as, user: {token: s3cret, as: admin}}
- {name: damaged, user: {client-certificate-data: "s3cret!", client-key-data: S0VZ}}
- {name: missing, user: {client-certificate: nowhere.pem, client-key-data: S0VZ}}
- {name: name, user: {username: u}}
"#;

    fn read_as(current: &str, user: &str) -> Result<Cluster, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let text = KIND.replace("CURRENT", current).replace("USER", user);
        std::fs::write(&path, text).unwrap();
        let read = read(&path);
        if let Err(error) = &read {
            assert!(error.starts_with(path.to_str().unwrap()), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        assert!(!format!("{read:?}").contains("s3cret"));
        read
    }

    #[test]
    fn the_current_context_is_meant() {
        let cluster = read_as("kind-kind", "").unwrap();
        assert_eq!(cluster.server, "https://127.0.0.1:36001");
        assert_eq!(cluster.tls.server_name.as_deref(), Some("kubernetes"));
        let Pem { ca, identity } = &cluster.tls.pem;
        assert_eq!(ca.as_ref().unwrap().expose(), "CERTIFICATE");
        let (chain, key) = identity.as_ref().unwrap();
        assert_eq!((chain.expose(), key.expose()), ("CHAIN", "KEY"));
        assert_eq!(cluster.identity, Identity::Nobody);
    }

    #[test]
    fn users_show_themselves_in_each_way() {
        let shown = |user| read_as("other", user).unwrap().identity.shown();
        assert_eq!(shown("token").unwrap().unwrap(), "Bearer s3cret");
        assert_eq!(shown("basic").unwrap().unwrap(), "Basic dTpzM2NyZXQ=");
        assert_eq!(shown("nobody").unwrap(), None);
        assert_eq!(shown("empty").unwrap(), None);
        assert_eq!(shown("\"\"").unwrap(), None);
        // The file goes first, and is beside the kubeconfig.
        let error = shown("file").unwrap_err();
        assert!(error.contains("folder/token: No such file"), "{error}");
        let server = read_as("other", "token").unwrap().server;
        assert_eq!(server, "https://other:6443");
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        for (current, user, says) in [
            ("", "x", "no current-context"),
            ("nowhere", "x", "no context \"nowhere\""),
            ("other", "x", "no user \"x\""),
            ("other", "exec", "exec: no other program"),
            ("other", "provider", "auth-provider: no other program"),
            ("other", "as", "nobody is impersonated"),
            ("other", "half", "of use together"),
            ("other", "name", "of use together"),
            ("other", "damaged", "client-certificate-data: expected PEM"),
            ("other", "missing", "nowhere.pem: No such file"),
        ] {
            let error = read_as(current, user).unwrap_err();
            assert!(error.contains(says), "{user}: {error}");
        }
    }
}
