//! What we answer with inside a tunnel.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio_util::sync::CancellationToken;

use crate::Client;
use crate::fetch::Answer;

/// Why a body broke off: the stream is reset for it.
type Broken = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// The body of an answer to the proxy.
    #[project = ClientBodyProjection]
    pub(crate) enum ClientBody {
        /// Nothing, or all is in the head.
        Empty,
        /// Our registration, a line whenever it changes; the end says that we go.
        Registrations { lines: Pin<Box<dyn Stream<Item = Bytes> + Send>> },
        /// What a target answered, or why none did.
        Answer { #[pin] answer: Answer },
    }
}

impl ClientBody {
    /// The registration as it is now, each that is different as a reload brings it, and an end when
    /// `leaving` is cancelled.
    pub(super) fn registrations(client: &Client, leaving: CancellationToken) -> Self {
        // Subscribed before the first is read: none that comes meanwhile is missed.
        let state = (client.settings.subscribe(), leaving, Bytes::new());
        let lines = unfold(state, async |(mut settings, leaving, said)| {
            loop {
                let line = settings.borrow_and_update().offer.line().clone();
                if line != said {
                    return Some((line.clone(), (settings, leaving, line)));
                }
                tokio::select! {
                    () = leaving.cancelled() => return None,
                    // An error: the client is gone, and we with it.
                    changed = settings.changed() => changed.ok()?,
                }
            }
        });
        Self::Registrations {
            lines: Box::pin(lines),
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.project() {
            ClientBodyProjection::Empty => Poll::Ready(None),
            ClientBodyProjection::Registrations { lines } => {
                let line = lines.as_mut().poll_next(cx);
                line.map(|line| line.map(|line| Ok(Frame::data(line))))
            }
            ClientBodyProjection::Answer { answer } => answer.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Registrations { .. } => false,
            Self::Answer { answer } => answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Registrations { .. } => SizeHint::default(),
            Self::Answer { answer } => answer.size_hint(),
        }
    }
}
