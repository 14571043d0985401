//! What `tls_server_config` means: TLS as a server.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring::{self, cipher_suite as suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::client_certificates::{Asking, ClientAuth};
use super::handshake::{Accepted, Handshake, is_version1, shake};
use super::sources::Sources;
use super::written::Tls;
use crate::net::tls::pem_reason;

/// TLS 1.2's suites by Go's names. Go's list has no say about TLS 1.3, nor has ours.
const SUITES: [(&str, SupportedCipherSuite); 6] = [
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

const SUITES_OF_TLS13: [&str; 3] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

const CURVES: [(&str, &dyn SupportedKxGroup); 3] = [
    ("X25519", kx_group::X25519),
    ("CurveP256", kx_group::SECP256R1),
    ("CurveP384", kx_group::SECP384R1),
];

/// TLS as a server: a certificate, and what is asked of clients. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    auth: ClientAuth,
}

impl ServerTls {
    /// What is said below `tls_server_config`; nothing where that is empty. The error names the key.
    pub(super) fn read(tls: &Tls, sources: &Sources) -> Result<Option<Self>, String> {
        if *tls == Tls::default() {
            return Ok(None);
        }
        Self::build(tls, sources)
            .map(Some)
            .map_err(|says| format!("tls_server_config.{says}"))
    }

    fn build(tls: &Tls, sources: &Sources) -> Result<Self, String> {
        let (chain, key) = certificate(tls, sources)?;
        let auth = tls.client_auth_type.as_deref().unwrap_or_default();
        let auth: ClientAuth = auth
            .parse()
            .map_err(|says| format!("client_auth_type {says}"))?;
        let cas = cas(tls, sources)?;
        let allowed = tls.client_allowed_sans.clone();
        if auth == ClientAuth::NoClientCert && cas.is_some() {
            return Err("client_auth_type is missing, and there is a client CA".into());
        }
        if allowed.is_some() && !auth.requires() {
            return Err(
                "client_allowed_sans: expected client_auth_type RequireAndVerifyClientCert \
                        or RequireAnyClientCert, others let in who shows no certificate"
                    .into(),
            );
        }
        let versions = versions(tls)?;
        let provider = Arc::new(provider(tls)?);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(|_| "cipher_suites: none of them is of TLS 1.2, which max_version asks for")?;
        let builder = if auth == ClientAuth::NoClientCert {
            builder.with_no_client_auth()
        } else {
            let asking = Asking::new(auth, cas, allowed, &provider)?;
            builder.with_client_cert_verifier(Arc::new(asking))
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| pair_reason(&error))?;
        // WebSockets and Prometheus' CONNECT need it, whatever http2 says.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ignore_client_order = tls.prefer_server_cipher_suites.unwrap_or(true);
        // A session that is resumed shows a certificate that was looked at when it was new.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let config = Arc::new(config);
        Ok(Self { config, auth })
    }

    /// Whether nobody comes in without a certificate that a CA of ours vouches for.
    pub fn requires_verified(&self) -> bool {
        self.auth.verifies() && self.auth.requires()
    }

    /// Shakes hands over `stream` by `deadline`. Dropping the future drops `stream`.
    ///
    /// # Errors
    /// Why it came to nothing, as words for a log and a word for a metric.
    pub async fn accept<S>(&self, stream: S, deadline: Instant) -> Result<Accepted<S>, Handshake>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = Arc::clone(&self.config);
        shake(config, self.auth.verifies(), stream, deadline).await
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest holds a private key.
        f.debug_struct("ServerTls")
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

/// What is written in the file itself or in the file it names; `names` are their keys.
fn pem<'a>(
    names: [&str; 2],
    inline: Option<&'a str>,
    file: Option<&str>,
    sources: &'a Sources,
) -> Result<Option<&'a [u8]>, String> {
    let inline = inline.filter(|text| !text.is_empty());
    match (inline, file.filter(|file| !file.is_empty())) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(format!("{} and {} are both set", names[0], names[1])),
        (Some(text), None) => Ok(Some(text.as_bytes())),
        (None, Some(file)) => match sources.named(file) {
            Ok(content) => Ok(Some(content)),
            Err(error) => Err(format!("{} {file:?}: {error}", names[1])),
        },
    }
}

fn certificates(key: &str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| format!("{key}: {}", pem_reason(&error)))?;
    if found.is_empty() {
        return Err(format!("{key}: no certificate in it; it must be PEM"));
    }
    Ok(found)
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn certificate(tls: &Tls, sources: &Sources) -> Result<Pair, String> {
    let file = tls.cert_file.as_deref();
    let chain = pem(["cert", "cert_file"], tls.cert.as_deref(), file, sources)?
        .ok_or("cert_file is missing")?;
    let chain = certificates("cert_file", chain)?;
    let file = tls.key_file.as_deref().filter(|file| !file.is_empty());
    let inline = tls.key.as_ref().map(|key| key.0.expose());
    let key = pem(["key", "key_file"], inline, file, sources)?.ok_or("key_file is missing")?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("key_file: {}", pem_reason(&error)))?;
    sources.warn_if_open(file);
    Ok((chain, key))
}

fn cas(tls: &Tls, sources: &Sources) -> Result<Option<Vec<CertificateDer<'static>>>, String> {
    let file = tls.client_ca_file.as_deref();
    let inline = tls.client_ca.as_deref();
    let text = pem(["client_ca", "client_ca_file"], inline, file, sources)?;
    text.map(|text| certificates("client_ca_file", text))
        .transpose()
}

fn versions(tls: &Tls) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let version = |key: &str, text: &Option<String>, otherwise: u8| match text.as_deref() {
        None => Ok(otherwise),
        Some("TLS12") => Ok(12),
        Some("TLS13") => Ok(13),
        Some(old @ ("TLS10" | "TLS11")) => {
            Err(format!("{key}: there is no {old}, expected TLS12 or TLS13"))
        }
        Some(other) => Err(format!("{key} {other:?}: expected TLS12 or TLS13")),
    };
    let least = version("min_version", &tls.min_version, 12)?;
    let most = version("max_version", &tls.max_version, 13)?;
    let versions = [(12, &TLS12), (13, &TLS13)];
    let versions = versions
        .into_iter()
        .filter(|(it, _)| (least..=most).contains(it));
    let versions: Vec<_> = versions.map(|(_, version)| version).collect();
    if versions.is_empty() {
        return Err("max_version is below min_version".into());
    }
    Ok(versions)
}

fn provider(tls: &Tls) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    if let Some(wanted) = tls.cipher_suites.as_deref().filter(|list| !list.is_empty()) {
        let of_tls13 = |suite: &SupportedCipherSuite| suite.tls13().is_some();
        provider.cipher_suites.retain(of_tls13);
        for name in wanted {
            if let Some((_, suite)) = SUITES.iter().find(|(known, _)| known == name) {
                provider.cipher_suites.push(*suite);
            } else if !SUITES_OF_TLS13.contains(&name.as_str()) {
                let known = SUITES.map(|(name, _)| name).join(", ");
                return Err(format!(
                    "cipher_suites {name:?}: there is no such suite, expected {known}; \
                     those of TLS 1.3 are always there"
                ));
            }
        }
    }
    if let Some(wanted) = tls
        .curve_preferences
        .as_deref()
        .filter(|list| !list.is_empty())
    {
        provider.kx_groups.clear();
        for name in wanted {
            let Some((_, curve)) = CURVES.iter().find(|(known, _)| known == name) else {
                let known = CURVES.map(|(name, _)| name).join(", ");
                return Err(format!(
                    "curve_preferences {name:?}: there is no such curve, expected {known}"
                ));
            };
            provider.kx_groups.push(*curve);
        }
    }
    Ok(provider)
}

/// Why rustls would not have a certificate and key together.
fn pair_reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "key_file: this key is not the one of cert_file",
        rustls::Error::InvalidCertificate(error) if is_version1(error) => {
            "cert_file: a certificate of X.509 version 1, expected 3 (`openssl x509 -req` makes it \
             with -extfile, `openssl req -x509` always)"
        }
        rustls::Error::InvalidCertificate(_) => "cert_file: this certificate cannot be read",
        _ => "key_file: expected a key of RSA (2048 bits and more), P-256, P-384 or Ed25519",
    }
    .to_owned()
}
