//! The body of a target's answer on its way to the scraper: never whole in memory, never repaired.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::course::Event;
use super::flight::InFlight;
use crate::carrier::{Break, CarrierBody};
use crate::clock::Clock;

/// Whatever broke a body off; the scraper's connection is cut for it.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// The body of the answer to a scrape: our own words, or the target's.
pub(crate) type ScrapeBody = Either<Full<Bytes>, Relayed>;

pin_project! {
    /// A body that ends with an error when the stream does, or at the deadline: hyper then closes
    /// the scraper's connection without the last chunk, and Prometheus sees a failed scrape.
    pub(crate) struct Relayed {
        #[pin]
        inner: CarrierBody,
        #[pin]
        deadline: Sleep,
        flight: InFlight,
        // Told at the next poll: before that hyper flushes the head and what came behind it.
        broken: Option<Broken>,
        done: bool,
        // Where the close of the connection would pass for the end of the body.
        clock: Option<Clock>,
    }

    impl PinnedDrop for Relayed {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if !*this.done {
                // A body of known length need not be asked for what follows its last byte.
                if this.inner.is_end_stream() {
                    this.flight.on(Event::End);
                } else {
                    this.flight.cut("scraper-gone");
                }
            }
        }
    }
}

impl Relayed {
    pub(super) fn new(
        inner: CarrierBody,
        deadline: Instant,
        flight: InFlight,
        clock: Option<Clock>,
    ) -> Self {
        Self {
            inner,
            deadline: sleep_until(deadline),
            flight,
            broken: None,
            done: false,
            clock,
        }
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.project();
        if let Some(broken) = this.broken.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        let (event, reason, broken): (_, _, Broken) = match this.inner.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.flight.bytes(frame.data_ref().map_or(0, Bytes::len));
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) => {
                *this.done = true;
                this.flight.on(Event::End);
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(broken @ Break::Carrier(_)))) => {
                (Event::Lost, "carrier-lost", broken.into())
            }
            Poll::Ready(Some(Err(broken @ Break::Target(_)))) => {
                (Event::BrokeOff, "broke-off", broken.into())
            }
            Poll::Pending => match this.deadline.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => {
                    let broken = "the scrape's deadline passed".into();
                    (Event::Expired, "deadline", broken)
                }
            },
        };
        *this.done = true;
        this.flight.on(event);
        this.flight.cut(reason);
        if let Some(clock) = this.clock {
            clock.reset_on_close();
        }
        *this.broken = Some(broken);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
