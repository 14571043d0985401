//! TLS as a client, over any byte stream.
//!
//! [`ClientTls`] is what a user says; [`ClientTls::build`] reads the files it names, once, and gives
//! a [`Connector`]; [`Connector::connect`] shakes hands. What goes wrong on the way is a [`TlsError`],
//! in words an operator can act on (`error`). Who is taken for the server that was meant is decided
//! in `verify`.

mod error;
mod verify;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use error::pem_reason;
pub use error::{TlsError, certificate_refusal};
use error::{handshake_reason, pair_reason};
pub(crate) use verify::is_a_cas_own;
use verify::{AcceptAnyone, OrListed};

use crate::secret::Secret;

/// What a user may say about TLS towards a server. The default is: the system's roots, the name
/// that was dialled, no certificate of our own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// PEM file with the only roots to trust, instead of the system's; or with the server's own
    /// certificate, when that is self-signed.
    pub ca_file: Option<PathBuf>,
    /// PEM file with our certificate, then its intermediates. Goes with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// PEM file with our certificate's private key.
    pub key_file: Option<PathBuf>,
    /// What goes before the files, for those who have it in another one.
    pub pem: Pem,
    /// The name or IP address the server's certificate must be for, and the SNI sent, instead of
    /// the host that was dialled.
    pub server_name: Option<String>,
    /// Accept any certificate: whoever is on the way can then read and change everything.
    pub insecure_skip_verify: bool,
}

/// PEM that is at hand already, instead of in a file of its own. `Debug` shows none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pem {
    /// Instead of what is in `ca_file`.
    pub ca: Option<Secret>,
    /// Instead of `cert_file` and `key_file`: the chain, then its private key.
    pub identity: Option<(Secret, Secret)>,
}

impl ClientTls {
    /// Reads the files and makes a connector. It blocks on file reads; call it at start-up and on
    /// reload. With `insecure_skip_verify` it logs a warning, every time.
    pub fn build(&self) -> Result<Connector, TlsError> {
        // Never the process default: which one that is depends on what else was linked in.
        let provider = Arc::new(crypto::ring::default_provider());
        let server_name = self.server_name.as_deref().map(parse_name).transpose()?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            // Fails only for a provider without a suite of TLS 1.2 or 1.3; ring has both.
            .expect("ring serves the default TLS versions");
        let builder = if self.insecure_skip_verify {
            tracing::warn!("insecure_skip_verify is set: tls certificates are not checked");
            let verifier = Arc::new(AcceptAnyone::new(&provider));
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        } else {
            let verifier = self.verifier(Arc::clone(&provider))?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        };
        let mut config = match self.own_certificate()? {
            None => builder.with_no_client_auth(),
            Some((path, chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| TlsError::file("key_file", path, pair_reason(&error)))?,
        };
        // An HTTP/2 front would break the tunnel's upgrade, and HTTP/1.1 is all that is spoken here.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Connector {
            tls: TlsConnector::from(Arc::new(config)),
            server_name,
        })
    }

    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let (own, path) = match (&self.pem.ca, &self.ca_file) {
            (Some(pem), _) => (at_hand("ca_file", pem)?, Path::new(AT_HAND)),
            (None, Some(path)) => (certificates("ca_file", path)?, path.as_path()),
            (None, None) => {
                let roots = Arc::new(installed_roots());
                // Fails for an empty store, which `system_roots` never gives, and for lists of revoked
                // certificates, of which there are none.
                return Ok(WebPkiServerVerifier::builder_with_provider(roots, provider)
                    .build()
                    .expect("roots, and nothing revoked"));
            }
        };
        let mut roots = RootCertStore::empty();
        for certificate in &own {
            roots
                .add(certificate.clone())
                .map_err(|error| TlsError::file("ca_file", path, error.to_string()))?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| TlsError::file("ca_file", path, error.to_string()))?;
        Ok(Arc::new(OrListed::new(verifier, own)))
    }

    fn own_certificate(&self) -> Result<Option<OwnCertificate<'_>>, TlsError> {
        if let Some((chain, key)) = &self.pem.identity {
            let chain = at_hand("cert_file", chain)?;
            let path = Path::new(AT_HAND);
            let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
                .map_err(|error| TlsError::file("key_file", path, pem_reason(&error)))?;
            return Ok(Some((path, chain, key)));
        }
        let half = |given, missing| TlsError::HalfCertificate { given, missing };
        match (&self.cert_file, &self.key_file) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(half("cert_file", "key_file")),
            (None, Some(_)) => Err(half("key_file", "cert_file")),
            (Some(cert_file), Some(key_file)) => {
                let chain = certificates("cert_file", cert_file)?;
                let key = PrivateKeyDer::from_pem_file(key_file)
                    .map_err(|error| TlsError::file("key_file", key_file, pem_reason(&error)))?;
                Ok(Some((key_file, chain, key)))
            }
        }
    }
}

fn installed_roots() -> RootCertStore {
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "system root certificates not read");
    }
    system_roots(system.certs)
}

/// The system's roots, or Mozilla's where it has none, as in a container made from scratch.
fn system_roots(found: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Stores have odd old certificates in them; one that does not parse is no reason to stop.
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        tracing::info!("no root certificates on this system: using the built-in ones of Mozilla");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// Why a stream over TLS broke, in plain words: what the server says of our certificate comes after
/// the handshake of TLS 1.3.
pub fn reason(error: &io::Error) -> String {
    handshake_reason(error).0
}

/// The key's path, for the error when the two do not belong together; the chain; the key.
type OwnCertificate<'a> = (
    &'a Path,
    Vec<CertificateDer<'static>>,
    PrivateKeyDer<'static>,
);

/// In the place of a path in errors.
const AT_HAND: &str = "(in place)";

fn certificates(
    option: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    at_least_one(option, path, found)
}

fn at_hand(option: &'static str, pem: &Secret) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem.expose().as_bytes()).collect();
    at_least_one(option, Path::new(AT_HAND), found)
}

fn at_least_one(
    option: &'static str,
    path: &Path,
    found: Result<Vec<CertificateDer<'static>>, pem::Error>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = match found {
        Ok(none) if none.is_empty() => Err(pem::Error::NoItemsFound),
        found => found,
    };
    found.map_err(|error| TlsError::file(option, path, pem_reason(&error)))
}

fn parse_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    // A certificate never has the root's dot, and SNI must not (RFC 6066, 3).
    let bare = name.strip_suffix('.').unwrap_or(name);
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::ServerName(name.to_owned()))
}

/// Ready-made TLS settings towards servers. Clones share everything, session tickets included.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
    server_name: Option<ServerName<'static>>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest may hold a private key.
        f.debug_struct("Connector")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl Connector {
    /// Shakes hands over `stream`, by `deadline`, with a server whose certificate must be for the
    /// configured `server_name`, else for `host`: a name, or an IP address without brackets.
    /// Dropping the future drops `stream`.
    pub async fn connect<S>(
        &self,
        host: &str,
        stream: S,
        deadline: Instant,
    ) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => parse_name(host)?,
        };
        let (reason, certificate) = match timeout_at(deadline, self.tls.connect(name, stream)).await
        {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => handshake_reason(&error),
            Err(_) => ("no answer in time".to_owned(), false),
        };
        Err(TlsError::Handshake {
            host: host.to_owned(),
            reason,
            certificate,
        })
    }
}

#[cfg(test)]
mod tests;
