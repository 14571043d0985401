//! The body of an answer while it is under way.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::attempt::QueryBody;
use super::backend::Failure;

pin_project! {
    /// Counts as a query until its last byte. One that has no end of its own ends well as soon as we drain:
    /// whoever listens comes again, to our successor.
    pub(super) struct UnderWay {
        inner: QueryBody,
        #[pin]
        draining: Option<WaitForCancellationFutureOwned>,
        _permit: OwnedSemaphorePermit,
    }
}

impl UnderWay {
    /// `draining` is for one without an end.
    pub(super) fn new(
        inner: QueryBody,
        permit: OwnedSemaphorePermit,
        draining: Option<&CancellationToken>,
    ) -> Self {
        Self {
            inner,
            draining: draining.map(|draining| draining.clone().cancelled_owned()),
            _permit: permit,
        }
    }
}

impl Body for UnderWay {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.project();
        match (
            Pin::new(this.inner).poll_frame(cx),
            this.draining.as_pin_mut(),
        ) {
            (Poll::Pending, Some(draining)) => draining.poll(cx).map(|()| None),
            (frame, _) => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
