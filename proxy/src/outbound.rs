//! Requests of our own to servers that are dialled: backends, and what tells where they are.
//!
//! Connections are kept for reuse by [`hyper_util`]'s client; how they come to be is ours: RFC 8305 for
//! names with several addresses, TLS as the file says, HTTP/1.1 alone.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use adit_common::net::dial::{DialError, dial};
use adit_common::net::tls::{ClientTls, Connector, TlsError};
use adit_common::target::{Scheme, Target};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

/// For the dial and the handshake: whoever takes longer is down for all that a query cares.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long an unused connection is kept. Prometheus closes its own after five minutes, and we are
/// the first to.
const KEPT_FOR: Duration = Duration::from_secs(240);
/// Unused connections to one server.
const MOST_KEPT: usize = 64;

/// Sends requests. Clones share connections.
#[derive(Clone)]
pub(crate) struct Outbound(Client<Dial, Full<Bytes>>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboundError {
    /// Nobody could be reached.
    #[error("{0}")]
    Connect(String),
    /// TLS failed.
    #[error("{0}")]
    Tls(String),
    /// It closed before the head of its answer was whole, or that was none.
    #[error("{0}")]
    Reset(String),
    /// Time was up.
    #[error("no answer in time")]
    Deadline,
}

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
            .build(Dial { tls: tls.build()? });
        Ok(Self(client))
    }

    /// Sends it and waits for the head of the answer. Dropping the future, or the answer's body before
    /// its end, closes the connection.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, OutboundError> {
        match timeout_at(deadline, self.0.request(request)).await {
            Ok(answer) => answer.map_err(|error| classify(&error)),
            Err(_) => Err(OutboundError::Deadline),
        }
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbound")
    }
}

fn classify(error: &Error) -> OutboundError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
        if let Some(dial) = cause.downcast_ref::<DialError>() {
            return OutboundError::Connect(dial.to_string());
        }
        if let Some(tls) = cause.downcast_ref::<TlsError>() {
            return OutboundError::Tls(tls.to_string());
        }
    }
    match error.is_connect() {
        true => OutboundError::Connect(cause.to_string()),
        false => OutboundError::Reset(format!("it closed before it had answered: {cause}")),
    }
}

/// Dials, and shakes hands where the URL says https.
#[derive(Clone)]
struct Dial {
    tls: Connector,
}

type Dialling =
    Pin<Box<dyn Future<Output = Result<Dialled, Box<dyn std::error::Error + Send + Sync>>> + Send>>;

impl tower_service::Service<Uri> for Dial {
    type Response = Dialled;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Dialling;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Dialling {
        let tls = self.tls.clone();
        Box::pin(async move {
            let deadline = Instant::now() + CONNECT_TIME;
            let scheme = match uri.scheme_str() {
                Some("https") => Scheme::Https,
                _ => Scheme::Http,
            };
            let authority = uri.authority().map_or("", |authority| authority.as_str());
            let Target { name, port } = Target::parse(authority, Some(scheme))?;
            let (stream, _) = dial(name.as_str(), port, None, deadline).await?;
            let stream: Box<dyn Stream> = match scheme {
                Scheme::Http => Box::new(stream),
                Scheme::Https => Box::new(tls.connect(name.as_str(), stream, deadline).await?),
            };
            Ok(Dialled(TokioIo::new(stream)))
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What was dialled.
struct Dialled(TokioIo<Box<dyn Stream>>);

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Dialled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
