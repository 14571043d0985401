//! The body of a target's answer on its way into the tunnel.

use std::pin::Pin;
use std::task::{Context, Poll};

use adit_common::fault::Fault;
use adit_common::target::Scheme;
use adit_common::tunnel::coalesce::Coalesced;
use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::flight::InFlight;
use crate::upstream::{Connection, Upstream};

/// What we answer with: a target's body, or nothing where all is in the head.
pub(crate) type Answer = Either<Empty<Bytes>, Coalesced<Fetched>>;

/// A connection that is in use, and where it goes when its answer has ended well.
#[derive(Debug)]
pub(super) struct Return {
    pub(super) upstream: Upstream,
    pub(super) scheme: Scheme,
    pub(super) connection: Connection,
}

/// Why a body broke off: its stream in the tunnel is reset for it, and the scraper cut off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokeOff {
    /// The target closed too early, or sent nonsense.
    #[error("the target's answer broke off: {0}")]
    Target(#[from] hyper::Error),
    /// The deadline passed in the middle.
    #[error("the scrape's deadline passed")]
    Deadline,
    /// It is longer than this target's may be.
    #[error("the target's answer is over {0} bytes")]
    Oversized(u64),
}

impl BrokeOff {
    /// The word in metrics, as a fault's of the same kind.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Target(_) => Fault::BrokeOff.as_str(),
            Self::Deadline => Fault::Deadline.as_str(),
            Self::Oversized(_) => Fault::Oversized.as_str(),
        }
    }
}

/// A target's body. Its end by EOF, length or last chunk is told apart from every other by hyper;
/// what else ends it is an error here. Dropped before its end, it closes the connection.
#[derive(Debug)]
pub(crate) struct Fetched {
    inner: Incoming,
    deadline: Pin<Box<Sleep>>,
    /// How many bytes more it may have, and had at first.
    left: Option<(u64, u64)>,
    way_back: Option<Return>,
    flight: InFlight,
}

impl Fetched {
    pub(super) fn new(
        inner: Incoming,
        deadline: Instant,
        way_back: Return,
        flight: InFlight,
    ) -> Self {
        let mut fetched = Self {
            inner,
            deadline: Box::pin(sleep_until(deadline)),
            left: way_back.upstream.response_bytes.map(|most| (most, most)),
            way_back: Some(way_back),
            flight,
        };
        if fetched.inner.is_end_stream() {
            // Nothing but a head, as for HEAD: it may never be polled.
            fetched.give_back();
        }
        fetched
    }
}

impl Fetched {
    /// The answer is whole: its connection is free for the next scrape, which may be on its way
    /// before anybody drops this one.
    fn give_back(&mut self) {
        if let Some(way_back) = self.way_back.take() {
            let Return {
                upstream,
                scheme,
                connection,
            } = way_back;
            upstream.keep(scheme, connection);
        }
    }

    /// Takes so many bytes off what it may have.
    fn spend(&mut self, bytes: usize) -> Result<(), BrokeOff> {
        if let Some((left, most)) = &mut self.left {
            let after = left.checked_sub(bytes as u64);
            *left = after.ok_or(BrokeOff::Oversized(*most))?;
        }
        Ok(())
    }

    /// It broke off: a connection in the middle of an answer is of use to nobody.
    fn broken(&mut self, why: BrokeOff) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        self.way_back = None;
        self.flight.cut(&why, why.as_str());
        Poll::Ready(Some(Err(why)))
    }
}

impl Body for Fetched {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if let Err(why) = self.spend(bytes) {
                    return self.broken(why);
                }
                self.flight.bytes(bytes);
                if self.inner.is_end_stream() {
                    // A body of known length: nobody need ask for what follows.
                    self.give_back();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => self.broken(error.into()),
            Poll::Ready(None) => {
                self.give_back();
                Poll::Ready(None)
            }
            Poll::Pending => match self.deadline.as_mut().poll(cx) {
                Poll::Ready(()) => self.broken(BrokeOff::Deadline),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
