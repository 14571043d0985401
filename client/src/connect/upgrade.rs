//! The upgrade: asking for the WebSocket, and telling a proxy's answer from any other.

use adit_common::fault::one_line;
use adit_common::headers::INSTANCE;
use adit_common::tunnel::SUBPROTOCOL;
use bytes::Bytes;
use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::Client;
use crate::config::ProxyUrl;

/// What is read of an answer that is no upgrade.
const MAX_REFUSAL: usize = 4096;

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unopened {
    /// We are not let in: a secret is missing or wrong, at the proxy or at a front of it.
    #[error("the proxy answered {status}: {reason}")]
    Denied {
        /// 401, 403 or 407.
        status: StatusCode,
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
}

/// Asks for the WebSocket (RFC 6455 §4.1). By hyper and not by tungstenite's own handshake: the
/// proxy speaks first, and what it sent right behind its 101 must not be lost.
pub(super) async fn upgrade<S>(
    client: &Client,
    proxy: &ProxyUrl,
    socket: S,
) -> Result<Upgraded, Unopened>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let io = TokioIo::new(socket);
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .handshake(io)
        .await
        .map_err(Unopened::failed)?;
    let key = generate_key();
    let request = upgrade_request(client, proxy, &key);
    let asking = async move {
        let response = sender.send_request(request).await;
        let mut response = response.map_err(Unopened::failed)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(response).await);
        }
        check_upgrade(response.headers(), &key)?;
        hyper::upgrade::on(&mut response)
            .await
            .map_err(Unopened::failed)
    };
    let connection = connection.with_upgrades();
    tokio::pin!(asking, connection);
    tokio::select! {
        biased;
        answer = &mut asking => answer,
        result = &mut connection => match result {
            // The connection has handed itself over, or closed after its answer.
            Ok(()) => asking.await,
            Err(error) => Err(Unopened::failed(error)),
        },
    }
}

fn upgrade_request(client: &Client, proxy: &ProxyUrl, key: &str) -> Request<Empty<Bytes>> {
    let value = |text: &str| HeaderValue::from_str(text).ok();
    let mut request = Request::new(Empty::new());
    // A path of a URI that was parsed, and ours behind it.
    if let Ok(uri) = proxy.path.parse() {
        *request.uri_mut() = uri;
    }
    let agent = concat!("adit-client/", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        (HOST, value(proxy.authority.as_str())),
        (USER_AGENT, value(agent)),
        (CONNECTION, value("Upgrade")),
        (UPGRADE, value("websocket")),
        (SEC_WEBSOCKET_VERSION, value("13")),
        (SEC_WEBSOCKET_KEY, value(key)),
        (SEC_WEBSOCKET_PROTOCOL, value(SUBPROTOCOL)),
        (INSTANCE, value(&client.instance.to_string())),
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
    let body = Limited::new(response.into_body(), MAX_REFUSAL)
        .collect()
        .await;
    let body = body.map(Collected::to_bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(&body).into_owned();
    let reason = one_line(text.lines().next().unwrap_or_default());
    match status {
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Unopened::Denied { status, reason },
        _ => Unopened::Failed(format!("the proxy answered {status}: {reason}")),
    }
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
