//! The upgrade: who dials, in which version, and whether that can work.

use std::sync::Arc;

use adit_common::headers::INSTANCE;
use adit_common::registration::Instance;
use adit_common::tunnel::SUBPROTOCOL;
use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::life::{self, Admitted};
use crate::Proxy;
use crate::auth::{Denied, Visitor, Way};
use crate::clock::Clock;

/// Answers a request for a tunnel; with a 101 the session lives in a task of its own.
pub(crate) async fn accept(
    proxy: &Arc<Proxy>,
    visitor: Visitor,
    clock: Clock,
    mut request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    // Before the credentials are looked at: a change from then on is noticed.
    let changes = proxy.auth.changes();
    let placed = match proxy.auth.client(&visitor, request.headers()).await {
        Ok(grant) => proxy
            .auth
            .place(&visitor, &grant)
            .map(|place| (grant, place)),
        Err(denied) => Err(denied),
    };
    let (grant, place) = match placed {
        Ok(placed) => placed,
        Err(denied) => {
            proxy.metrics.tunnels_refused.inc();
            if let Denied::Sessions(_) = denied {
                proxy.metrics.limit("sessions_per_credential");
            }
            return denied.answer(Way::Origin);
        }
    };
    let checked = if proxy.stop.draining().is_cancelled() {
        Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the proxy is stopping",
        ))
    } else {
        check(request.method(), request.headers())
    };
    match checked {
        Ok(Upgrade { key, instance }) => {
            clock.upgraded();
            let upgrade = hyper::upgrade::on(&mut request);
            let admitted = Admitted {
                visitor,
                grant,
                changes,
                _place: place,
            };
            let living = life::live(Arc::clone(proxy), admitted, instance, upgrade);
            proxy.stop.spawn(living);
            switching(&key)
        }
        Err(refused) => {
            proxy.metrics.tunnels_refused.inc();
            let peer = visitor.peer();
            tracing::info!(%peer, reason = %refused.reason, "tunnel refused");
            refused.answer()
        }
    }
}

/// An upgrade that can be answered.
#[derive(Debug)]
struct Upgrade {
    key: HeaderValue,
    instance: Instance,
}

/// One that cannot, and what would have been right.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    reason: String,
    hint: Option<(HeaderName, HeaderValue)>,
}

impl Refused {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            hint: None,
        }
    }

    fn hint(mut self, name: HeaderName, value: &'static str) -> Self {
        self.hint = Some((name, HeaderValue::from_static(value)));
        self
    }

    fn answer(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(format!("{}\n", self.reason)));
        *response.status_mut() = self.status;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        if let Some((name, value)) = self.hint {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// RFC 6455 §4.2.1, and ours.
fn check(method: &Method, headers: &HeaderMap) -> Result<Upgrade, Refused> {
    use StatusCode as S;
    if method != Method::GET {
        let reason = "a tunnel is asked for by GET";
        return Err(Refused::new(S::METHOD_NOT_ALLOWED, reason).hint(ALLOW, "GET"));
    }
    if !has_token(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade") {
        let reason = "this is where Adit's clients open their WebSocket; the request has no \
                      Upgrade (a front proxy must pass Upgrade and Connection on, in HTTP/1.1)";
        return Err(Refused::new(S::UPGRADE_REQUIRED, reason).hint(UPGRADE, "websocket"));
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .map(HeaderValue::as_bytes)
        != Some(b"13")
    {
        let reason = "only version 13 of WebSocket is spoken";
        let refused = Refused::new(S::UPGRADE_REQUIRED, reason);
        return Err(refused.hint(SEC_WEBSOCKET_VERSION, "13"));
    }
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .filter(|key| key.len() == 24)
        .ok_or_else(|| Refused::new(S::BAD_REQUEST, "Sec-WebSocket-Key is missing or malformed"))?;
    if !has_token(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        let reason = format!("the sub-protocols spoken here are: {SUBPROTOCOL}");
        let refused = Refused::new(S::BAD_REQUEST, reason);
        return Err(refused.hint(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL));
    }
    let instance = headers
        .get(INSTANCE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
        .parse()
        .map_err(|error| Refused::new(S::BAD_REQUEST, format!("Adit-Instance: {error}")))?;
    Ok(Upgrade {
        key: key.clone(),
        instance,
    })
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case(wanted))
}

fn switching(key: &HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let protocol = HeaderValue::from_static(SUBPROTOCOL);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    // Base64 of a digest, always a value.
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "other, adit.h2.v1"),
            (
                "adit-instance",
                "f47ac10b-58cc-4372-a567-0e02b2c3d479;1700000000000",
            ),
        ] {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    #[test]
    fn what_our_client_sends_is_accepted() {
        let upgrade = check(&Method::GET, &request()).unwrap();
        assert_eq!(upgrade.instance.started, 1_700_000_000_000);
        let response = switching(&upgrade.key);
        // The example of RFC 6455 §1.3.
        let accept = &response.headers()[SEC_WEBSOCKET_ACCEPT];
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_cannot_work_is_told_what_would() {
        for (name, value, status, says) in [
            ("upgrade", None, 426, "no Upgrade"),
            ("connection", Some("keep-alive"), 426, "no Upgrade"),
            ("sec-websocket-version", Some("8"), 426, "version 13"),
            ("sec-websocket-version", None, 426, "version 13"),
            ("sec-websocket-key", Some("short"), 400, "Sec-WebSocket-Key"),
            ("sec-websocket-protocol", None, 400, "adit.h2.v1"),
            (
                "sec-websocket-protocol",
                Some("adit.h2.v9"),
                400,
                "adit.h2.v1",
            ),
            ("adit-instance", None, 400, "<uuid>;<start"),
            ("adit-instance", Some("me"), 400, "<uuid>;<start"),
        ] {
            let mut headers = request();
            match value {
                Some(value) => {
                    headers.insert(name, HeaderValue::from_static(value));
                }
                None => {
                    headers.remove(name);
                }
            }
            let refused = check(&Method::GET, &headers).unwrap_err();
            assert_eq!(refused.status.as_u16(), status, "{name} {value:?}");
            assert!(refused.reason.contains(says), "{}", refused.reason);
        }
        let refused = check(&Method::POST, &request()).unwrap_err();
        assert_eq!(refused.answer().headers()[ALLOW], "GET");
    }
}
