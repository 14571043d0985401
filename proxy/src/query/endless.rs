//! The body of an answer that has no end of its own.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::attempt::QueryBody;
use super::backend::Failure;

pin_project! {
    /// Ends well as soon as we drain: whoever listens comes again, to our successor.
    pub(super) struct Endless {
        inner: QueryBody,
        #[pin]
        draining: WaitForCancellationFutureOwned,
    }
}

impl Endless {
    pub(super) fn new(inner: QueryBody, draining: &CancellationToken) -> Self {
        let draining = draining.clone().cancelled_owned();
        Self { inner, draining }
    }
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.project();
        match Pin::new(this.inner).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame),
            Poll::Pending => this.draining.poll(cx).map(|()| None),
        }
    }
}
