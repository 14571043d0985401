//! A scraper's connection: it knows when bytes came, and may read slowly.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A slow scraper reads in pieces of so long.
const TICK: Duration = Duration::from_millis(20);

/// When something came by a connection since it was last asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Times(Arc<Mutex<Came>>);

/// The first and the last byte, or end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Came {
    pub(super) first: Option<Instant>,
    pub(super) last: Option<Instant>,
}

/// A connection that notes when something comes.
#[derive(Debug)]
pub(super) struct Watched {
    inner: Take<TcpStream>,
    times: Times,
    /// Bytes a second at most.
    rate: Option<u32>,
    resting: Option<Pin<Box<Sleep>>>,
}

impl Times {
    /// Nothing has come yet of what is asked for now.
    pub(super) fn reset(&self) {
        *self.lock() = Came::default();
    }

    /// What came since.
    pub(super) fn came(&self) -> Came {
        *self.lock()
    }

    fn note(&self) {
        let now = Instant::now();
        let mut came = self.lock();
        came.first.get_or_insert(now);
        came.last = Some(now);
    }

    fn lock(&self) -> MutexGuard<'_, Came> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// Reads so many bytes a second at most.
    pub(super) fn new(inner: TcpStream, times: Times, rate: Option<u32>) -> Self {
        Self {
            inner: inner.take(0),
            times,
            rate,
            resting: None,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(resting) = &mut self.resting {
            if resting.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.resting = None;
        }
        let most = self.rate.map_or(u64::MAX, |rate| {
            let bytes = f64::from(rate) * TICK.as_secs_f64();
            // Positive, and below 2^32.
            (bytes as u64).max(1)
        });
        self.inner.set_limit(most);
        let result = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        self.times.note();
        if self.rate.is_some() {
            self.resting = Some(Box::pin(sleep(TICK)));
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.inner.get_mut()).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.get_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_slow_reader_reads_slowly_and_everything() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (mut far, _) = listener.accept().await.unwrap();
        let sent: Vec<u8> = (0..10_000u32).map(|n| n.to_le_bytes()[0]).collect();
        far.write_all(&sent).await.unwrap();
        drop(far);
        let times = Times::default();
        let mut watched = Watched::new(near.unwrap(), times.clone(), Some(100_000));
        let started = Instant::now();
        let mut read = Vec::new();
        watched.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, sent);
        assert!(
            started.elapsed() >= Duration::from_millis(80),
            "{:?}",
            started.elapsed()
        );
        let came = times.came();
        assert!(came.first < came.last);
        times.reset();
        assert!(times.came().first.is_none());
    }
}
