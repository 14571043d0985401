//! The answer to a scrape, as the body of another request.
//!
//! It is held back until it is known to be whole, up to [`HELD`]: the client has buffered all of it
//! anyway, and what its target cut short is then a 502 and not a broken answer. What is larger is
//! passed on as it comes, and cut where it breaks.

use std::sync::Arc;

use adit_common::fault::{Fault, Report, one_line};
use adit_common::name::Name;
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body as _, Incoming};
use hyper::ext::ReasonPhrase;
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::stream::Stream;
use super::wire::answer::{Head, HeadReader, Unreadable};
use super::wire::body::{Body, BodyError};
use super::wire::fault;
use crate::Proxy;
use crate::auth::{Grant, Visitor, Way};
use crate::carrier::{Expected, PushedBody};
use crate::clock::Clock;

/// Where the clients push, below the route prefix.
pub(crate) const PUSH_PATH: &str = "/push";

/// What is held back of a body. An exporter's page is a tenth of it, and gzip makes a tenth of that.
const HELD: usize = 256 * 1024;

/// Takes a push, and answers when its scrape has it: the client looks at no status.
pub(crate) async fn push(
    proxy: Arc<Proxy>,
    visitor: Visitor,
    clock: Clock,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return reply(StatusCode::METHOD_NOT_ALLOWED, "a push is a POST");
    }
    let grant = match proxy.auth.client(&visitor, request.headers()).await {
        Ok(grant) => grant,
        Err(denied) => return denied.answer(Way::Origin),
    };
    let length = request.body().size_hint().exact();
    let mut pushed = Pushed {
        body: request.into_body(),
        buffer: BytesMut::new(),
    };
    let count = |result| proxy.metrics.pushes.with_label_values(&[result]).inc();
    let head = match timeout(proxy.limits.head_time, pushed.head()).await {
        Ok(Ok(head)) => head,
        Ok(Err(unreadable)) => {
            count("malformed");
            let peer = visitor.peer();
            tracing::info!(%peer, reason = %unreadable.why, "push refused");
            if let Some(expected) = expected(&proxy, &grant, unreadable.id) {
                let words = format!("its client pushed what is no answer: {unreadable}");
                answer(expected, report(Fault::Malformed, words));
            }
            return reply(StatusCode::BAD_REQUEST, &unreadable.to_string());
        }
        Err(_) => {
            count("malformed");
            proxy.metrics.limit("head_time");
            let words = "its head did not come in time (head_time)";
            return reply(StatusCode::REQUEST_TIMEOUT, words);
        }
    };
    let Some(mut expected) = expected(&proxy, &grant, head.id) else {
        count("refused");
        return reply(StatusCode::GONE, "no scrape waits for this push");
    };
    clock.extend(expected.deadline);
    let taking = Taking::new(&head, length, &expected.method);
    let taken = tokio::select! {
        taken = taking.take(pushed) => taken,
        // The scrape is over, and nobody wants the rest.
        () = expected.answer.closed() => Err(Failed::Unwanted),
    };
    let result = match taken {
        Ok(Taken::Whole(body)) => whole(expected, head, body),
        Ok(Taken::Rest(stream, passed)) => {
            answer(expected, response(head, stream.boxed()));
            // Resolves when the scrape has all of it, or is over.
            let _ = passed.await;
            "answered"
        }
        Err(Failed::Target(error)) => {
            let words = format!("the target's answer broke off: {error}");
            answer(expected, report(Fault::BrokeOff, words));
            "truncated"
        }
        // Dropped without an answer: what carried the scrape is lost.
        Err(Failed::Connection) => "broken",
        Err(Failed::Unwanted) => "refused",
    };
    count(result);
    Response::new(Full::default())
}

fn expected(proxy: &Proxy, grant: &Grant, id: Option<Uuid>) -> Option<Expected> {
    let may = |name: &Name| grant.may_take(std::slice::from_ref(name)).is_ok();
    proxy.pushes.take(&id?, may)
}

/// All of it has come.
fn whole(expected: Expected, head: Head, body: Bytes) -> &'static str {
    if head.own_error {
        let words = String::from_utf8_lossy(&body);
        let words = words.trim().to_owned();
        answer(expected, report(fault::fault(&words), words));
        return "client-error";
    }
    let body = Full::from(body).map_err(|never| match never {});
    answer(expected, response(head, body.boxed()));
    "answered"
}

fn answer(expected: Expected, response: Response<PushedBody>) {
    // An error: the scrape is over.
    let _ = expected.answer.send(response);
}

fn response(head: Head, body: PushedBody) -> Response<PushedBody> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

/// As a client of ours would say it.
fn report(fault: Fault, words: impl std::fmt::Display) -> Response<PushedBody> {
    let body = Empty::new().map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    Report::new(fault, words).write_to(response.headers_mut());
    response
}

/// A push that is being read.
struct Pushed {
    body: Incoming,
    buffer: BytesMut,
}

impl Pushed {
    async fn head(&mut self) -> Result<Head, Unreadable> {
        let mut reader = HeadReader::default();
        loop {
            if let Some(head) = reader.read(&mut self.buffer)? {
                return Ok(head);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(_)) | None => return Err(reader.ended(&self.buffer)),
            }
        }
    }
}

/// What became of a body.
enum Taken {
    Whole(Bytes),
    /// It is larger than what is held; the other end of the receiver goes when it has passed.
    Rest(Stream, oneshot::Receiver<()>),
}

enum Failed {
    /// The target's answer is not whole.
    Target(String),
    /// The push broke off.
    Connection,
    /// Nobody wants it any more.
    Unwanted,
}

impl From<BodyError> for Failed {
    fn from(error: BodyError) -> Self {
        Self::Target(error.to_string())
    }
}

struct Taking {
    decoder: Result<Body, String>,
}

impl Taking {
    fn new(head: &Head, length: Option<u64>, method: &Method) -> Self {
        let to_come = length.map(|length| length.saturating_sub(head.length as u64));
        let framing = head.framing(method).map_err(|error| error.to_string());
        let decoder = framing
            .and_then(|framing| Body::new(framing, to_come).map_err(|error| error.to_string()));
        Self { decoder }
    }

    /// Reads until the body is whole, or too large to be held.
    async fn take(self, mut pushed: Pushed) -> Result<Taken, Failed> {
        let mut decoder = self.decoder.map_err(Failed::Target)?;
        let mut held = BytesMut::new();
        let mut input = pushed.buffer.freeze();
        loop {
            while let Some(piece) = decoder.next(&mut input)? {
                held.extend_from_slice(&piece);
            }
            if held.len() > HELD {
                let (stream, passed) = Stream::new(held.freeze(), decoder, pushed.body);
                return Ok(Taken::Rest(stream, passed));
            }
            match pushed.body.frame().await {
                Some(Ok(frame)) => input = frame.into_data().unwrap_or_default(),
                Some(Err(_)) => return Err(Failed::Connection),
                None => {
                    if let Some(last) = decoder.finish()? {
                        held.extend_from_slice(&last);
                    }
                    return Ok(Taken::Whole(held.freeze()));
                }
            }
        }
    }
}

/// Without a body, whatever it says: the client never reads one, and by that leaks its connection.
/// The reason is for whoever looks.
fn reply(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    if let Ok(phrase) = ReasonPhrase::try_from(one_line(words)) {
        response.extensions_mut().insert(phrase);
    }
    response
}
