//! What can go wrong with TLS, in words an operator can act on.

use std::error::Error;
use std::io;
use std::path::Path;

use rustls::pki_types::pem;
use rustls::{AlertDescription, CertificateError};

use super::verify::is_a_cas_own;

/// TLS could not be set up, or a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read, or does not hold what it should.
    #[error("{option} {path}: {reason}")]
    File {
        /// The option that names the file.
        option: &'static str,
        /// The file's path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// One half of our certificate is missing.
    #[error("{given} is set and {missing} is not: a client certificate needs both")]
    HalfCertificate {
        /// The option that is there.
        given: &'static str,
        /// The option that is not.
        missing: &'static str,
    },
    /// The name to expect is none that a certificate can carry.
    #[error("{0:?} is no name or address that a certificate can carry; set server_name")]
    ServerName(String),
    /// The handshake failed, or did not end in time.
    #[error("tls with {host}: {reason}")]
    Handshake {
        /// The host as dialled.
        host: String,
        /// What went wrong, in plain words.
        reason: String,
        /// A certificate was the reason, the server's or ours.
        certificate: bool,
    },
}

impl TlsError {
    /// Whether a certificate is what went wrong, the server's or ours: trying again without
    /// changing anything will not help.
    pub fn is_certificate(&self) -> bool {
        match self {
            Self::Handshake { certificate, .. } => *certificate,
            Self::File { .. } | Self::HalfCertificate { .. } | Self::ServerName(_) => true,
        }
    }

    pub(super) fn file(option: &'static str, path: &Path, reason: impl Into<String>) -> Self {
        Self::File {
            option,
            path: path.display().to_string(),
            reason: reason.into(),
        }
    }
}

/// Never the file's own text, which may be a key.
pub(crate) fn pem_reason(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(cause) => super::super::in_words(cause),
        pem::Error::NoItemsFound => {
            "nothing of the kind wanted in this file; it must be PEM".to_owned()
        }
        _ => "damaged PEM".to_owned(),
    }
}

/// Why rustls would not have a certificate and key together.
pub(super) fn pair_reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "this key is not the one of cert_file".to_owned(),
        error => error.to_string(),
    }
}

/// What went wrong, in words and as whether a certificate did it.
pub(super) fn handshake_reason(error: &io::Error) -> (String, bool) {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let words = match tls {
        Some(rustls::Error::InvalidCertificate(error)) => return (certificate_reason(error), true),
        Some(rustls::Error::AlertReceived(alert)) => return alert_reason(*alert),
        Some(rustls::Error::InvalidMessage(_)) => "the other side does not speak tls",
        Some(rustls::Error::PeerIncompatible(_)) => NOTHING_IN_COMMON,
        Some(error) => return (error.to_string(), false),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "connection closed during the handshake"
        }
        None => return (super::super::in_words(error), false),
    };
    (words.to_owned(), false)
}

/// What a server says of our certificate, if that is what `error` comes of. In TLS 1.3 it says so only
/// after the handshake, to whoever reads first.
pub fn certificate_refusal(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(alert)) = tls {
            let (reason, certificate) = alert_reason(*alert);
            return certificate.then_some(reason);
        }
        next = error.source();
    }
    None
}

const NOTHING_IN_COMMON: &str = "no version or cipher in common (tls 1.2 or 1.3 is needed)";

fn certificate_reason(error: &CertificateError) -> String {
    use CertificateError as E;
    let words = match error {
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "certificate not valid for this name (give the one it is for as server_name)"
        }
        E::UnknownIssuer => "certificate issuer unknown (give its CA in ca_file)",
        E::Expired | E::ExpiredContext { .. } => "certificate expired",
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "certificate not valid yet (is the clock right?)"
        }
        E::Revoked => "certificate revoked",
        E::BadEncoding => "certificate damaged",
        E::BadSignature => "certificate signature wrong",
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "certificate not made for servers",
        error if is_a_cas_own(error) => {
            "certificate is a CA's own (give it in ca_file, or make one for the server with CA:FALSE)"
        }
        _ => return format!("certificate refused: {error}"),
    };
    words.to_owned()
}

fn alert_reason(alert: AlertDescription) -> (String, bool) {
    use AlertDescription as A;
    match alert {
        A::CertificateRequired | A::NoCertificate => (
            "the server wants a client certificate (give cert_file and key_file)".to_owned(),
            true,
        ),
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        // Of a CA that has the name of the server's, and not its key.
        | A::DecryptError
        | A::AccessDenied => (
            format!("the server refused our certificate: {alert:?}"),
            true,
        ),
        A::HandshakeFailure | A::ProtocolVersion | A::InsufficientSecurity => {
            (NOTHING_IN_COMMON.to_owned(), false)
        }
        A::UnrecognisedName => ("the server knows no such name".to_owned(), false),
        A::NoApplicationProtocol => ("the server does not speak http/1.1".to_owned(), false),
        other => (format!("the server ended the handshake: {other:?}"), false),
    }
}
