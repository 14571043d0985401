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
use super::framing::Framing;
use super::last_words;
use crate::clock::{Clock, Coming};
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
    /// Since then bytes of an answer have waited for a peer that does not read.
    blocked: Option<Instant>,
    /// Of the head that is coming, or came last.
    framing: Framing,
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
            blocked: None,
            framing: Framing::default(),
            request_head,
            limits_reached: metrics.limits_reached.clone(),
            _place: place,
            _entry: entry,
        }
    }

    /// Bytes have come; those of a head say how its body is framed.
    fn look(&mut self, read: &[u8]) {
        match self.clock.first_byte() {
            Coming::Head => self.framing = Framing::default(),
            Coming::MoreOfIt => {}
            Coming::Else => return,
        }
        if self.framing.is_ambiguous(read) {
            self.clock.ambiguous();
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
            && let Some(words) = last_words::instead_of(answer, self.request_head)
            && !self.clock.is_serving()
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
                self.blocked = None;
                ready
            }
        }
    }

    fn poll_blocked<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.blocked.get_or_insert_with(Instant::now);
        self.poll_pending(cx)
    }

    /// The phase has taken too long. Whoever had begun to ask is told, if that can be written at once.
    fn expire(&mut self, cx: &mut Context<'_>) -> io::Error {
        let over = self
            .clock
            .until()
            .is_some_and(|until| until <= Instant::now());
        let (limit, begun) = match over {
            true => self.clock.overrun(),
            false => (Some("page_time"), false),
        };
        if let Some(limit) = limit {
            self.limits_reached.with_label_values(&[limit]).inc();
        }
        if begun && self.blocked.is_none() {
            let words = last_words::written(&Refusal::HeadTooSlow(self.clock.head_time()));
            let written = Pin::new(&mut self.inner).poll_write(cx, &words);
            if let Poll::Ready(Ok(_)) = written {
                // Nobody is left to hear what becomes of it.
                let _ = Pin::new(&mut self.inner).poll_flush(cx);
            }
        }
        io::ErrorKind::TimedOut.into()
    }

    /// When it has taken too long. What is done with may still wait to be read, with nothing that is
    /// being served to keep its time, or with something that has no end.
    fn until(&self) -> Option<Instant> {
        let until = self.clock.until();
        match self.blocked {
            Some(since) if !self.clock.is_serving() || self.clock.is_endless() => {
                let read = since + self.clock.page_time();
                Some(until.map_or(read, |until| until.min(read)))
            }
            _ => until,
        }
    }

    /// For an operation that is pending.
    fn poll_pending<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let Some(until) = self.until() else {
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
                let read = &buf.filled()[before..];
                if !read.is_empty() {
                    this.look(read);
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
                this.blocked = None;
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
#[path = "patience_tests.rs"]
mod tests;
