//! The body of a backend's answer, whatever brought it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;

use super::Failure;
use crate::carrier::{Break, CarrierBody};
use crate::registry::Lease;

/// Dropping it before its end cancels what the backend still does.
pub(crate) type BackendBody = BoxBody<Bytes, Failure>;

pin_project! {
    /// What comes through a tunnel, with the place it takes at its client until it has ended. A tunnel
    /// that breaks under it is not found again, though its own task may not have noticed yet.
    #[derive(Debug)]
    pub(super) struct Carried {
        #[pin]
        inner: CarrierBody,
        held: Option<(OwnedSemaphorePermit, Lease)>,
    }
}

impl Carried {
    pub(super) fn new(inner: CarrierBody, place: OwnedSemaphorePermit, lease: Lease) -> Self {
        Self {
            inner,
            held: Some((place, lease)),
        }
    }
}

impl Body for Carried {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if !matches!(frame, Some(Ok(_)))
            && let Some((_, lease)) = this.held.take()
            && let Some(Err(Break::Carrier(_))) = frame
        {
            lease.dismiss();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(failure)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn failure(broken: Break) -> Failure {
    match broken {
        Break::Carrier(_) => Failure::TunnelLost(broken.to_string()),
        Break::Target(why) => Failure::Truncated(format!("its answer broke off: {why}")),
    }
}
