//! A request that waits for a scrape.
//!
//! The released clients take two things for "not yet" without an error: a redirect to poll again,
//! nine times in a row, and any number of interim answers that their version of Go allows. Load
//! balancers know redirects better, so they come first.

use std::sync::Arc;
use std::time::Duration;

use adit_common::name::Name;
use adit_common::net::socket::Peer;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::wire::request::Instruction;
use crate::Proxy;
use crate::auth::{Changes, Denied, Grant, Visitor, Way};
use crate::carrier::{Handed, Poll, Writer};
use crate::clock::Clock;

/// Where the clients poll, below the route prefix.
pub(crate) const POLL_PATH: &str = "/poll";

/// Go's client follows so many redirects, and takes the next for an error.
const MOST_REDIRECTS: u32 = 9;
/// How many there were already, in the query of the redirect's target.
const AGAIN: &str = "again=";
/// The body is a name; what is longer is none.
const MAX_BODY: usize = 1024;
/// For the socket's own clock, which must not be the first to end a poll.
const SLACK: Duration = Duration::from_secs(5);

/// Parks a poll until a scrape is handed to it. Dropped when its connection closes: from then on no
/// scrape can be.
pub(crate) async fn poll(
    proxy: Arc<Proxy>,
    visitor: Visitor,
    clock: Clock,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "a poll is a POST");
    }
    if proxy.stop.draining().is_cancelled() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the proxy is stopping");
    }
    // Before the credentials are looked at: a change from then on is noticed.
    let changes = proxy.auth.changes();
    let grant = match proxy.auth.client(&visitor, request.headers()).await {
        Ok(grant) => grant,
        Err(denied) => return denied.answer(Way::Origin),
    };
    let peer = visitor.peer();
    let leg = redirects(request.uri().query());
    let is_kept = keeps_connection(request.version(), request.headers());
    let polled = match timeout(proxy.limits.head_time, polled(request.into_body())).await {
        Ok(Ok(polled)) => polled,
        Ok(Err(why)) => {
            tracing::info!(%peer, reason = %why, "poll refused");
            return text(StatusCode::BAD_REQUEST, &why);
        }
        Err(_) => {
            proxy.metrics.limit("head_time");
            let words = "the name did not come in time (head_time)";
            return text(StatusCode::REQUEST_TIMEOUT, words);
        }
    };
    if let Err(denied) = grant.may_take(std::slice::from_ref(&polled.name)) {
        proxy.auth.note_denied(&visitor, &denied);
        return denied.answer(Way::Origin);
    }
    let (parked, handed) = Parked::new(&proxy, peer, &polled);
    let waiting = Waiting {
        proxy: &proxy,
        clock: &clock,
        leg,
        name: &polled.name,
    };
    let ended = waiting.until_the_end(handed, grant, changes).await;
    drop(parked);
    match ended {
        Ended::Handed(handed) => hand(handed, &clock, is_kept),
        Ended::Superseded => text(StatusCode::REQUEST_TIMEOUT, "another poll took its place"),
        Ended::PollAgain(leg) => poll_again(leg),
        Ended::Denied(denied) => denied.answer(Way::Origin),
        Ended::Stopping => text(StatusCode::SERVICE_UNAVAILABLE, "the proxy is stopping"),
    }
}

/// What a poll is for.
struct Polled {
    /// As the client wrote it, byte for byte: it will compare.
    written: String,
    name: Name,
}

async fn polled(body: Incoming) -> Result<Polled, String> {
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    let written = std::str::from_utf8(&body).map_err(|error| error.to_string())?;
    let written = written.trim().to_owned();
    let name = Name::try_from(written.clone()).map_err(|error| error.to_string())?;
    Ok(Polled { written, name })
}

/// A place in the registry; given back when it is dropped.
struct Parked<'a> {
    proxy: &'a Proxy,
    poll: Arc<Poll>,
}

impl<'a> Parked<'a> {
    fn new(proxy: &'a Proxy, peer: Peer, polled: &Polled) -> (Self, oneshot::Receiver<Handed>) {
        proxy.metrics.polls.inc();
        let (sender, receiver) = oneshot::channel();
        let Polled { written, name } = polled;
        let writer = writer(written.clone());
        let poll = proxy.registry.park(
            name,
            peer.ip(),
            &proxy.rules.current(),
            proxy.limits.scrapes_per_client,
            |poller| {
                let pushes = Arc::clone(&proxy.pushes);
                Poll::new(name.clone(), poller, writer, pushes, sender)
            },
        );
        (Self { proxy, poll }, receiver)
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.proxy.registry.withdraw(&self.poll);
        self.proxy.metrics.polls.dec();
    }
}

struct Waiting<'a> {
    proxy: &'a Proxy,
    clock: &'a Clock,
    /// How many redirects led here.
    leg: u32,
    name: &'a Name,
}

enum Ended {
    Handed(Handed),
    /// The same client polled anew, or too many poll for the name.
    Superseded,
    PollAgain(u32),
    /// What it showed is good no longer.
    Denied(Denied),
    Stopping,
}

impl Waiting<'_> {
    async fn until_the_end(
        &self,
        mut handed: oneshot::Receiver<Handed>,
        mut grant: Grant,
        mut changes: Changes,
    ) -> Ended {
        let interval = self.proxy.config.liveness.ping_interval;
        loop {
            let quiet = Instant::now() + interval;
            self.clock.extend(quiet + SLACK);
            let ended = tokio::select! {
                biased;
                handed = &mut handed => return handed.map_or(Ended::Superseded, Ended::Handed),
                () = self.proxy.stop.draining().cancelled() => match self.leg {
                    MOST_REDIRECTS.. => Ended::Stopping,
                    // Whoever answers there next.
                    leg => Ended::PollAgain(leg + 1),
                },
                () = changes.changed() => match self.renewed(&grant) {
                    Ok(renewed) => {
                        grant = renewed;
                        continue;
                    }
                    Err(denied) => Ended::Denied(denied),
                },
                () = sleep_until(quiet) => match self.leg {
                    MOST_REDIRECTS.. => {
                        self.clock.interim();
                        continue;
                    }
                    leg => Ended::PollAgain(leg + 1),
                },
            };
            // From here on none can be handed over; one may have been.
            handed.close();
            return match handed.try_recv() {
                Ok(handed) => Ended::Handed(handed),
                Err(_) => ended,
            };
        }
    }

    /// What was shown, as of now.
    fn renewed(&self, grant: &Grant) -> Result<Grant, Denied> {
        let grant = self.proxy.auth.renew(grant).ok_or(Denied::Wrong)?;
        grant.may_take(std::slice::from_ref(self.name))?;
        Ok(grant)
    }
}

/// Writes requests to a client that has polled by this name.
fn writer(fqdn: String) -> Writer {
    Box::new(move |head, body, id, timeout| {
        let instruction = Instruction {
            fqdn: &fqdn,
            port: head.uri.port_u16(),
            head,
            body,
            id,
            timeout,
        };
        instruction.write().map_err(|error| error.to_string())
    })
}

fn hand(handed: Handed, clock: &Clock, is_kept: bool) -> Response<Full<Bytes>> {
    let Handed {
        text,
        has_body,
        taken,
    } = handed;
    // A connection that ends with its answer, or with a body that the client does not read to its
    // end, says nothing by closing.
    let closed = match is_kept && !has_body {
        true => clock.watch_close(),
        false => CancellationToken::new(),
    };
    // An error: the scrape is over already. The client then pushes in vain.
    let _ = taken.send(closed);
    let mut response = Response::new(Full::from(text));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// Relative, so that whatever stands in front may have a prefix of its own.
fn poll_again(leg: u32) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::TEMPORARY_REDIRECT, "nothing to scrape yet");
    if let Ok(location) = HeaderValue::from_str(&format!("poll?{AGAIN}{leg}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn redirects(query: Option<&str>) -> u32 {
    let count = query.and_then(|query| query.strip_prefix(AGAIN));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn keeps_connection(version: Version, headers: &HeaderMap) -> bool {
    let closes = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or("");
        value
            .split(',')
            .any(|token| token.trim().eq_ignore_ascii_case("close"))
    };
    version >= Version::HTTP_11 && !headers.get_all(CONNECTION).iter().any(closes)
}

fn text(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{words}\n")));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_counted() {
        for (query, count) in [
            (None, 0),
            (Some(""), 0),
            (Some("again=3"), 3),
            (Some("again=x"), 0),
            (Some("again=-1"), 0),
        ] {
            assert_eq!(redirects(query), count, "{query:?}");
        }
        let response = poll_again(4);
        assert_eq!(response.status(), 307);
        assert_eq!(response.headers()[LOCATION], "poll?again=4");
    }

    #[test]
    fn a_connection_that_will_close_says_nothing_by_it() {
        let headers = |value: &'static str| {
            HeaderMap::from_iter([(CONNECTION, HeaderValue::from_static(value))])
        };
        assert!(keeps_connection(Version::HTTP_11, &HeaderMap::new()));
        assert!(keeps_connection(Version::HTTP_11, &headers("keep-alive")));
        assert!(!keeps_connection(Version::HTTP_11, &headers("x, Close")));
        assert!(!keeps_connection(Version::HTTP_10, &headers("keep-alive")));
    }
}
