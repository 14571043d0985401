//! A connection of ours: dialled, with TLS where the URL says https, and what has become of it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use adit_common::net::dial::dial;
use adit_common::net::tls::Connector;
use adit_common::target::{Scheme, Target};
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// For the dial and the handshake: whoever takes longer is down for all that a query cares.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Dials, and shakes hands where the URL says https.
#[derive(Clone)]
pub(super) struct Dial {
    pub(super) tls: Connector,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Dialling = Pin<Box<dyn Future<Output = Result<TokioIo<Dialled>, BoxError>> + Send>>;

impl tower_service::Service<Uri> for Dial {
    type Response = TokioIo<Dialled>;
    type Error = BoxError;
    type Future = Dialling;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
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
            Ok(TokioIo::new(Dialled {
                stream,
                past: Past::default(),
            }))
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What a connection has been through, for whoever wonders why the last request on it has failed.
/// Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Past(Arc<Events>);

#[derive(Debug, Default)]
struct Events {
    /// An answer has come by it.
    has_answered: AtomicBool,
    /// Something has come since we last wrote.
    is_answering: AtomicBool,
    /// Its socket is closed.
    gone: CancellationToken,
}

impl Past {
    /// The head of an answer has come by it.
    pub(super) fn answered(&self) {
        self.0.has_answered.store(true, Ordering::Relaxed);
    }

    /// A byte has come since the request was written.
    pub(super) fn is_answering(&self) -> bool {
        self.0.is_answering.load(Ordering::Relaxed)
    }

    /// It had been kept, and the server was about to close it: not a byte has come of an answer.
    pub(super) fn was_stale(&self) -> bool {
        self.has_answered() && !self.is_answering()
    }

    /// An answer has come by it: it had been kept.
    pub(super) fn has_answered(&self) -> bool {
        self.0.has_answered.load(Ordering::Relaxed)
    }

    /// Resolves when its socket is closed.
    pub(super) async fn gone(&self) {
        self.0.gone.cancelled().await;
    }

    /// Whether both are of one connection.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn wrote(&self) {
        self.0.is_answering.store(false, Ordering::Relaxed);
    }

    fn heard(&self) {
        self.0.is_answering.store(true, Ordering::Relaxed);
    }
}

/// What was dialled.
pub(super) struct Dialled {
    stream: Box<dyn Stream>,
    past: Past,
}

impl Drop for Dialled {
    fn drop(&mut self) {
        self.past.0.gone.cancel();
    }
}

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.past.clone())
    }
}

impl AsyncRead for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.past.heard();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.past.wrote();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.past.wrote();
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
