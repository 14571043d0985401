//! An accepted or dialled connection, and who is at its other end.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// NAT tables forget a silent TCP connection after as little as a minute: first probe well before.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A byte stream over TCP or a Unix socket.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
    /// One of which something was read already, see [`Socket::again`].
    Again {
        /// What comes next.
        first: Bytes,
        /// What comes behind it.
        rest: Box<Socket>,
    },
}

impl Socket {
    /// The same, as if `first` had not been read.
    #[must_use]
    pub fn again(self, first: Bytes) -> Self {
        match first.is_empty() {
            true => self,
            false => Self::Again {
                first,
                rest: Box::new(self),
            },
        }
    }

    /// The TCP connection, if it is one.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Unix(_) => None,
            Self::Again { rest, .. } => rest.tcp(),
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

/// Who connected. Made from a `SocketAddr` it is canonical: an IPv4 peer of a dual-stack socket is
/// `192.0.2.7`, never `::ffff:192.0.2.7`, so that access lists and logs know it by one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An IP address and port; port 0 when a front proxy told the address alone.
    Ip(SocketAddr),
    /// Somebody on this machine.
    Unix,
}

impl Peer {
    /// The peer's IP address; `None` on a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(mut address: SocketAddr) -> Self {
        // Only a mapped address is replaced: another IPv6 address would lose its scope.
        if let ip @ IpAddr::V4(_) = address.ip().to_canonical() {
            address = SocketAddr::new(ip, address.port());
        }
        Self::Ip(address)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) if address.port() == 0 => address.ip().fmt(f),
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Sets what a long-lived connection needs: `TCP_NODELAY`, keep-alive probes after 30 s and then
/// every 15 s, and `TCP_USER_TIMEOUT` (RFC 5482, Linux) when one is given: how long sent bytes may
/// go unacknowledged before the kernel gives up. A connection works without any of them, so a
/// refusal is only a debug line.
pub fn tune(stream: &TcpStream, user_timeout: Option<Duration>) {
    without_delay(stream);
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    note("keep-alive", socket.set_tcp_keepalive(&keepalive));
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if user_timeout.is_some() {
        note(
            "TCP_USER_TIMEOUT",
            socket.set_tcp_user_timeout(user_timeout),
        );
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = user_timeout;
}

/// A scrape's head is one small write that Nagle's algorithm would hold back.
pub(super) fn without_delay(stream: &TcpStream) {
    note("TCP_NODELAY", stream.set_nodelay(true));
}

fn note(option: &str, set: io::Result<()>) {
    if let Err(error) = set {
        tracing::debug!(option, %error, "socket option not set");
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Again { first, rest } if first.is_empty() => {
                Pin::new(&mut **rest).poll_read(cx, buf)
            }
            Self::Again { first, .. } => {
                let n = first.len().min(buf.remaining());
                buf.put_slice(&first.split_to(n));
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Again { rest, .. } => Pin::new(&mut **rest).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Again { rest, .. } => Pin::new(&mut **rest).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Again { rest, .. } => rest.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Again { rest, .. } => Pin::new(&mut **rest).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Again { rest, .. } => Pin::new(&mut **rest).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn tcp_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let (near, far) = timeout(LIMIT, async {
            tokio::join!(TcpStream::connect(address), listener.accept())
        })
        .await
        .expect("in time");
        (near.expect("connected"), far.expect("accepted").0)
    }

    #[test]
    fn an_ipv4_peer_has_one_name() {
        for (seen, named) in [
            ("[::ffff:192.0.2.7]:5000", "192.0.2.7:5000"),
            ("192.0.2.7:5000", "192.0.2.7:5000"),
            ("[2001:db8::1]:5000", "[2001:db8::1]:5000"),
            ("[fe80::1%3]:5000", "[fe80::1%3]:5000"),
            ("[::ffff:192.0.2.7]:0", "192.0.2.7"),
            ("[2001:db8::1]:0", "2001:db8::1"),
        ] {
            let peer = Peer::from(seen.parse::<SocketAddr>().expect("an address"));
            assert_eq!(peer.to_string(), named);
        }
        assert_eq!(Peer::Unix.to_string(), "unix");
        assert_eq!(Peer::Unix.ip(), None);
    }

    #[tokio::test]
    async fn tuning_reaches_the_kernel() {
        let (stream, _far) = tcp_pair().await;
        tune(&stream, None);
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().expect("readable"));
        assert!(socket.keepalive().expect("readable"));
        assert_eq!(
            socket.tcp_keepalive_time().expect("readable"),
            KEEPALIVE_IDLE
        );
        assert_eq!(
            socket.tcp_keepalive_interval().expect("readable"),
            KEEPALIVE_INTERVAL
        );
        #[cfg(target_os = "linux")]
        {
            assert_eq!(socket.tcp_user_timeout().expect("readable"), None);
            tune(&stream, Some(LIMIT));
            assert_eq!(socket.tcp_user_timeout().expect("readable"), Some(LIMIT));
        }
    }

    #[tokio::test]
    async fn both_kinds_carry_bytes_and_their_end() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let (tcp_near, tcp_far) = tcp_pair().await;
        let first = Bytes::from_static(b"before ");
        let again = |far: Socket| {
            let twice = far.again(Bytes::from_static(b"that, "));
            twice.again(first.clone()).again(Bytes::new())
        };
        let (other, again_far) = UnixStream::pair().expect("a pair");
        for (mut near, mut far, before) in [
            (Socket::from(near), Socket::from(far), ""),
            (Socket::from(tcp_near), Socket::from(tcp_far), ""),
            (
                Socket::from(other),
                again(again_far.into()),
                "before that, ",
            ),
        ] {
            assert!(far.is_write_vectored());
            assert!(near.is_write_vectored());
            let parts = [IoSlice::new(b"one "), IoSlice::new(b"write")];
            let written = near.write_vectored(&parts).await.expect("written");
            assert_eq!(written, 9, "both parts in one call");
            near.write_all(b"!").await.expect("written");
            near.shutdown().await.expect("shut down");
            let mut got = String::new();
            timeout(LIMIT, far.read_to_string(&mut got))
                .await
                .expect("in time")
                .expect("read");
            assert_eq!(got, format!("{before}one write!"));
        }
    }
}
