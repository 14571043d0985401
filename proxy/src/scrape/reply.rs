//! What went wrong, as a scraper is told: the only place where statuses are chosen.
//!
//! Each reason is said three times: in the reason phrase, which Prometheus shows verbatim, in
//! `Proxy-Status` (RFC 9209), and in the body.

use std::time::Duration;

use adit_common::fault::{Fault, Report, one_line};
use adit_common::name::Name;
use adit_common::net::socket::Peer;
use adit_common::target::Target;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::uri::Authority;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::ext::ReasonPhrase;

use super::course::Event;
use crate::config::limits::size;

/// A scrape that gets no answer of its target, by who is at fault.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The scraper: not a proxy request we understand.
    BadRequest(String),
    /// The scraper, or a front proxy: we are asked for our own page under this name of another's.
    Misdirected(String),
    /// The scraper: it may not scrape that.
    Forbidden(String),
    /// The client: nobody has this name.
    Unknown(Name),
    /// The client: it had this name and left so long ago, and waiting for it was in vain.
    Away(Name, Duration),
    /// The client: what carries its scrapes cannot carry this one.
    Unable(Target, String),
    /// The client: so many scrapes are under way at it.
    ClientBusy(Name, usize),
    /// The client: so many CONNECT streams are open at it.
    ConnectsBusy(Name, usize),
    /// The client: so many scrapes wait for its return.
    WaitingFor(Name, usize),
    /// The client: its tunnel ended before it answered.
    CarrierLost(Target, String),
    /// The target, or the client's rules about it, as the client reports.
    Reported(Report),
    /// The target: so much time was given.
    Deadline(Target, Duration),
    /// Us: so many scrapes are under way in all.
    Busy(usize),
    /// Us: so many scrapes wait for some client.
    Waiting(usize),
    /// The scraper, or whoever it is: so many connections are open from there.
    Crowded(Peer, usize),
    /// Whoever it is: the head of their request has more than so many bytes, or too many fields.
    HeadTooLarge(usize),
    /// Whoever it is: their request's target has more bytes than hyper reads.
    TargetTooLong,
    /// Whoever it is: the head of their request was not there within that time.
    HeadTooSlow(Duration),
    /// Us: stopping.
    Draining,
}

/// Seconds a scraper may wait before it tries again; most clients are back by then.
const RETRY_SECONDS: u64 = 5;
/// What hyper reads of a request: fields, and bytes of its target.
const MAX_FIELDS: usize = 100;
const MAX_TARGET: usize = 65_534;
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

impl Refusal {
    /// Status, RFC 9209 error type, and words.
    fn meaning(&self) -> (StatusCode, &'static str, String) {
        use StatusCode as S;
        match self {
            Self::BadRequest(why) => (S::BAD_REQUEST, "http_request_error", why.clone()),
            Self::Misdirected(host) => {
                let words = format!(
                    "{host} is not us: what stands before us cannot be a proxy_url, scrape by path \
                     (if it is us, --web.external-url says so)"
                );
                (S::MISDIRECTED_REQUEST, "http_request_error", words)
            }
            Self::Forbidden(why) => (S::FORBIDDEN, "http_request_denied", why.clone()),
            Self::Unknown(name) => {
                let words = format!("no client for {name}");
                (S::BAD_GATEWAY, "destination_not_found", words)
            }
            Self::Away(name, ago) => {
                let ago = ago.as_secs();
                let words = format!("the client for {name} is away (last seen {ago}s ago)");
                (S::SERVICE_UNAVAILABLE, "destination_unavailable", words)
            }
            Self::Unable(target, why) => {
                let words = format!("{target} cannot be asked that: {why}");
                (S::NOT_IMPLEMENTED, "http_protocol_error", words)
            }
            Self::ClientBusy(..)
            | Self::ConnectsBusy(..)
            | Self::WaitingFor(..)
            | Self::Busy(_)
            | Self::Waiting(_)
            | Self::Crowded(..) => (
                S::TOO_MANY_REQUESTS,
                "connection_limit_reached",
                self.crowd(),
            ),
            Self::HeadTooLarge(limit) => {
                let words = format!(
                    "the request's head is larger than {} (request_head), or has more than \
                     {MAX_FIELDS} fields",
                    size(*limit)
                );
                let status = S::REQUEST_HEADER_FIELDS_TOO_LARGE;
                (status, "http_request_error", words)
            }
            Self::TargetTooLong => {
                let words = format!("the request target is longer than {MAX_TARGET} bytes");
                (S::URI_TOO_LONG, "http_request_error", words)
            }
            Self::HeadTooSlow(limit) => {
                let words = format!("the request's head took longer than {limit:?} (head_time)");
                (S::REQUEST_TIMEOUT, "http_request_error", words)
            }
            Self::CarrierLost(target, why) => {
                let words = format!("the client for {target} went away: {why}");
                (S::BAD_GATEWAY, "connection_terminated", words)
            }
            Self::Reported(report) => {
                let (status, error) = of_fault(report.fault);
                (status, error, report.reason.clone())
            }
            Self::Deadline(target, granted) => {
                let seconds = granted.as_secs_f64();
                let words = format!("{target} gave no answer within {seconds:.1}s");
                (S::GATEWAY_TIMEOUT, "http_response_timeout", words)
            }
            Self::Draining => {
                let words = "the proxy is stopping".to_owned();
                (S::SERVICE_UNAVAILABLE, "proxy_internal_response", words)
            }
        }
    }

    /// Of what there is as much as may be, and which limit says so.
    fn crowd(&self) -> String {
        let key = self.limit().unwrap_or_default();
        match self {
            Self::ClientBusy(name, limit) => {
                format!("{limit} scrapes are under way at the client for {name} ({key})")
            }
            Self::ConnectsBusy(name, limit) => {
                format!("{limit} CONNECTs are open at the client for {name} ({key})")
            }
            Self::WaitingFor(name, limit) => format!("{limit} scrapes wait for {name} ({key})"),
            Self::Busy(limit) => format!("{limit} scrapes are under way ({key})"),
            Self::Waiting(limit) => format!("{limit} scrapes wait for clients ({key})"),
            Self::Crowded(peer, limit) => {
                let from = peer.ip().map_or("unix".into(), |ip| ip.to_string());
                format!("{limit} connections are open from {from} ({key})")
            }
            _ => String::new(),
        }
    }

    /// The limit that was reached, by its key, if one was.
    pub(super) fn limit(&self) -> Option<&'static str> {
        match self {
            Self::ClientBusy(..) => Some("scrapes_per_client"),
            Self::ConnectsBusy(..) => Some("connects_per_client"),
            Self::WaitingFor(..) => Some("waiting_per_name"),
            Self::Busy(_) => Some("scrapes"),
            Self::Waiting(_) => Some("waiting"),
            Self::Crowded(..) => Some("connections_per_address"),
            _ => None,
        }
    }

    /// What it means for the course of the scrape.
    pub(super) fn event(&self) -> Event {
        match self {
            Self::Reported(report) if report.fault == Fault::Deadline => Event::Expired,
            Self::Reported(_) => Event::Fault,
            Self::CarrierLost(..) => Event::Lost,
            Self::Deadline(..) => Event::Expired,
            Self::BadRequest(_)
            | Self::Misdirected(_)
            | Self::Forbidden(_)
            | Self::Unknown(_)
            | Self::Away(..)
            | Self::Unable(..)
            | Self::ClientBusy(..)
            | Self::ConnectsBusy(..)
            | Self::WaitingFor(..)
            | Self::Busy(_)
            | Self::Waiting(_)
            | Self::Crowded(..)
            | Self::HeadTooLarge(_)
            | Self::TargetTooLong
            | Self::HeadTooSlow(_)
            | Self::Draining => Event::Refused,
        }
    }

    /// The answer a scraper gets.
    pub(crate) fn answer(&self) -> Response<Full<Bytes>> {
        self.text().map(Full::from)
    }

    /// The same, with its body as it is.
    pub(crate) fn text(&self) -> Response<String> {
        let (status, error, words) = self.meaning();
        let words = one_line(&words);
        let mut response = Response::new(format!("{words}\n"));
        *response.status_mut() = status;
        let quoted = words.replace('\\', "\\\\").replace('"', "\\\"");
        let proxy_status = format!("adit-proxy; error={error}; details=\"{quoted}\"");
        let headers = response.headers_mut();
        // `one_line` leaves printable ASCII, which is always a value.
        if let Ok(value) = HeaderValue::from_str(&proxy_status) {
            headers.insert(PROXY_STATUS, value);
        }
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(CONTENT_TYPE, text);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
        }
        if let Ok(phrase) = ReasonPhrase::try_from(words) {
            response.extensions_mut().insert(phrase);
        }
        response
    }
}

fn of_fault(fault: Fault) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match fault {
        Fault::NotOffered => (S::FORBIDDEN, "http_request_denied"),
        Fault::Forbidden => (S::FORBIDDEN, "destination_ip_prohibited"),
        Fault::Busy => (S::TOO_MANY_REQUESTS, "connection_limit_reached"),
        Fault::Unresolved => (S::BAD_GATEWAY, "dns_error"),
        Fault::Refused => (S::BAD_GATEWAY, "connection_refused"),
        Fault::Unreachable => (S::BAD_GATEWAY, "destination_ip_unroutable"),
        Fault::Tls => (S::BAD_GATEWAY, "tls_protocol_error"),
        Fault::Certificate => (S::BAD_GATEWAY, "tls_certificate_error"),
        Fault::BrokeOff => (S::BAD_GATEWAY, "http_response_incomplete"),
        Fault::Malformed => (S::BAD_GATEWAY, "http_protocol_error"),
        Fault::TooLarge => (S::BAD_GATEWAY, "http_response_header_section_size"),
        Fault::Oversized => (S::BAD_GATEWAY, "http_response_body_size"),
        Fault::Deadline => (S::GATEWAY_TIMEOUT, "http_response_timeout"),
        Fault::Draining => (S::SERVICE_UNAVAILABLE, "destination_unavailable"),
    }
}

/// A request that is no proxy request we understand.
pub(crate) fn bad_request(why: &str) -> Response<Full<Bytes>> {
    Refusal::BadRequest(why.to_owned()).answer()
}

/// A request for a page of ours that was meant for `host`.
pub(crate) fn misdirected(host: &Authority) -> Response<Full<Bytes>> {
    // Without what may stand before an @.
    let (name, port) = (host.host(), host.port_u16());
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Refusal::Misdirected(format!("{name}{port}")).answer()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn target() -> Target {
        "pi:9100".parse().unwrap()
    }

    #[tokio::test]
    async fn every_reason_is_said_three_times() {
        let pi = target().name;
        let report = |fault| Refusal::Reported(Report::new(fault, format!("pi:9100: {fault}")));
        for (refusal, status, says) in [
            (
                Refusal::BadRequest("what \"is\" this".into()),
                400,
                "what \"is\" this",
            ),
            (
                Refusal::Misdirected("pi:9100".into()),
                421,
                "pi:9100 is not us",
            ),
            (Refusal::Forbidden("x may not".into()), 403, "x may not"),
            (Refusal::Unknown(pi.clone()), 502, "no client for pi"),
            (
                Refusal::Away(pi.clone(), Duration::from_secs(42)),
                503,
                "last seen 42s ago",
            ),
            (
                Refusal::Unable(target(), "no CONNECT".into()),
                501,
                "pi:9100 cannot be asked that: no CONNECT",
            ),
            (
                Refusal::ClientBusy(pi.clone(), 128),
                429,
                "128 scrapes are under way at the client for pi (scrapes_per_client)",
            ),
            (
                Refusal::ConnectsBusy(pi.clone(), 120),
                429,
                "120 CONNECTs are open at the client for pi (connects_per_client)",
            ),
            (
                Refusal::WaitingFor(pi, 128),
                429,
                "128 scrapes wait for pi (waiting_per_name)",
            ),
            (
                Refusal::Busy(4096),
                429,
                "4096 scrapes are under way (scrapes)",
            ),
            (
                Refusal::Waiting(2048),
                429,
                "2048 scrapes wait for clients (waiting)",
            ),
            (
                Refusal::Crowded(
                    "192.0.2.7:9"
                        .parse::<std::net::SocketAddr>()
                        .unwrap()
                        .into(),
                    4096,
                ),
                429,
                "4096 connections are open from 192.0.2.7 (connections_per_address)",
            ),
            (
                Refusal::HeadTooLarge(128 << 10),
                431,
                "larger than 128KiB (request_head), or has more than 100 fields",
            ),
            (Refusal::TargetTooLong, 414, "longer than 65534 bytes"),
            (
                Refusal::HeadTooSlow(Duration::from_secs(10)),
                408,
                "longer than 10s (head_time)",
            ),
            (
                Refusal::CarrierLost(target(), "lost".into()),
                502,
                "went away: lost",
            ),
            (
                Refusal::Deadline(target(), Duration::from_millis(2800)),
                504,
                "pi:9100 gave no answer within 2.8s",
            ),
            (Refusal::Draining, 503, "stopping"),
            (report(Fault::NotOffered), 403, "pi:9100"),
            (report(Fault::Forbidden), 403, "pi:9100"),
            (report(Fault::Busy), 429, "pi:9100"),
            (report(Fault::Unresolved), 502, "pi:9100"),
            (report(Fault::Refused), 502, "pi:9100"),
            (report(Fault::Unreachable), 502, "pi:9100"),
            (report(Fault::Tls), 502, "pi:9100"),
            (report(Fault::Certificate), 502, "pi:9100"),
            (report(Fault::BrokeOff), 502, "pi:9100"),
            (report(Fault::Malformed), 502, "pi:9100"),
            (report(Fault::TooLarge), 502, "pi:9100"),
            (report(Fault::Oversized), 502, "pi:9100"),
            (report(Fault::Deadline), 504, "pi:9100"),
            (report(Fault::Draining), 503, "pi:9100"),
        ] {
            let response = refusal.answer();
            assert_eq!(response.status().as_u16(), status, "{refusal:?}");
            let phrase = response.extensions().get::<ReasonPhrase>().unwrap();
            let phrase = String::from_utf8(phrase.as_bytes().to_vec()).unwrap();
            assert!(phrase.contains(says), "{phrase}");
            let header = response.headers()[PROXY_STATUS]
                .to_str()
                .unwrap()
                .to_owned();
            assert!(header.starts_with("adit-proxy; error="), "{header}");
            assert!(header.contains(&says.replace('"', "\\\"")), "{header}");
            let retry = response.headers().contains_key(RETRY_AFTER);
            assert_eq!(retry, status == 503);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, format!("{phrase}\n"));
        }
    }

    #[test]
    fn no_peer_ends_our_line() {
        let report = Report::new(Fault::Refused, "x\r\nSet-Cookie: a=b");
        let response = Refusal::Reported(report).answer();
        let phrase = response.extensions().get::<ReasonPhrase>().unwrap();
        assert_eq!(phrase.as_bytes(), b"x??Set-Cookie: a=b");
    }
}
