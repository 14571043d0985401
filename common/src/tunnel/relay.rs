//! The raw bytes of a CONNECT between a socket outside and a stream of the tunnel.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::coalesce::Pace;

/// What one direction holds at most, in bytes: one HTTP/2 frame.
const BUFFER: usize = 16 * 1024;

/// Once told to hurry, quiet of so long is the end: the wait for a slow scrape's answer is not
/// mistaken for it, a connection kept for the next scrape is.
const HURRIED_IDLE: Duration = Duration::from_secs(10);

/// Carries bytes both ways until both ended, one failed, or nothing moved for `idle`; once
/// `hurry` is cancelled, for ten seconds.
///
/// The end of one direction is passed on and the other goes on (bore's relay lost late replies).
/// What is read outside leaves for the tunnel at the rate of [`Pace`]. Returns the bytes read
/// from outside and from the tunnel. Dropping the future closes both.
///
/// # Errors
/// What either side failed with; `TimedOut` after `idle`.
pub async fn relay<O, T>(
    outside: O,
    mut tunnel: T,
    idle: Duration,
    hurry: CancellationToken,
) -> io::Result<(u64, u64)>
where
    O: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut outside = Paced {
        inner: outside,
        pace: Pace::default(),
        timer: Box::pin(sleep_until(Instant::now())),
        idle,
        quiet: Box::pin(sleep_until(Instant::now() + idle)),
        moved: Instant::now(),
        hurry: Some(Box::pin(hurry.cancelled_owned())),
    };
    copy_bidirectional_with_sizes(&mut outside, &mut tunnel, BUFFER, BUFFER).await
}

/// The outer side: reads are paced, and reads and writes are signs of life.
struct Paced<O> {
    inner: O,
    pace: Pace,
    timer: Pin<Box<Sleep>>,
    idle: Duration,
    quiet: Pin<Box<Sleep>>,
    moved: Instant,
    /// Until it is told.
    hurry: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl<O> Paced<O> {
    fn poll_quiet<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Some(hurry) = &mut self.hurry
            && hurry.as_mut().poll(cx).is_ready()
        {
            self.hurry = None;
            self.idle = self.idle.min(HURRIED_IDLE);
            self.quiet.as_mut().reset(self.moved + self.idle);
        }
        while self.quiet.as_mut().poll(cx).is_ready() {
            let until = self.moved + self.idle;
            if Instant::now() >= until {
                let idle = self.idle;
                let text = format!("nothing moved for {idle:?}");
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
            }
            self.quiet.as_mut().reset(until);
        }
        Poll::Pending
    }
}

impl<O: AsyncRead + Unpin> AsyncRead for Paced<O> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Not reading lets the kernel gather the small pieces for us.
        let at = self.pace.next();
        if at > Instant::now() {
            self.timer.as_mut().reset(at);
            ready!(self.timer.as_mut().poll(cx));
        }
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let now = Instant::now();
                self.moved = now;
                self.pace.spend(buf.filled().len() - before, now);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_quiet(cx),
        }
    }
}

impl<O: AsyncWrite + Unpin> AsyncWrite for Paced<O> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, buf) {
            Poll::Ready(result) => {
                self.moved = Instant::now();
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_quiet(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // The copy loop writes one buffer at a time.
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.poll_write(cx, first.map_or(&[], |buf| &**buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const IDLE: Duration = Duration::from_secs(600);

    #[tokio::test(start_paused = true)]
    async fn a_reply_after_the_end_of_the_question_arrives() {
        let (outside, mut scraper) = duplex(64);
        let (inside, mut target) = duplex(64);
        let relaying = tokio::spawn(relay(outside, inside, IDLE, CancellationToken::new()));
        scraper.write_all(b"question").await.unwrap();
        scraper.shutdown().await.unwrap();
        let mut asked = Vec::new();
        target.read_to_end(&mut asked).await.unwrap();
        assert_eq!(asked, b"question");
        tokio::time::sleep(Duration::from_secs(1)).await;
        target.write_all(b"late reply").await.unwrap();
        drop(target);
        let mut reply = Vec::new();
        scraper.read_to_end(&mut reply).await.unwrap();
        assert_eq!(reply, b"late reply");
        assert_eq!(relaying.await.unwrap().unwrap(), (8, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it() {
        let (outside, _scraper) = duplex(64);
        let (inside, _target) = duplex(64);
        let start = Instant::now();
        let error = relay(outside, inside, IDLE, CancellationToken::new())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn told_to_hurry_it_waits_ten_quiet_seconds() {
        let (outside, mut scraper) = duplex(64);
        let (inside, _target) = duplex(64);
        let hurry = CancellationToken::new();
        let start = Instant::now();
        let relaying = tokio::spawn(relay(outside, inside, IDLE, hurry.clone()));
        tokio::time::sleep(Duration::from_secs(60)).await;
        scraper.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        hurry.cancel();
        let error = relaying.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), Duration::from_secs(70));
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_gathered_on_its_way_into_the_tunnel() {
        let (outside, mut scraper) = duplex(4096);
        let (inside, mut target) = duplex(4096);
        let relaying = tokio::spawn(relay(outside, inside, IDLE, CancellationToken::new()));
        let writing = tokio::spawn(async move {
            for _ in 0..1000 {
                scraper.write_all(b"x").await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let (mut pieces, mut bytes, mut buf) = (0, 0, [0; 4096]);
        while bytes < 1000 {
            bytes += target.read(&mut buf).await.unwrap();
            pieces += 1;
        }
        assert!(pieces <= 32 + 52, "{pieces} pieces");
        writing.await.unwrap();
        drop(target);
        relaying.await.unwrap().unwrap();
    }
}
