//! How long each phase of a connection may take, kept below HTTP.
//!
//! hyper looks at its timers only where it would read or poll a body next; a scraper that stops
//! reading keeps it in a write for good. So the clock is looked at by the socket, whichever way
//! it is blocked.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use adit_common::net::socket::Socket;
use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::Limits;

/// A scrape's own deadline comes first, so that its reason is told; this is for when that cannot
/// be sent either.
const AFTER_DEADLINE: Duration = Duration::from_secs(1);

/// The phase of one connection, shared by its socket and by what is served on it.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    state: Arc<Mutex<State>>,
    head_time: Duration,
    idle_time: Duration,
    page_time: Duration,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase has taken too long; never, for what keeps its own time.
    until: Option<Instant>,
    /// The answer broke off and its framing cannot say so: only a reset can.
    reset: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before the first byte of a request.
    Idle,
    /// Within a request's head.
    Head,
    /// From the head to the end of the answer.
    Serving,
    /// No longer HTTP.
    Upgraded,
}

impl Clock {
    /// A connection that was just accepted; its first byte is awaited as a head's next would be.
    pub(crate) fn start(limits: &Limits) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                phase: Phase::Idle,
                until: Some(Instant::now() + limits.head_time),
                reset: false,
            })),
            head_time: limits.head_time,
            idle_time: limits.idle_time,
            page_time: limits.page_time,
        }
    }

    /// A request's head is complete. Until the guard is dropped the connection is serving.
    pub(crate) fn serve(&self) -> Serving {
        self.enter(Phase::Serving, Some(Instant::now() + self.page_time));
        Serving(self.clone())
    }

    /// What is served is a scrape with a deadline of its own.
    pub(crate) fn extend(&self, deadline: Instant) {
        self.enter(Phase::Serving, Some(deadline + AFTER_DEADLINE));
    }

    /// What follows is no HTTP, and keeps its own time.
    pub(crate) fn upgraded(&self) {
        self.enter(Phase::Upgraded, None);
    }

    /// Closing shall be seen as a failure by a peer that takes the close for the end of the body.
    pub(crate) fn reset_on_close(&self) {
        self.lock().reset = true;
    }

    fn enter(&self, phase: Phase, until: Option<Instant>) {
        let mut state = self.lock();
        if state.phase != Phase::Upgraded {
            state.phase = phase;
            state.until = until;
        }
    }

    fn first_byte(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Idle {
            state.phase = Phase::Head;
            state.until = Some(Instant::now() + self.head_time);
        }
    }

    fn until(&self) -> Option<Instant> {
        self.lock().until
    }

    /// Held for a few instructions and by one task nearly always.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something is being served; dropped when it is done.
#[derive(Debug)]
pub(crate) struct Serving(Clock);

impl Drop for Serving {
    fn drop(&mut self) {
        let until = Instant::now() + self.0.idle_time;
        self.0.enter(Phase::Idle, Some(until));
    }
}

/// A connection's place among those we hold: a permit, and its count.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    open: IntGauge,
}

impl Place {
    pub(crate) fn take(permit: OwnedSemaphorePermit, open: &IntGauge) -> Self {
        open.inc();
        Self {
            _permit: permit,
            open: open.clone(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// A socket that fails with `TimedOut` when its connection's phase has taken too long.
pub(crate) struct Patient {
    inner: Socket,
    clock: Clock,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
    /// Given back with the socket, whoever has it by then.
    _place: Place,
}

impl Patient {
    pub(crate) fn new(inner: Socket, clock: Clock, place: Place) -> Self {
        Self {
            inner,
            clock,
            timer: None,
            _place: place,
        }
    }

    /// For an operation that is pending.
    fn poll_pending<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let Some(until) = self.clock.until() else {
            return Poll::Pending;
        };
        let (set, timer) = self
            .timer
            .get_or_insert_with(|| (until, Box::pin(sleep_until(until))));
        if *set != until {
            *set = until;
            timer.as_mut().reset(until);
        }
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        if self.clock.lock().reset
            && let Socket::Tcp(stream) = &self.inner
        {
            // Without it the close looks like the end of the body to an HTTP/1.0 peer.
            let _ = stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(result) => {
                if buf.filled().len() > before {
                    this.clock.first_byte();
                }
                Poll::Ready(result)
            }
            Poll::Pending => this.poll_pending(cx),
        }
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_write(cx, buf) {
            Poll::Pending => this.poll_pending(cx),
            ready => ready,
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_write_vectored(cx, bufs) {
            Poll::Pending => this.poll_pending(cx),
            ready => ready,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_flush(cx) {
            Poll::Pending => this.poll_pending(cx),
            ready => ready,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.clock.lock().reset {
            // A FIN now would be the very end that must not be seen; dropping resets.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::sync::Semaphore;

    use super::*;

    fn patient() -> (Patient, UnixStream, Clock) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let clock = Clock::start(&Limits::default());
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let place = Place::take(permit, &IntGauge::new("open", "open").unwrap());
        (
            Patient::new(Socket::Unix(ours), clock.clone(), place),
            theirs,
            clock,
        )
    }

    async fn fails_after(mut patient: Patient) -> Duration {
        let start = Instant::now();
        let mut byte = [0];
        loop {
            match patient.read(&mut byte).await {
                Ok(n) => assert_eq!(n, 1),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    return start.elapsed();
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_not_kept() {
        let (patient, _theirs, _clock) = patient();
        assert_eq!(fails_after(patient).await, Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_is_cut_ten_seconds_after_its_first_byte() {
        let (patient, mut theirs, _clock) = patient();
        theirs.write_all(b"GET").await.unwrap();
        assert_eq!(fails_after(patient).await, Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_a_connection_may_rest() {
        let (patient, _theirs, clock) = patient();
        drop(clock.serve());
        assert_eq!(fails_after(patient).await, Duration::from_secs(360));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_nobody_reads_ends_after_the_scrapes_deadline() {
        let (mut patient, _theirs, clock) = patient();
        let _serving = clock.serve();
        clock.extend(Instant::now() + Duration::from_secs(3));
        let start = Instant::now();
        let error = patient.write_all(&vec![0; 16 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), Duration::from_secs(4));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_upgraded_keeps_its_own_time() {
        let (mut patient, mut theirs, clock) = patient();
        let serving = clock.serve();
        clock.upgraded();
        drop(serving);
        let late = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(86_400)).await;
            theirs.write_all(b"x").await.unwrap();
            theirs
        });
        assert_eq!(patient.read(&mut [0]).await.unwrap(), 1);
        late.await.unwrap();
    }
}
