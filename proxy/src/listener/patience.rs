//! The clock of a connection, kept below HTTP.
//!
//! hyper looks at its timers only where it would read or poll a body next; a scraper that stops
//! reading keeps it in a write for good. So the clock is looked at by the socket, whichever way
//! it is blocked.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use adit_common::web_config::Secured;
use bytes::{Buf as _, Bytes};
use prometheus::{IntCounterVec, IntGauge};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use super::crowd::Entry;
use super::last_words;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::scrape::Refusal;

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
    /// What is left to write that is ours and not hyper's: an interim answer, or our words instead of
    /// an answer of its own.
    own: Bytes,
    /// So many bytes of hyper's answer that ours replaces.
    instead: Option<usize>,
    /// Bytes of an answer wait for a peer that does not read.
    blocked: bool,
    request_head: usize,
    limits_reached: IntCounterVec,
    /// Given back with the socket, whoever has it by then.
    _place: Place,
    _entry: Arc<Entry>,
}

impl Patient {
    pub(super) fn new(
        inner: Secured,
        clock: Clock,
        request_head: usize,
        metrics: &Metrics,
        (place, entry): (Place, Arc<Entry>),
    ) -> Self {
        Self {
            inner,
            clock,
            timer: None,
            own: Bytes::new(),
            instead: None,
            blocked: false,
            request_head,
            limits_reached: metrics.limits_reached.clone(),
            _place: place,
            _entry: entry,
        }
    }

    /// Writes what is left of our own: nothing else may come between its bytes.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.own.is_empty() {
            match Pin::new(&mut self.inner).poll_write(cx, &self.own) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => self.own.advance(n),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_blocked(cx),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what hyper would, or our words instead of it; gives how many of its bytes are done with.
    fn poll_put(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_own(cx))?;
        if let Some(length) = self.instead.take() {
            return Poll::Ready(Ok(length));
        }
        // hyper answers by itself only where no request of ours is being served, in one piece.
        if let [answer] = bufs
            && !self.clock.is_serving()
            && let Some(words) = last_words::instead_of(answer, self.request_head)
        {
            self.own = words;
            self.instead = Some(answer.len());
            ready!(self.poll_own(cx))?;
            self.instead = None;
            return Poll::Ready(Ok(answer.len()));
        }
        match Pin::new(&mut self.inner).poll_write_vectored(cx, bufs) {
            Poll::Pending => self.poll_blocked(cx),
            ready => {
                self.blocked = false;
                ready
            }
        }
    }

    fn poll_blocked<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.blocked = true;
        self.poll_pending(cx)
    }

    /// The phase has taken too long. Whoever had begun to ask is told, if that can be written at once.
    fn expire(&mut self, cx: &mut Context<'_>) -> io::Error {
        let (limit, begun) = self.clock.overrun();
        if let Some(limit) = limit {
            self.limits_reached.with_label_values(&[limit]).inc();
        }
        if begun && !self.blocked {
            let words = last_words::written(&Refusal::HeadTooSlow(self.clock.head_time()));
            let written = Pin::new(&mut self.inner).poll_write(cx, &words);
            if let Poll::Ready(Ok(_)) = written {
                // Nobody is left to hear what becomes of it.
                let _ = Pin::new(&mut self.inner).poll_flush(cx);
            }
        }
        io::ErrorKind::TimedOut.into()
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
            Poll::Ready(()) => Poll::Ready(Err(self.expire(cx))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        self.clock.closed();
        if self.clock.resets()
            && let Some(stream) = self.inner.socket().tcp()
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
        self.get_mut().poll_put(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_put(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // hyper flushes after every turn, also when it has written nothing.
        if this.clock.takes_interim() && this.own.is_empty() {
            this.own = Bytes::from_static(INTERIM);
        }
        ready!(this.poll_own(cx))?;
        match Pin::new(&mut this.inner).poll_flush(cx) {
            Poll::Pending => this.poll_blocked(cx),
            ready => {
                this.blocked = false;
                ready
            }
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

    use std::time::Duration;

    use super::*;
    use crate::config::Limits;

    fn patient() -> (Patient, UnixStream, Clock) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let clock = Clock::start(&Limits::default());
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let metrics = Metrics::new().unwrap();
        let place = Place::take(permit, &metrics.connections);
        let places = (place, Arc::new(Entry::Exempt));
        let socket = Secured::Plain(ours.into());
        let patient = Patient::new(socket, clock.clone(), 4096, &metrics, places);
        (patient, theirs, clock)
    }

    fn reached(patient: &Patient, limit: &str) -> u64 {
        let counters = &patient.limits_reached;
        counters.with_label_values(&[limit]).get()
    }

    /// All that was written to a peer, once the socket is closed.
    async fn heard(mut theirs: UnixStream) -> String {
        let mut text = String::new();
        theirs.read_to_string(&mut text).await.unwrap();
        text
    }

    async fn fails_after(patient: &mut Patient) -> Duration {
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
        let (mut patient, theirs, _clock) = patient();
        assert_eq!(fails_after(&mut patient).await, Duration::from_secs(10));
        assert_eq!(reached(&patient, "head_time"), 1);
        drop(patient);
        // Whoever has not asked would take it for the answer to what they ask next.
        assert_eq!(heard(theirs).await, "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_is_cut_ten_seconds_after_its_first_byte() {
        let (mut patient, mut theirs, _clock) = patient();
        theirs.write_all(b"GET").await.unwrap();
        assert_eq!(fails_after(&mut patient).await, Duration::from_secs(10));
        assert_eq!(reached(&patient, "head_time"), 1);
        drop(patient);
        let text = heard(theirs).await;
        assert!(
            text.starts_with(
                "HTTP/1.1 408 the request's head took longer than 10s (head_time)\r\n"
            ),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_said_between_the_bytes_of_an_answer() {
        let (mut patient, mut theirs, clock) = patient();
        // An answer that is not read, and the drip of a next head behind it.
        drop(clock.serve());
        theirs.write_all(b"GET").await.unwrap();
        assert_eq!(patient.read(&mut [0; 8]).await.unwrap(), 3);
        let answer = vec![b'a'; 16 << 20];
        let error = patient.write_all(&answer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(reached(&patient, "head_time"), 1);
        drop(patient);
        let text = heard(theirs).await;
        assert!(text.bytes().all(|byte| byte == b'a'));
    }

    const HYPERS: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

    #[tokio::test]
    async fn an_answer_of_hypers_gets_words_and_a_targets_does_not() {
        for serving in [true, false] {
            let (mut patient, theirs, clock) = patient();
            let served = serving.then(|| clock.serve());
            patient.write_all(HYPERS).await.unwrap();
            patient.flush().await.unwrap();
            drop((patient, served));
            let text = heard(theirs).await;
            match serving {
                true => assert_eq!(text.as_bytes(), HYPERS),
                false => assert!(text.contains("larger than 4KiB (request_head)"), "{text}"),
            }
        }
    }

    #[tokio::test]
    async fn words_that_are_not_read_at_once_come_whole() {
        let (mut patient, mut theirs, clock) = patient();
        let full = {
            let serving = clock.serve();
            let mut full = 0;
            let write = async |patient: &mut Patient| patient.write(&[b'a'; 4096]).await.unwrap();
            while let Ok(n) =
                tokio::time::timeout(Duration::from_millis(50), write(&mut patient)).await
            {
                full += n;
            }
            drop(serving);
            full
        };
        let writing = tokio::spawn(async move {
            patient.write_all(HYPERS).await.unwrap();
        });
        let mut before = vec![0; full];
        theirs.read_exact(&mut before).await.unwrap();
        let text = heard(theirs).await;
        writing.await.unwrap();
        assert!(
            text.starts_with("HTTP/1.1 431 the request's head"),
            "{text}"
        );
        assert_eq!(text.matches("HTTP/1.1").count(), 1);
        assert!(text.ends_with("fields\n"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_a_connection_may_rest() {
        let (mut patient, _theirs, clock) = patient();
        drop(clock.serve());
        assert_eq!(fails_after(&mut patient).await, Duration::from_secs(360));
        assert_eq!(reached(&patient, "idle_time"), 1);
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
