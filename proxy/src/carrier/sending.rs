//! The body of a request while the scraper still sends it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use pin_project_lite::pin_project;

/// Whether the scraper broke its body off, or framed it against the grammar. The client sees a stream
/// that was reset, as if it had been at fault itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spoilt(Arc<AtomicBool>);

impl Spoilt {
    /// As of now.
    pub(crate) fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pin_project! {
    /// A scraper's body that tells when it breaks.
    #[derive(Debug)]
    pub(crate) struct Sending {
        #[pin]
        inner: Incoming,
        spoilt: Spoilt,
    }
}

impl Sending {
    /// With where it is told.
    pub(crate) fn new(inner: Incoming, spoilt: Spoilt) -> Self {
        Self { inner, spoilt }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if matches!(frame, Some(Err(_))) {
            this.spoilt.0.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
