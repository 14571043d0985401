//! The clock of a connection, kept below HTTP.
//!
//! hyper looks at its timers only where it would read or poll a body next; a scraper that stops
//! reading keeps it in a write for good. So the clock is looked at by the socket, whichever way
//! it is blocked.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use adit_common::net::socket::Socket;
use adit_common::web_config::Secured;
use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock::Clock;

/// RFC 9110 §15.2: any number of them may come before an answer.
const INTERIM: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\n";

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
    inner: Secured,
    clock: Clock,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
    /// What is left to write of an interim answer.
    interim: &'static [u8],
    /// Given back with the socket, whoever has it by then.
    _place: Place,
}

impl Patient {
    pub(crate) fn new(inner: Secured, clock: Clock, place: Place) -> Self {
        Self {
            inner,
            clock,
            timer: None,
            interim: &[],
            _place: place,
        }
    }

    /// Writes what is left of an interim answer: nothing else may come between its bytes.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            match Pin::new(&mut self.inner).poll_write(cx, self.interim) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => self.interim = &self.interim[n..],
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_pending(cx),
            }
        }
        Poll::Ready(Ok(()))
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
        self.clock.closed();
        if self.clock.resets()
            && let Socket::Tcp(stream) = self.inner.socket()
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
        ready!(this.poll_interim(cx))?;
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
        ready!(this.poll_interim(cx))?;
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
        // hyper flushes after every turn, also when it has written nothing.
        if this.clock.takes_interim() && this.interim.is_empty() {
            this.interim = INTERIM;
        }
        ready!(this.poll_interim(cx))?;
        match Pin::new(&mut this.inner).poll_flush(cx) {
            Poll::Pending => this.poll_pending(cx),
            ready => ready,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.clock.resets() {
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

    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::Limits;

    fn patient() -> (Patient, UnixStream, Clock) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let clock = Clock::start(&Limits::default());
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let place = Place::take(permit, &IntGauge::new("open", "open").unwrap());
        (
            Patient::new(Secured::Plain(Socket::Unix(ours)), clock.clone(), place),
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
