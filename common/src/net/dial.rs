//! Dialling by name: RFC 8305 ("happy eyeballs") over every address the name has.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, sleep, timeout_at};

pub use super::race::DialFailure;

use super::race::{NO_ANSWER, in_turn, kind_of, race};
use super::socket;

/// A Unix socket has no queue to wait in: the kernel refuses when the backlog is full.
const UNIX_RETRY: Duration = Duration::from_millis(10);

/// Nobody could be reached. Displays every address tried with its own reason:
/// `could not connect to localhost:9100: ::1: connection refused; 127.0.0.1: no answer in time`.
#[derive(Debug, thiserror::Error)]
#[error("could not connect to {target}: {reason}")]
pub struct DialError {
    target: String,
    reason: String,
    kind: DialFailure,
}

impl DialError {
    /// What the failure comes down to.
    pub fn kind(&self) -> DialFailure {
        self.kind
    }
}

/// Connects to `host`, a name or an IP address without brackets, by the first of its addresses to
/// answer, which is returned too. Families take turns, IPv6 first or the one of `prefer` when the
/// name has that address; attempts start 250 ms apart, or at once when one fails. At most 16 are
/// made. The stream is [tuned](socket::tune), without a user timeout. `localhost` and all names
/// below it are `::1` and 127.0.0.1, with no lookup (RFC 6761, 6.3).
///
/// Everything is over at `deadline`. All other attempts are closed before this returns, and all of
/// them when the future is dropped; a lookup under way then ends unheard on tokio's blocking pool.
pub async fn dial(
    host: &str,
    port: u16,
    prefer: Option<IpAddr>,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let failed = |(kind, reason)| DialError {
        target: target(host, port),
        reason,
        kind,
    };
    let addresses = timeout_at(deadline, resolve(host, port))
        .await
        .unwrap_or_else(|_| Err("no answer to the name lookup in time".to_owned()))
        .map_err(|reason| failed((DialFailure::Dns, reason)))?;
    let addresses = in_turn(addresses, prefer);
    let (stream, address) = race(&addresses, deadline, connect).await.map_err(failed)?;
    socket::tune(&stream, None);
    Ok((stream, address))
}

/// Connects to the Unix socket at `path` by `deadline`, waiting while its backlog is full.
pub async fn dial_unix(path: &Path, deadline: Instant) -> Result<UnixStream, DialError> {
    let mut full = false;
    let attempts = async {
        loop {
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => full = true,
                done => return done,
            }
            sleep(UNIX_RETRY).await;
        }
    };
    let (kind, reason) = match timeout_at(deadline, attempts).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => (kind_of(&error), super::in_words(&error)),
        Err(_) if full => (DialFailure::TimedOut, "its queue is full".to_owned()),
        Err(_) => (DialFailure::TimedOut, NO_ANSWER.to_owned()),
    };
    let target = format!("unix:{}", path.display());
    Err(DialError {
        target,
        reason,
        kind,
    })
}

fn target(host: &str, port: u16) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(ip) => format!("[{ip}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![(ip, port).into()]);
    }
    if super::is_localhost(host) {
        return Ok(vec![
            (Ipv6Addr::LOCALHOST, port).into(),
            (Ipv4Addr::LOCALHOST, port).into(),
        ]);
    }
    let found = lookup_host((host, port)).await;
    let addresses: Vec<_> = found.map_err(|error| super::in_words(&error))?.collect();
    match addresses.is_empty() {
        true => Err("the name has no address".to_owned()),
        false => Ok(addresses),
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    not_itself(TcpStream::connect(address).await?)
}

/// A free port of this machine may be the very one the kernel picks for our own end, and TCP then
/// connects the socket to itself (RFC 9293, 3.5, simultaneous open): nobody listens there.
fn not_itself(stream: TcpStream) -> io::Result<TcpStream> {
    match stream.local_addr()? == stream.peer_addr()? {
        true => Err(io::ErrorKind::ConnectionRefused.into()),
        false => Ok(stream),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream as StdUnixStream;

    use tokio::net::UnixListener;

    use super::super::tests::held_port;
    use super::*;

    fn after(millis: u64) -> Instant {
        Instant::now() + Duration::from_millis(millis)
    }

    #[tokio::test]
    async fn kinds_and_words_of_a_failure() {
        let (port, _held) = held_port();
        let error = dial("::1", port, None, after(9000)).await;
        let error = error.expect_err("nobody listens");
        assert_eq!(error.kind(), DialFailure::Refused);
        let expected = format!("could not connect to [::1]:{port}: connection refused");
        assert_eq!(error.to_string(), expected);

        // A NUL makes the resolver refuse without asking any network.
        let error = dial("no\0name", 80, None, after(9000)).await;
        let error = error.expect_err("no such name");
        assert_eq!(error.kind(), DialFailure::Dns);
        let text = error.to_string();
        assert!(
            text.starts_with("could not connect to no\0name:80: "),
            "{text}"
        );

        // Multicast has no TCP: refused by the kernel itself, without a packet.
        let error = dial("224.0.0.1", 80, None, after(9000))
            .await
            .expect_err("multicast");
        assert_eq!(error.kind(), DialFailure::Unreachable, "{error}");
    }

    #[tokio::test]
    async fn a_socket_connected_to_itself_is_nobody() {
        // As a dial of a free ephemeral port, when the kernel picks that same port for our end.
        let own = tokio::net::TcpSocket::new_v4().expect("a socket");
        own.bind("127.0.0.1:0".parse().expect("an address"))
            .expect("bound");
        let address = own.local_addr().expect("an address");
        let stream = timeout_at(after(9000), own.connect(address)).await;
        let stream = stream.expect("in time").expect("simultaneous open");
        assert_eq!(
            not_itself(stream).expect_err("nobody").kind(),
            io::ErrorKind::ConnectionRefused
        );
    }

    #[tokio::test]
    async fn unix_sockets_fail_in_their_own_words() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let said = async |limit| {
            let error = dial_unix(&path, after(limit)).await.expect_err("nobody");
            let text = error.to_string();
            let start = format!("could not connect to unix:{}: ", path.display());
            let reason = text
                .strip_prefix(&start)
                .expect("names the path")
                .to_owned();
            (error.kind(), reason)
        };
        let (kind, reason) = said(9000).await;
        assert_eq!(kind, DialFailure::Unreachable);
        assert_eq!(reason, "no such file or directory");

        let listener = UnixListener::bind(&path).expect("bound");
        dial_unix(&path, after(9000)).await.expect("connected");
        drop(listener);
        assert_eq!(
            said(9000).await,
            (DialFailure::Refused, "connection refused".to_owned())
        );
    }
    #[tokio::test]
    async fn a_full_unix_queue_is_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)
            .expect("a socket");
        socket
            .bind(&socket2::SockAddr::unix(&path).expect("a path"))
            .expect("bound");
        socket.listen(0).expect("listening");
        let _filler = StdUnixStream::connect(&path).expect("the one place");
        let error = dial_unix(&path, after(50)).await.expect_err("full");
        assert_eq!(error.kind(), DialFailure::TimedOut);
        assert!(
            error.to_string().ends_with(": its queue is full"),
            "{error}"
        );

        let dialling = dial_unix(&path, after(9000));
        let (dialled, accepted) = tokio::join!(dialling, async { socket.accept() });
        accepted.expect("room is made");
        dialled.expect("taken in");
    }
}
