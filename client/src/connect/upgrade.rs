//! The upgrade: asking for the WebSocket, and telling a proxy's answer from any other.

use std::fmt;
use std::time::Duration;

use adit_common::fault::one_line;
use adit_common::headers::INSTANCE;
use adit_common::registration::Instance;
use adit_common::tunnel::SUBPROTOCOL;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::asking;
use super::wire::Wire;
use crate::config::ProxyUrl;
use crate::identity::Identity;

/// What we are called by all who ask.
pub(super) const AGENT: &str = concat!("adit-client/", env!("CARGO_PKG_VERSION"));
/// What is read of an answer that is no upgrade.
const MAX_REFUSAL: usize = 4096;
/// How long: its head has said the most.
const REFUSAL_TIME: Duration = Duration::from_secs(2);

/// Who answered. Displays as what goes before the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    /// Our proxy, or a front of it.
    Proxy,
    /// An HTTP proxy on the way, by its host and port.
    HttpProxy(String),
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy => f.write_str("the proxy answered"),
            Self::HttpProxy(address) => write!(f, "through the HTTP proxy {address}:"),
        }
    }
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unopened {
    /// We are not let in: a secret is missing or wrong, at the proxy or at a front of it.
    #[error("{by} {status}: {reason}")]
    Denied {
        /// Who.
        by: By,
        /// 401, 403 or 407.
        status: StatusCode,
        /// The first line of the answer.
        reason: String,
    },
    /// It has too many already, and may have said when to come back.
    #[error("the proxy answered 429 Too Many Requests: {reason}")]
    Busy {
        /// `Retry-After`.
        after: Option<Duration>,
        /// The first line of the answer.
        reason: String,
    },
    /// Anything else, which may be over soon.
    #[error("{0}")]
    Failed(String),
}

impl Unopened {
    pub(super) fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    fn map_reason(mut self, map: impl FnOnce(&str) -> String) -> Self {
        let (Self::Denied { reason, .. } | Self::Busy { reason, .. } | Self::Failed(reason)) =
            &mut self;
        *reason = map(reason);
        self
    }

    /// A word for metrics.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "denied",
            Self::Busy { .. } => "busy",
            Self::Failed(_) => "failed",
        }
    }
}

/// Asks for the WebSocket (RFC 6455 §4.1), by `deadline`.
pub(crate) async fn upgrade(
    instance: &Instance,
    proxy: &ProxyUrl,
    identity: &Identity,
    wire: Box<dyn Wire>,
    deadline: Instant,
) -> Result<Upgraded, Unopened> {
    let key = generate_key();
    let mut request = upgrade_request(instance, proxy, &key);
    identity.show(request.headers_mut());
    let asked = timeout_at(deadline, ask(request, key, wire)).await;
    let opened =
        asked.unwrap_or_else(|_| Err(Unopened::failed("no answer to the upgrade in time")));
    opened.map_err(|why| why.map_reason(|reason| identity.masked(reason)))
}

/// By hyper and not by tungstenite's own handshake: the proxy speaks first, and what it sent right
/// behind its 101 must not be lost.
async fn ask(
    request: Request<Empty<Bytes>>,
    key: String,
    wire: Box<dyn Wire>,
) -> Result<Upgraded, Unopened> {
    let asked = asking::ask(wire, request, async |mut response| {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Err(refusal(response).await));
        }
        match check_upgrade(response.headers(), &key) {
            Ok(()) => Ok(Ok(hyper::upgrade::on(&mut response).await?)),
            Err(wrong) => Ok(Err(wrong)),
        }
    });
    asked.await.unwrap_or_else(|why| Err(Unopened::Failed(why)))
}

fn upgrade_request(instance: &Instance, proxy: &ProxyUrl, key: &str) -> Request<Empty<Bytes>> {
    let value = |text: &str| HeaderValue::from_str(text).ok();
    let mut request = Request::new(Empty::new());
    // A path of a URI that was parsed, and ours behind it.
    if let Ok(uri) = proxy.path.parse() {
        *request.uri_mut() = uri;
    }
    for (name, value) in [
        (HOST, value(proxy.authority.as_str())),
        (USER_AGENT, value(AGENT)),
        (CONNECTION, value("Upgrade")),
        (UPGRADE, value("websocket")),
        (SEC_WEBSOCKET_VERSION, value("13")),
        (SEC_WEBSOCKET_KEY, value(key)),
        (SEC_WEBSOCKET_PROTOCOL, value(SUBPROTOCOL)),
        (INSTANCE, value(&instance.to_string())),
    ] {
        // All of them printable ASCII by construction.
        if let Some(value) = value {
            request.headers_mut().insert(name, value);
        }
    }
    request
}

/// What the proxy, or a front proxy, answered instead of 101: its status and first line.
async fn refusal(response: Response<Incoming>) -> Unopened {
    let status = response.status();
    let after = retry_after(response.headers());
    let is_text = has_text(response.headers());
    let body = Limited::new(response.into_body(), MAX_REFUSAL).collect();
    let body = timeout(REFUSAL_TIME, body).await;
    let body = body.ok().and_then(Result::ok).map(Collected::to_bytes);
    let text = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
    let line = one_line(text.lines().next().unwrap_or_default());
    let reason = match is_text && !line.is_empty() {
        true => line,
        false => "it says no more".to_owned(),
    };
    match status {
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            let by = By::Proxy;
            Unopened::Denied { by, status, reason }
        }
        StatusCode::TOO_MANY_REQUESTS => Unopened::Busy { after, reason },
        _ => Unopened::Failed(format!("the proxy answered {status}: {reason}")),
    }
}

/// A front proxy's page begins with its document type, which says nothing.
fn has_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"text/plain"))
}

/// Seconds; a date is what no proxy of ours sends.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse();
    seconds.ok().map(Duration::from_secs)
}

fn check_upgrade(headers: &HeaderMap, key: &str) -> Result<(), Unopened> {
    let accept = derive_accept_key(key.as_bytes());
    for (name, right) in [
        (SEC_WEBSOCKET_ACCEPT, accept.as_str()),
        (SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL),
    ] {
        if headers.get(&name).map(HeaderValue::as_bytes) != Some(right.as_bytes()) {
            return Err(Unopened::Failed(format!(
                "what answered does not speak {SUBPROTOCOL} ({name} is wrong): is the URL a proxy's?"
            )));
        }
    }
    Ok(())
}
