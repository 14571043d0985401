//! A tunnel to every proxy: dialled, upgraded, served, and dialled again when it is lost.

use std::sync::Arc;
use std::time::Duration;

use adit_common::backoff::Backoff;
use adit_common::fault::one_line;
use adit_common::headers::INSTANCE;
use adit_common::net::dial::dial;
use adit_common::net::tls::Connector;
use adit_common::tunnel::SUBPROTOCOL;
use adit_common::tunnel::goodbye::{End, Ending, Farewell};
use adit_common::tunnel::stream::TunnelStream;
use adit_common::tunnel::traffic::Traffic;
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
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tracing::Instrument;

use crate::config::{Config, ProxyUrl};
use crate::session;
use crate::{Client, RunError};

/// For addresses, TLS and upgrade together: what a mobile link takes on a bad day.
const DIAL_TIME: Duration = Duration::from_secs(20);
/// Between the first dials of two proxies.
const STAGGER: Duration = Duration::from_millis(100);
/// What is read of an answer that is no upgrade.
const MAX_REFUSAL: usize = 4096;
/// Before dialling again a proxy that told us not to: another instance has our name, or what we
/// offer is not understood. Neither changes soon.
const REFUSED_WAIT: Duration = Duration::from_secs(300);

/// What dialling needs besides the URL.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    connector: Option<Connector>,
}

impl Dialer {
    /// Reads certificates when a proxy is spoken to in TLS.
    pub(crate) fn new(config: &Config) -> Result<Self, RunError> {
        let connector = config
            .proxies
            .iter()
            .any(|proxy| proxy.tls)
            .then(|| config.tls.build())
            .transpose()
            .map_err(|error| RunError::Tls {
                what: "tls".into(),
                error,
            })?;
        Ok(Self { connector })
    }
}

/// Keeps a tunnel to every proxy until we drain.
pub(crate) fn keep(client: &Arc<Client>, dialer: &Dialer) {
    for (index, proxy) in client.config.proxies.iter().enumerate() {
        let span = tracing::info_span!("proxy", %proxy);
        let first = STAGGER * u32::try_from(index).unwrap_or(u32::MAX).min(100);
        let keeping = keep_one(Arc::clone(client), dialer.clone(), proxy.clone(), first);
        client.stop.spawn(keeping.instrument(span));
    }
}

async fn keep_one(client: Arc<Client>, dialer: Dialer, proxy: ProxyUrl, first: Duration) {
    let label = proxy.to_string();
    let draining = client.stop.draining().clone();
    let mut backoff = Backoff::default();
    let mut wait = first;
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            () = draining.cancelled() => return,
        }
        let opened = tokio::select! {
            opened = open(&client, &dialer, &proxy) => opened,
            () = draining.cancelled() => return,
        };
        let result = if opened.is_ok() { "ok" } else { "failed" };
        let dials = &client.metrics.dials;
        dials.with_label_values(&[&*label, result]).inc();
        match opened {
            Ok((stream, ending)) => {
                let established = Instant::now();
                let end = session::serve(&client, &label, stream, ending).await;
                let reason = end.as_str();
                let ended = &client.metrics.tunnels_ended;
                ended.with_label_values(&[&*label, reason]).inc();
                backoff.ended(established);
                wait = wait_after(&end, &mut backoff);
                if draining.is_cancelled() {
                    return;
                }
                let again = round(wait);
                tracing::warn!(reason = %end, retry_in = ?again, "tunnel ended");
            }
            Err(why) => {
                wait = backoff.next_wait();
                let again = round(wait);
                tracing::warn!(err = %why, retry_in = ?again, "no tunnel");
            }
        }
    }
}

fn wait_after(end: &End, backoff: &mut Backoff) -> Duration {
    match end {
        End::Peer(goodbye) if goodbye.farewell.is_final() => {
            REFUSED_WAIT.mul_f64(0.8 + 0.4 * fastrand::f64())
        }
        // Told to come back: at once, but not all in the same instant.
        End::Peer(goodbye) if goodbye.farewell == Farewell::GoingAway => {
            Duration::from_millis(fastrand::u64(0..1000))
        }
        _ => backoff.next_wait(),
    }
}

fn round(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

/// Dials, shakes hands, upgrades. Dropping the future closes everything.
async fn open(
    client: &Client,
    dialer: &Dialer,
    proxy: &ProxyUrl,
) -> Result<(TunnelStream<TokioIo<Upgraded>>, Ending), String> {
    let deadline = Instant::now() + DIAL_TIME;
    let name = proxy.address.name.as_str();
    let (tcp, address) = dial(name, proxy.address.port, None, deadline)
        .await
        .map_err(|error| error.to_string())?;
    tracing::debug!(%address, "connected");
    let upgrading = async {
        match &dialer.connector {
            Some(connector) if proxy.tls => {
                let tls = connector.connect(name, tcp, deadline).await;
                upgrade(client, proxy, tls.map_err(|error| error.to_string())?).await
            }
            _ => upgrade(client, proxy, tcp).await,
        }
    };
    let upgraded = match timeout_at(deadline, upgrading).await {
        Ok(upgraded) => upgraded?,
        Err(_) => return Err(format!("no answer to the upgrade within {DIAL_TIME:?}")),
    };
    let ending = Ending::default();
    let stream = TunnelStream::new(
        TokioIo::new(upgraded),
        Role::Client,
        client.config.liveness,
        Arc::new(Traffic::default()),
        ending.clone(),
    )
    .await;
    Ok((stream, ending))
}

/// Asks for the WebSocket (RFC 6455 §4.1). By hyper and not by tungstenite's own handshake: the
/// proxy speaks first, and what it sent right behind its 101 must not be lost.
async fn upgrade<S>(client: &Client, proxy: &ProxyUrl, socket: S) -> Result<Upgraded, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let io = TokioIo::new(socket);
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .handshake(io)
        .await
        .map_err(|error| error.to_string())?;
    let key = generate_key();
    let request = upgrade_request(client, proxy, &key);
    let asking = async move {
        let response = sender.send_request(request).await;
        let mut response = response.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(response).await);
        }
        check_upgrade(response.headers(), &key)?;
        hyper::upgrade::on(&mut response)
            .await
            .map_err(|error| error.to_string())
    };
    let connection = connection.with_upgrades();
    tokio::pin!(asking, connection);
    tokio::select! {
        biased;
        answer = &mut asking => answer,
        result = &mut connection => match result {
            // The connection has handed itself over, or closed after its answer.
            Ok(()) => asking.await,
            Err(error) => Err(error.to_string()),
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
async fn refusal(response: Response<Incoming>) -> String {
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_REFUSAL)
        .collect()
        .await;
    let body = body.map(Collected::to_bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(&body).into_owned();
    let line = one_line(text.lines().next().unwrap_or_default());
    format!("the proxy answered {status}: {line}")
}

fn check_upgrade(headers: &HeaderMap, key: &str) -> Result<(), String> {
    let accept = derive_accept_key(key.as_bytes());
    for (name, right) in [
        (SEC_WEBSOCKET_ACCEPT, accept.as_str()),
        (SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL),
    ] {
        if headers.get(&name).map(HeaderValue::as_bytes) != Some(right.as_bytes()) {
            return Err(format!(
                "what answered does not speak {SUBPROTOCOL} ({name} is wrong): is the URL a proxy's?"
            ));
        }
    }
    Ok(())
}
