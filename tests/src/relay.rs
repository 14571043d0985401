//! Distance: a TCP relay that hands every byte on a while after it came; or bytes in small pieces,
//! so that what was written together does not arrive together.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes under way in one direction at most: a long fat pipe, not a throttle.
const PIECES: usize = 1024;
const PIECE: usize = 64 * 1024;

/// Relays connections to `to`.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// On a free port of 127.0.0.1. Each way takes `delay`, whatever the number of bytes.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(to: SocketAddr, delay: Duration) -> Self {
        Self::with(
            to,
            Link {
                delay,
                piece: PIECE,
                pause: Duration::ZERO,
            },
        )
        .await
    }

    /// The same without a delay, in pieces of at most so many bytes with a pause after each.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn in_pieces(to: SocketAddr, piece: usize, pause: Duration) -> Self {
        Self::with(
            to,
            Link {
                delay: Duration::ZERO,
                piece,
                pause,
            },
        )
        .await
    }

    async fn with(to: SocketAddr, link: Link) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(to).await else {
                    continue;
                };
                for stream in [&near, &far] {
                    stream.set_nodelay(true).expect("a socket has that option");
                }
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                open.spawn(carry(near_read, far_write, link));
                open.spawn(carry(far_read, near_write, link));
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }
}

/// What one direction does to bytes.
#[derive(Debug, Clone, Copy)]
struct Link {
    delay: Duration,
    piece: usize,
    pause: Duration,
}

/// One direction, its end included. Reading goes on while earlier bytes wait for their time.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, link: Link) {
    let (sender, mut under_way) = mpsc::channel(PIECES);
    let read = async move {
        loop {
            let mut bytes = BytesMut::with_capacity(PIECE);
            match from.read_buf(&mut bytes).await {
                Ok(1..) => {}
                Ok(_) | Err(_) => break,
            }
            if sender
                .send((Instant::now() + link.delay, bytes))
                .await
                .is_err()
            {
                break;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = under_way.recv().await {
            sleep_until(due).await;
            for piece in bytes.chunks(link.piece) {
                if to.write_all(piece).await.is_err() {
                    return;
                }
                if !link.pause.is_zero() {
                    sleep(link.pause).await;
                }
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_delays_and_does_not_throttle() {
        const SIZE: usize = 4 << 20;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let delay = Duration::from_millis(25);
        let relay = Relay::start(listener.local_addr().unwrap(), delay).await;
        let mut near = TcpStream::connect(relay.address).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let started = Instant::now();
        near.write_all(b"ping").await.unwrap();
        far.read_exact(&mut [0; 4]).await.unwrap();
        far.write_all(b"pong").await.unwrap();
        near.read_exact(&mut [0; 4]).await.unwrap();
        assert!(started.elapsed() >= 2 * delay, "{:?}", started.elapsed());
        let all = vec![1; SIZE];
        let mut got = vec![0; SIZE];
        let started = Instant::now();
        let (wrote, read) = tokio::join!(near.write_all(&all), far.read_exact(&mut got));
        wrote.unwrap();
        read.unwrap();
        // One wait for every 64 KiB would be 1.6 s.
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "{:?}",
            started.elapsed()
        );
    }
}
