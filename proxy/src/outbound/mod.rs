//! Requests of our own to servers that are dialled: backends, and what tells where they are.
//!
//! Connections are kept for reuse by [`hyper_util`]'s client; how they come to be is ours, in
//! [`connection`]: RFC 8305 for names with several addresses, TLS as the file says, HTTP/1.1 alone.
//! [`error`] says in words why there is no answer.

mod connection;
mod error;

use std::fmt;
use std::time::Duration;

use adit_common::net::tls::{ClientTls, TlsError};
use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

pub(crate) use self::error::{OutboundError, too_large};

use self::connection::{Dial, Past};

/// How long an unused connection is kept. Prometheus closes its own after five minutes, and we are
/// the first to.
const KEPT_FOR: Duration = Duration::from_secs(240);
/// Unused connections to one server.
const MOST_KEPT: usize = 64;
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
        match request.method().is_safe() {
            true => self.send_repeatable(request, deadline).await,
            false => in_time(deadline, self.ask(request))
                .await
                .map_err(|no| no.why),
        }
    }

    /// The same for a request that does no more when it comes twice, whatever its method.
    pub(crate) async fn send_repeatable(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, OutboundError> {
        loop {
            match in_time(deadline, self.ask(request.clone())).await {
                Ok(answer) => return Ok(answer),
                // There is an end to it: each time one fewer is kept.
                Err(no) if no.was_stale => {}
                Err(no) => return Err(no.why),
            }
        }
    }

    /// hyper itself sends again what it had not begun to write.
    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, NoAnswer> {
        let mut answer = self
            .0
            .request(request)
            .await
            .map_err(|e| NoAnswer::of(&e))?;
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
}

impl NoAnswer {
    fn of(error: &Error) -> Self {
        let past = error.connect_info().and_then(|connected| {
            let mut extras = Extensions::new();
            connected.get_extras(&mut extras);
            extras.remove::<Past>()
        });
        Self {
            why: OutboundError::new(error, past.as_ref()),
            was_stale: past.is_some_and(|past| past.was_stale()),
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
    };
    timeout_at(deadline, asking).await.unwrap_or(Err(too_late))
}
