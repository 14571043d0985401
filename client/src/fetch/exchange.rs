//! One request, one answer's head.

use std::sync::Arc;
use std::time::Duration;

use adit_common::deadline::Deadline;
use adit_common::fault::{Fault, Report};
use adit_common::headers::strip_hop_by_hop;
use adit_common::net::tls::certificate_refusal;
use adit_common::target::{Scheme, Target};
use adit_common::tunnel::coalesce::Coalesced;
use adit_common::tunnel::settings::MAX_RESPONSE_HEAD;
use futures_util::FutureExt as _;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, timeout, timeout_at};

use super::body::{Answer, Fetched, Return};
use super::flight::InFlight;
use super::request::{Head, scheme};
use crate::Client;
use crate::policy::Asked;
use crate::upstream::{Connection, Turn, Upstream, UpstreamBody};

/// A connection that takes no request any more is over within this, but for one whose last bytes
/// nobody takes.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Asks the target and waits for the head of its answer; the body is streamed behind it.
pub(super) async fn exchange(
    client: &Arc<Client>,
    request: Request<Incoming>,
    deadline: Deadline,
    flight: InFlight,
) -> Result<Response<Answer>, Report> {
    let asked = request.uri().scheme_str().and_then(Scheme::parse);
    let target = super::target(&request, asked)?;
    let what = Asked::Request(request.method(), request.uri().path());
    let upstream = client.settings().offer.admit(&target, what)?;
    let scheme = scheme(&upstream, asked);
    let deadline = super::capped(deadline, &upstream);
    let (parts, body) = request.into_parts();
    let head = Head::new(parts, !body.is_end_stream(), &upstream).ok_or_else(|| {
        Report::new(
            Fault::NotOffered,
            format!("{target}: the request has no usable path"),
        )
    })?;
    let waiting = &client.metrics.scrapes_waiting;
    let turn = upstream.turn(&target, deadline.instant(), waiting).await?;
    let body = match body.is_end_stream() {
        true => Either::Left(Empty::new()),
        false => Either::Right(body),
    };
    let asking = Asking {
        client,
        upstream: &upstream,
        scheme,
        target: &target,
        deadline: deadline.instant(),
        turn,
    };
    let (mut response, connection) =
        match timeout_at(deadline.instant(), asking.ask(head, body)).await {
            Ok(answered) => answered?,
            Err(_) => {
                let seconds = deadline.granted().as_secs_f64();
                let words = format!("{target} gave no answer within {seconds:.1}s");
                return Err(Report::new(Fault::Deadline, words));
            }
        };
    check(&target, &upstream, &response)?;
    let code = response.status();
    client
        .metrics
        .scrapes
        .with_label_values(&[code.as_str()])
        .inc();
    strip_hop_by_hop(response.headers_mut());
    let way_back = Return {
        upstream,
        scheme,
        connection,
    };
    Ok(response.map(|body| {
        let fetched = Fetched::new(body, deadline.instant(), way_back, flight);
        Either::Right(Coalesced::new(fetched))
    }))
}

struct Asking<'a> {
    client: &'a Client,
    upstream: &'a Upstream,
    scheme: Scheme,
    target: &'a Target,
    deadline: Instant,
    /// Goes along with every connection it is asked by.
    turn: Turn,
}

impl Asking<'_> {
    /// By a kept connection if there is one. When that turns out to be closed the request goes out
    /// anew, once and by a new one, unless the target may have acted on it: as Go's transport does.
    async fn ask(
        &self,
        head: Head,
        body: UpstreamBody,
    ) -> Result<(Response<Incoming>, Connection), Report> {
        let Some(kept) = self.upstream.kept(self.scheme) else {
            return self.ask_anew(head, body).await;
        };
        let has_body = matches!(body, Either::Right(_));
        let spare = (!has_body && head.is_repeatable()).then(|| head.clone());
        match self.send(kept, head.with(body)).await {
            Ok(answered) => {
                self.client.metrics.upstream_reuses.inc();
                Ok(answered)
            }
            Err(Failed::Unsent(request, _)) => {
                let (parts, body) = request.into_parts();
                let head = Head {
                    method: parts.method,
                    uri: parts.uri,
                    headers: parts.headers,
                };
                self.ask_anew(head, body).await
            }
            Err(Failed::Sent(error)) => match spare {
                Some(head) if !error.is_parse() => {
                    self.ask_anew(head, Either::Left(Empty::new())).await
                }
                _ => Err(failed(self.target, &error)),
            },
            Err(Failed::Gone) => Err(closed(self.target)),
        }
    }

    async fn ask_anew(
        &self,
        head: Head,
        body: UpstreamBody,
    ) -> Result<(Response<Incoming>, Connection), Report> {
        self.client.metrics.upstream_dials.inc();
        let opening = self.upstream.open(self.scheme, self.target, self.deadline);
        let connection = opening.await?;
        match self.send(connection, head.with(body)).await {
            Ok(answered) => Ok(answered),
            Err(Failed::Sent(error)) => Err(failed(self.target, &error)),
            Err(Failed::Unsent(_, why)) => {
                Err(uncertified(self.target, &why).unwrap_or_else(|| closed(self.target)))
            }
            Err(Failed::Gone) => Err(closed(self.target)),
        }
    }

    async fn send(
        &self,
        mut connection: Connection,
        request: Request<UpstreamBody>,
    ) -> Result<(Response<Incoming>, Connection), Failed> {
        connection.lease_for(self.deadline, self.turn.clone());
        // A connection whose answer has just ended needs its driver's next turn to be ready.
        if let Err(closed) = connection.sender.ready().await {
            let why = last_words(&mut connection).await.unwrap_or(closed);
            return Err(Failed::Unsent(Box::new(request), why));
        }
        let asking = connection.sender.try_send_request(request);
        tokio::pin!(asking);
        let (answered, why) = tokio::select! {
            biased;
            answered = &mut asking => (Some(answered), None),
            why = connection.ended() => ((&mut asking).now_or_never(), why),
        };
        match answered {
            Some(Ok(response)) => Ok((response, connection)),
            Some(Err(error)) => {
                let why = match (why, error.message()) {
                    (None, Some(_unsent)) => last_words(&mut connection).await,
                    (why, _) => why,
                };
                Err(Failed::of(error, why))
            }
            // A request that is handed over while the connection ends may stay in hyper's queue, and be
            // waited for until the deadline: the queue goes with its last holder (hyper#4122).
            None => {
                drop(connection);
                Err(match asking.await {
                    Err(error) => Failed::of(error, why),
                    Ok(_) => Failed::Gone,
                })
            }
        }
    }
}

enum Failed {
    /// Not a byte of it left; and what has become of the connection.
    Unsent(Box<Request<UpstreamBody>>, hyper::Error),
    /// The target may have seen it.
    Sent(hyper::Error),
    /// An answer came of a connection that was gone.
    Gone,
}

impl Failed {
    /// By a connection that has ended, and said `why` if it had.
    fn of(mut error: TrySendError<Request<UpstreamBody>>, why: Option<hyper::Error>) -> Self {
        match error.take_message() {
            Some(request) => {
                let why = why.unwrap_or_else(|| error.into_error());
                Self::Unsent(Box::new(request), why)
            }
            None => Self::Sent(error.into_error()),
        }
    }
}

/// Of a connection that takes no request any more.
async fn last_words(connection: &mut Connection) -> Option<hyper::Error> {
    timeout(LAST_WORDS, connection.ended()).await.ok().flatten()
}

fn failed(target: &Target, error: &hyper::Error) -> Report {
    if error.is_parse_too_large() {
        let words = format!("the head of {target}'s answer is too large");
        Report::new(Fault::TooLarge, words)
    } else if error.is_parse() {
        Report::new(
            Fault::Malformed,
            format!("{target} does not answer in HTTP: {error}"),
        )
    } else {
        uncertified(target, error).unwrap_or_else(|| {
            let words = format!("{target} closed the connection before it answered");
            Report::new(Fault::BrokeOff, words)
        })
    }
}

fn closed(target: &Target) -> Report {
    let words = format!("{target} closed the connection at once");
    Report::new(Fault::BrokeOff, words)
}

/// When the target will not have our certificate, or wants one: with TLS 1.3 it says so behind the
/// handshake.
fn uncertified(target: &Target, error: &hyper::Error) -> Option<Report> {
    let reason = certificate_refusal(error)?;
    let words = format!("{target}: {reason}");
    Some(Report::new(Fault::Certificate, words))
}

/// What cannot go back through the tunnel.
fn check(
    target: &Target,
    upstream: &Upstream,
    response: &Response<Incoming>,
) -> Result<(), Report> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let words = format!("{target} wants to switch protocols, which nobody asked for");
        return Err(Report::new(Fault::Malformed, words));
    }
    if list_size(response.headers()) > MAX_RESPONSE_HEAD {
        let words = format!("the head of {target}'s answer is over {MAX_RESPONSE_HEAD} bytes");
        return Err(Report::new(Fault::TooLarge, words));
    }
    // Of a body whose length is known. What HEAD would be answered has none.
    let says = response.body().size_hint().lower();
    match upstream.response_bytes {
        Some(most) if says > most => {
            let words = format!("{target} answers {says} bytes, and {most} are allowed");
            Err(Report::new(Fault::Oversized, words))
        }
        _ => Ok(()),
    }
}

/// As HTTP/2 counts (RFC 9113 §6.5.2).
fn list_size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum()
}
