//! A link in memory between the two ends: a rate, a delay, a buffer, and a switch that stops it.
//!
//! All its time is tokio's, so that with a paused clock a minute of a slow link passes at once, and
//! the same way in every run. (Sockets would not do: the paused clock leaps while they work.)

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What arrives as one: small beside every rate used here, large enough to be cheap.
const SEGMENT: usize = 4 * 1024;

/// One direction of a link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane {
    /// Bytes a second; `None` is at once.
    pub(crate) rate: Option<u32>,
    /// How long a byte is under way besides.
    pub(crate) delay: Duration,
    /// Bytes the lane takes before the reader has them: the sender's socket buffer and all the
    /// routers'.
    pub(crate) buffer: usize,
}

/// As much as the rows without a slow link could ever have in flight.
pub(crate) const WIDE: Lane = Lane {
    rate: None,
    delay: Duration::ZERO,
    buffer: 64 * 1024 * 1024,
};

/// The two sockets of a link and its switches. The proxy's socket is the first.
pub(crate) fn link(to_client: Lane, to_proxy: Lane) -> (Socket, Socket, Switch, Switch) {
    let down = Switch::new(to_client);
    let up = Switch::new(to_proxy);
    (Socket::new(&up, &down), Socket::new(&down, &up), down, up)
}

#[derive(Debug)]
struct State {
    lane: Lane,
    /// What was written and not read, with the time it arrives.
    flying: VecDeque<(Instant, Bytes)>,
    /// Bytes in `flying`.
    used: usize,
    /// When the wire has sent all that was written.
    idle_at: Instant,
    held: bool,
    /// Nothing more will be written.
    ended: bool,
    /// Nobody will read. Who writes learns it as in a network, not at once: from the end of what
    /// comes the other way.
    deaf: bool,
    delivered: u64,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl State {
    fn wake(&mut self) {
        let waiting = [self.reader.take(), self.writer.take()];
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    fn push(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        for segment in bytes.chunks(SEGMENT) {
            let start = self.idle_at.max(now);
            let length = u32::try_from(segment.len()).unwrap();
            self.idle_at = match self.lane.rate {
                Some(rate) => start + Duration::from_secs(1) * length / rate,
                None => start,
            };
            let arrival = self.idle_at + self.lane.delay;
            self.flying
                .push_back((arrival, Bytes::copy_from_slice(segment)));
        }
        self.used += bytes.len();
        self.wake();
    }
}

/// Stops one direction and lets it go again.
#[derive(Debug, Clone)]
pub(crate) struct Switch {
    state: Arc<Mutex<State>>,
}

impl Switch {
    fn new(lane: Lane) -> Self {
        let state = State {
            lane,
            flying: VecDeque::new(),
            used: 0,
            idle_at: Instant::now(),
            held: false,
            ended: false,
            deaf: false,
            delivered: 0,
            reader: None,
            writer: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From now on nothing arrives, not even an end. The buffer still fills.
    pub(crate) fn hold(&self) {
        self.lock().held = true;
    }

    /// What is due by now arrives at once.
    pub(crate) fn release(&self) {
        let mut state = self.lock();
        state.held = false;
        state.wake();
    }

    /// Bytes that arrived so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.lock().delivered
    }

    /// Bytes that are under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.lock().used
    }
}

/// One end of a link. Dropping it ends both directions, as far as the link lets the other know.
#[derive(Debug)]
pub(crate) struct Socket {
    incoming: Switch,
    outgoing: Switch,
    /// The arrival that the reader waits for.
    timer: Pin<Box<Sleep>>,
}

impl Socket {
    fn new(incoming: &Switch, outgoing: &Switch) -> Self {
        Self {
            incoming: incoming.clone(),
            outgoing: outgoing.clone(),
            timer: Box::pin(sleep_until(Instant::now())),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut incoming = self.incoming.lock();
        incoming.deaf = true;
        incoming.used = 0;
        incoming.flying.clear();
        incoming.wake();
        drop(incoming);
        let mut outgoing = self.outgoing.lock();
        outgoing.ended = true;
        outgoing.wake();
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut state = this.incoming.lock();
        // Whatever the reader waits for: the switch wakes it too.
        state.reader = Some(cx.waker().clone());
        if state.held {
            return Poll::Pending;
        }
        let Some((arrival, _)) = state.flying.front() else {
            return if state.ended {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        };
        if *arrival > Instant::now() {
            this.timer.as_mut().reset(*arrival);
            if this.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        let (_, bytes) = state.flying.front_mut().unwrap();
        let n = bytes.len().min(buf.remaining());
        buf.put_slice(&bytes[..n]);
        bytes.advance(n);
        if bytes.is_empty() {
            state.flying.pop_front();
        }
        state.used -= n;
        state.delivered += n as u64;
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.outgoing.lock();
        if state.deaf {
            return Poll::Ready(Ok(buf.len()));
        }
        let n = buf.len().min(state.lane.buffer - state.used);
        if n == 0 && !buf.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.push(&buf[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.outgoing.lock();
        state.ended = true;
        state.wake();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_lane_delivers_at_its_rate_and_blocks_its_writer() {
        let slow = Lane {
            rate: Some(100_000),
            delay: Duration::from_secs(1),
            buffer: 50_000,
        };
        let (mut proxy, mut client, _, up) = link(WIDE, slow);
        let start = Instant::now();
        let writing = tokio::spawn(async move {
            client.write_all(&[b'x'; 200_000]).await.unwrap();
            start.elapsed()
        });
        let mut bytes = Vec::new();
        proxy.read_to_end(&mut bytes).await.unwrap();
        assert_eq!((bytes.len(), up.delivered()), (200_000, 200_000));
        let took = start.elapsed().as_secs_f64();
        // The buffer holds what is under way too: 50 kB a second of delay, and half a second more.
        assert!((2.0..7.0).contains(&took), "{took} s");
        let wrote = writing.await.unwrap().as_secs_f64();
        assert!(wrote < took && wrote > 1.0, "{wrote} s");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_passes_a_held_lane_not_even_the_end() {
        let (mut proxy, mut client, _, up) = link(WIDE, WIDE);
        up.hold();
        client.write_all(b"late").await.unwrap();
        drop(client);
        let mut bytes = Vec::new();
        let minute = Duration::from_secs(60);
        let read = tokio::time::timeout(minute, proxy.read_to_end(&mut bytes));
        assert!(read.await.is_err());
        assert_eq!((bytes.len(), up.in_flight()), (0, 4));
        up.release();
        proxy.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"late");
    }
}
