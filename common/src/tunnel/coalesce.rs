//! Small pieces leave together, empty ones not at all.
//!
//! h2 ends a whole connection after 101 empty DATA frames in its lifetime (b), and when the
//! frames below 256 bytes that nobody has read yet cost more than half the connection window,
//! each counting what it lacks of 256 (c). A target that flushes every line while the scraper
//! does not read does just that. So pieces that arrive together leave as one, and those that
//! trickle are let go at a bounded rate.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// Frames of so many bytes cost nothing (h2: `DATA_FRAME_MIN`).
const SMALL: usize = 256;
/// Pieces of so many bytes are not worth copying.
const WHOLE: usize = 4 * 1024;
/// A full HTTP/2 frame.
const FULL: usize = 16 * 1024;

/// How many small frames a stream may send at once, and how often one more. With both, 128
/// streams that nobody reads take 40 s to use up the budget, longer than most deadlines.
const BURST: u32 = 32;
const EVERY: Duration = Duration::from_millis(200);

/// Between the last of a body and the news that it broke off. h2 throws away what is queued in a
/// stream that is reset, its head included: the other end would not know that anybody answered.
const BEFORE_BREAKING: Duration = Duration::from_millis(10);

/// The rate of one stream's small frames (GCRA: one instant is all its state).
#[derive(Debug)]
pub struct Pace {
    due: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            due: Instant::now(),
        }
    }
}

impl Pace {
    /// When the next small frame may go; not later than `now` when it may at once.
    pub fn next(&self) -> Instant {
        // Before the clock's epoch there is nothing to wait for.
        self.due.checked_sub(EVERY * BURST).unwrap_or(self.due)
    }

    /// A piece of `length` bytes leaves now.
    pub fn spend(&mut self, length: usize, now: Instant) {
        if length < SMALL {
            self.due = self.due.max(now) + EVERY;
        }
    }
}

pin_project! {
    /// A body whose pieces are fit for the tunnel.
    #[derive(Debug)]
    pub struct Coalesced<B: Body> {
        #[pin]
        inner: B,
        held: BytesMut,
        // What came behind `held` and must not overtake it.
        next: Option<Frame<Bytes>>,
        ended: bool,
        // What `inner` failed with, until what came before it has had its time to leave.
        failed: Option<B::Error>,
        // Whoever fills `inner` has had a turn since it last gave something.
        yielded: bool,
        pace: Pace,
        // Boxed, and made only for a trickle: hyper wants bodies that can move.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<B: Body> Coalesced<B> {
    /// Nothing is read before it is polled.
    pub fn new(inner: B) -> Self {
        Self {
            inner,
            held: BytesMut::new(),
            next: None,
            ended: false,
            failed: None,
            yielded: false,
            pace: Pace::default(),
            timer: None,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for Coalesced<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if let Some(frame) = this.next.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        while !*this.ended && this.failed.is_none() {
            let frame = match this.inner.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => {
                    *this.failed = Some(error);
                    *this.timer = Some(Box::pin(sleep(BEFORE_BREAKING)));
                    break;
                }
                Poll::Ready(None) => {
                    *this.ended = true;
                    break;
                }
                Poll::Pending => {
                    if this.held.is_empty() {
                        return Poll::Pending;
                    }
                    // hyper hands chunks over one by one, each a turn of its connection's task:
                    // one more turn, and the next may be there.
                    if !std::mem::replace(this.yielded, true) {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    let at = this.pace.next();
                    if this.held.len() < SMALL && at > Instant::now() {
                        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
                        timer.as_mut().reset(at);
                        if timer.as_mut().poll(cx).is_pending() {
                            return Poll::Pending;
                        }
                    }
                    break;
                }
            };
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(trailers) => {
                    if this.held.is_empty() {
                        return Poll::Ready(Some(Ok(trailers)));
                    }
                    *this.next = Some(trailers);
                    break;
                }
            };
            if data.len() >= WHOLE {
                if this.held.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                *this.next = Some(Frame::data(data));
                break;
            }
            this.held.extend_from_slice(&data);
            *this.yielded = false;
            if this.held.len() >= FULL {
                break;
            }
        }
        if this.held.is_empty() {
            if this.failed.is_some()
                && let Some(timer) = this.timer
                && timer.as_mut().poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            return Poll::Ready(this.failed.take().map(Err));
        }
        let piece = this.held.split().freeze();
        this.pace.spend(piece.len(), Instant::now());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty()
            && self.next.is_none()
            && self.failed.is_none()
            && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.size_hint();
        let next = self.next.as_ref().and_then(Frame::data_ref);
        let mine = (self.held.len() + next.map_or(0, Bytes::len)) as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + mine);
        }
        hint.set_lower(hint.lower() + mine);
        hint
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http_body_util::{BodyExt, StreamBody, channel::Channel};
    use std::convert::Infallible;

    use super::*;

    type Piece = Result<Frame<Bytes>, Infallible>;

    fn data(n: usize) -> Piece {
        Ok(Frame::data(Bytes::from(vec![b'x'; n])))
    }

    async fn sizes(body: impl Body<Data = Bytes, Error = Infallible>) -> Vec<usize> {
        let mut body = std::pin::pin!(Coalesced::new(body));
        let mut sizes = Vec::new();
        while let Some(frame) = body.frame().await {
            sizes.push(frame.unwrap().into_data().map_or(0, |data| data.len()));
        }
        assert!(body.is_end_stream());
        sizes
    }

    fn at_once(pieces: Vec<Piece>) -> impl Body<Data = Bytes, Error = Infallible> {
        StreamBody::new(futures_util::stream::iter(pieces))
    }

    #[tokio::test(start_paused = true)]
    async fn empty_pieces_vanish_and_small_ones_leave_together() {
        let pieces = (0..2000).flat_map(|_| [data(0), data(20)]).collect();
        assert_eq!(sizes(at_once(pieces)).await, [16_400, 16_400, 7_200]);
        assert_eq!(
            sizes(at_once((0..200).map(|_| data(0)).collect())).await,
            [0usize; 0]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn large_pieces_pass_untouched_and_in_order() {
        let pieces = vec![data(5000), data(10), data(6000), data(1)];
        assert_eq!(sizes(at_once(pieces)).await, [5000, 10, 6000, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn trailers_come_last() {
        let pieces = vec![data(10), Ok(Frame::trailers(HeaderMap::new()))];
        assert_eq!(sizes(at_once(pieces)).await, [10, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_before_a_break_leaves_before_it() {
        let (mut sender, body) = Channel::<Bytes, &str>::new(2);
        sender
            .send_data(Bytes::from_static(b"half a bo"))
            .await
            .unwrap();
        sender.abort("cut");
        let mut body = std::pin::pin!(Coalesced::new(body));
        let start = Instant::now();
        let half = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(
            (&*half, start.elapsed()),
            (&b"half a bo"[..], Duration::ZERO)
        );
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap_err(), "cut");
        assert_eq!(start.elapsed(), BEFORE_BREAKING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_paced_and_loses_nothing() {
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        let feed = tokio::spawn(async move {
            for _ in 0..1000 {
                sender
                    .send_data(Bytes::from_static(b"a line of metrics\n"))
                    .await
                    .unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let start = Instant::now();
        let sizes = sizes(body).await;
        feed.await.unwrap();
        assert_eq!(sizes.iter().sum::<usize>(), 18_000);
        // Ten seconds: the burst, five a second, and what was large enough to go at once.
        let small = sizes.iter().filter(|size| **size < SMALL).count();
        assert!(small <= 32 + 52, "{small} small frames");
        assert!(start.elapsed() < Duration::from_secs(11));
        assert_eq!(sizes[0], 18, "the first leaves at once");
    }
}
