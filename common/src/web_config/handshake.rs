//! A handshake as a server, and what it comes to.

use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::peer_names::PeerNames;

/// A connection over TLS, and who is at its other end.
#[derive(Debug)]
pub struct Accepted<S> {
    /// The connection.
    pub stream: TlsStream<S>,
    /// Who the verified certificate says it is; nobody where none was verified.
    pub names: PeerNames,
}

/// A handshake that came to nothing, in a few words for the log.
#[derive(Debug, thiserror::Error)]
pub enum Handshake {
    /// It took too long.
    #[error("no tls handshake in time")]
    Timeout,
    /// A certificate was not taken: the client's, or ours.
    #[error("{0}")]
    Certificate(String),
    /// The two do not speak the same.
    #[error("{0}")]
    Protocol(String),
    /// The connection ended.
    #[error("connection closed during the tls handshake")]
    Closed,
}

impl Handshake {
    /// For a metric's label: `timeout`, `certificate`, `protocol`, `closed`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Certificate(_) => "certificate",
            Self::Protocol(_) => "protocol",
            Self::Closed => "closed",
        }
    }
}

/// Shakes hands by `deadline`. Dropping the future drops `stream`.
pub(super) async fn shake<S>(
    config: Arc<ServerConfig>,
    verifies: bool,
    stream: S,
    deadline: Instant,
) -> Result<Accepted<S>, Handshake>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let shaken = timeout_at(deadline, TlsAcceptor::from(config).accept(stream));
    let stream = match shaken.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(reason(&error)),
        Err(_) => return Err(Handshake::Timeout),
    };
    let shown = stream.get_ref().1.peer_certificates();
    let names = match shown.and_then(<[_]>::first).filter(|_| verifies) {
        Some(certificate) => PeerNames::verified(certificate)
            .map_err(|says| Handshake::Certificate(format!("client certificate: {says}")))?,
        None => PeerNames::default(),
    };
    Ok(Accepted { stream, names })
}

fn reason(error: &io::Error) -> Handshake {
    use rustls::Error as E;
    let tls = error.get_ref().and_then(|it| it.downcast_ref::<E>());
    let protocol = |says: &str| Handshake::Protocol(says.to_owned());
    match tls {
        Some(E::InvalidCertificate(error)) => {
            Handshake::Certificate(format!("client certificate {}", certificate_reason(error)))
        }
        Some(E::NoCertificatesPresented) => {
            Handshake::Certificate("no client certificate shown".to_owned())
        }
        Some(E::AlertReceived(alert)) => alert_reason(*alert),
        Some(E::InvalidMessage(_)) => protocol("the other side does not speak tls"),
        Some(E::PeerIncompatible(_)) => protocol("no version, cipher or curve in common"),
        Some(E::NoApplicationProtocol) => protocol("the client does not speak http/1.1"),
        Some(error) => Handshake::Protocol(error.to_string()),
        None => Handshake::Closed,
    }
}

fn certificate_reason(error: &CertificateError) -> String {
    use CertificateError as E;
    match error {
        E::UnknownIssuer => "is of no CA in client_ca_file".to_owned(),
        E::Expired | E::ExpiredContext { .. } => "expired".to_owned(),
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "not valid yet (is the clock right?)".to_owned()
        }
        E::BadEncoding => "damaged".to_owned(),
        E::BadSignature => "shown by somebody who has not its key".to_owned(),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "not made for clients".to_owned(),
        error if is_version1(error) => "is of X.509 version 1, expected 3".to_owned(),
        // Ours: the names, which are not allowed.
        E::Other(other) => format!("refused: {}", other.0),
        error => format!("refused: {error}"),
    }
}

/// Whether webpki refused a certificate for having no extensions: what `openssl x509 -req` makes
/// unless told otherwise. The error is not ours to name.
pub(super) fn is_version1(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if other.to_string().contains("UnsupportedCertVersion"))
}

fn alert_reason(alert: AlertDescription) -> Handshake {
    use AlertDescription as A;
    match alert {
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        | A::AccessDenied => {
            Handshake::Certificate(format!("the client refused our certificate: {alert:?}"))
        }
        A::CloseNotify | A::UserCanceled => Handshake::Closed,
        other => Handshake::Protocol(format!("the client ended the handshake: {other:?}")),
    }
}
