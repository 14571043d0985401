//! The body of a client's answer, whatever brought it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use pin_project_lite::pin_project;

use super::session::Session;

/// What a client pushed: read from another connection's request, or held already.
pub(crate) type PushedBody = BoxBody<Bytes, Break>;

pin_project! {
    /// The body of an answer. Dropping it withdraws the scrape.
    #[derive(Debug)]
    #[project = Projection]
    pub(crate) enum CarrierBody {
        /// A stream of a tunnel.
        Tunnel { #[pin] stream: Incoming, session: Arc<Session> },
        /// A push.
        Pushed { #[pin] body: PushedBody },
    }
}

/// A body ended before its end.
#[derive(Debug)]
pub(crate) enum Break {
    /// With what carried it.
    Carrier(String),
    /// The target broke it off, or sent nonsense.
    Target(String),
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Carrier(why) => write!(f, "the client went away: {why}"),
            Self::Target(why) => write!(f, "the target's answer broke off: {why}"),
        }
    }
}

impl std::error::Error for Break {}

impl Body for CarrierBody {
    type Data = Bytes;
    type Error = Break;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Break>>> {
        match self.project() {
            Projection::Tunnel { stream, session } => stream.poll_frame(cx).map_err(|error| {
                // A session that goes on has only passed on what its target did.
                match session.ending().end() {
                    Some(end) => Break::Carrier(end.to_string()),
                    None => Break::Target(error.to_string()),
                }
            }),
            Projection::Pushed { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Tunnel { stream, .. } => stream.is_end_stream(),
            Self::Pushed { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Tunnel { stream, .. } => stream.size_hint(),
            Self::Pushed { body } => body.size_hint(),
        }
    }
}
