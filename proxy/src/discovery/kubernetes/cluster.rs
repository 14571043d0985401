//! An API server as we reach it, and who we are there.

use std::path::{Path, PathBuf};

use adit_common::credentials::Credentials;
use adit_common::net::tls::ClientTls;
use adit_common::secret::Secret;
use http::{HeaderValue, Uri};

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
