//! Requests of our own to servers that are dialled: backends, and what tells where they are.
//!
//! Connections are kept for reuse by [`hyper_util`]'s client; how they come to be is ours, in
//! [`connection`]: RFC 8305 for names with several addresses, TLS as the file says, HTTP/1.1 alone.
//! [`error`] says in words why there is no answer.

mod connection;
mod error;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use adit_common::net::tls::{ClientTls, TlsError};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Extensions, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, capture_connection};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use self::error::{OutboundError, too_large};

use self::connection::{Dial, Past};

/// How long an unused connection is kept. Prometheus closes its own after five minutes, and we are
/// the first to.
const KEPT_FOR: Duration = Duration::from_secs(240);
/// Unused connections to one server.
const MOST_KEPT: usize = 64;
/// From a connection's end to the error of whoever waits for an answer by it.
const A_MOMENT: Duration = Duration::from_millis(100);
/// Most bytes of an answer's head. hyper's buffer for reading has twice that, so that a large body
/// passes in pieces of that size: one is being read while one is on its way.
pub(crate) const MOST_HEAD: usize = 64 * 1024;
/// Most fields in it.
pub(crate) const MOST_FIELDS: usize = 100;

/// Sends requests. Clones share connections.
#[derive(Clone)]
pub(crate) struct Outbound(Client<Dial, Full<Bytes>>);

impl Outbound {
    /// With this TLS towards `https`. It blocks: files are read.
    ///
    /// # Errors
    /// Which file, and what is wrong with it.
    pub(crate) fn new(tls: &ClientTls) -> Result<Self, TlsError> {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(KEPT_FOR)
            .pool_max_idle_per_host(MOST_KEPT)
            .pool_timer(TokioTimer::new())
            .http1_title_case_headers(true)
            .http1_max_buf_size(MOST_HEAD)
            .http1_max_headers(MOST_FIELDS)
            .build(Dial { tls: tls.build()? });
        Ok(Self(client))
    }

    /// Sends it and waits for the head of the answer. Dropping the future, or the answer's body before
    /// its end, closes the connection. A safe method goes out again, by another connection, when the
    /// server turns out to have closed the one that was kept.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, OutboundError> {
        let repeatable = request.method().is_safe();
        self.send_as(repeatable, request, deadline).await
    }

    /// The same for a request that does no more when it comes twice, whatever its method.
    pub(crate) async fn send_repeatable(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, OutboundError> {
        self.send_as(true, request, deadline).await
    }

    async fn send_as(
        &self,
        repeatable: bool,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, OutboundError> {
        loop {
            match in_time(deadline, self.ask(request.clone())).await {
                Ok(answer) => return Ok(answer),
                // There is an end to it: each time one fewer is kept.
                Err(no) if no.was_unsent || repeatable && no.was_stale => {}
                Err(no) => return Err(no.why),
            }
        }
    }

    /// hyper itself sends again what it had not begun to write, but for what is handed to a connection
    /// just as it ends: that may stay in its queue, and be waited for until the deadline (hyper#4122).
    async fn ask(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, NoAnswer> {
        let captured = capture_connection(&mut request);
        let asking = self.0.request(request);
        tokio::pin!(asking);
        let answer = tokio::select! {
            biased;
            answer = &mut asking => Ok(answer),
            past = gone(captured) => (&mut asking).now_or_never().ok_or(past),
        };
        let answer = answer.map_err(|past| NoAnswer::stranded(&past))?;
        let mut answer = answer.map_err(|error| NoAnswer::of(&error))?;
        if let Some(past) = answer.extensions_mut().remove::<Past>() {
            past.answered();
        }
        Ok(answer)
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbound")
    }
}

struct NoAnswer {
    why: OutboundError,
    /// It was sent by a connection that the server had closed by then.
    was_stale: bool,
    /// The same, and not a byte of it was written.
    was_unsent: bool,
}

impl NoAnswer {
    fn of(error: &Error) -> Self {
        let past = error.connect_info().and_then(past);
        Self {
            why: OutboundError::new(error, past.as_ref()),
            was_stale: past.is_some_and(|past| past.was_stale()),
            was_unsent: false,
        }
    }

    fn stranded(past: &Past) -> Self {
        Self {
            why: OutboundError::gone(),
            was_stale: past.has_answered(),
            was_unsent: past.has_answered(),
        }
    }
}

fn past(connected: &Connected) -> Option<Past> {
    let mut extras = Extensions::new();
    connected.get_extras(&mut extras);
    extras.remove()
}

/// Resolves when the connection that a request was given to is gone, and nothing has come of that: no
/// error, and no other connection.
async fn gone(mut captured: CaptureConnection) -> Past {
    let now = |captured: &CaptureConnection| {
        let connected = captured.connection_metadata();
        connected.as_ref().and_then(past)
    };
    loop {
        captured.wait_for_connection_metadata().await;
        let Some(past) = now(&captured) else {
            return std::future::pending().await;
        };
        past.gone().await;
        sleep(A_MOMENT).await;
        if now(&captured).is_some_and(|now| now.is(&past)) {
            return past;
        }
    }
}

async fn in_time(
    deadline: Instant,
    asking: impl Future<Output = Result<Response<Incoming>, NoAnswer>>,
) -> Result<Response<Incoming>, NoAnswer> {
    let too_late = NoAnswer {
        why: OutboundError::Deadline,
        was_stale: false,
        was_unsent: false,
    };
    timeout_at(deadline, asking).await.unwrap_or(Err(too_late))
}
