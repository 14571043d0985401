//! From a listen address to the sockets it means.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use tokio::net::{TcpListener, UnixListener, lookup_host};

pub use super::address::{ListenAddress, ParseListenAddressError};
use super::socket::{self, Peer, Socket};
use super::tcp;
use super::unix::{self, SocketFile};

/// Room for a scrape interval's burst between two turns of the accept loop; the kernel caps it at
/// `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// One bound socket. Dropping it closes the socket, and removes a Unix socket's file.
#[derive(Debug)]
pub struct Listener {
    socket: Bound,
    local: Local,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "held for its drop")] SocketFile,
    ),
}

/// Where a [`Listener`] is bound, with the port the system chose if it was asked to. Displays as
/// `127.0.0.1:8080`, `[::1]:8080` or `unix:/path`, each of which is a [`ListenAddress`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// The socket's path.
    Unix(PathBuf),
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An address could not be listened on; says which, and why.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on {address}: {reason}")]
pub struct BindError {
    address: String,
    reason: String,
}

impl BindError {
    fn new(address: &impl fmt::Display, cause: &io::Error) -> Self {
        Self {
            address: address.to_string(),
            reason: reason(cause),
        }
    }

    /// Of `ip` among the addresses that the name in `written` has.
    fn of_one(written: &ListenAddress, ip: SocketAddr, cause: &io::Error) -> Self {
        let reason = reason(cause);
        Self {
            address: written.to_string(),
            reason: format!("{ip}: {reason} (to leave it out, list the addresses wanted)"),
        }
    }
}

impl Listener {
    fn tcp(socket: TcpListener) -> io::Result<Self> {
        let local = Local::Tcp(socket.local_addr()?);
        let socket = Bound::Tcp(socket);
        Ok(Self { socket, local })
    }

    /// The next connection, with `TCP_NODELAY` on. Cancel safe: a dropped call loses no
    /// connection. An error concerns that one connection, or the process being out of file
    /// descriptors; the listener stays usable, so log, pause and call again.
    pub async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match &self.socket {
            Bound::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                socket::without_delay(&stream);
                Ok((Socket::Tcp(stream), Peer::from(address)))
            }
            Bound::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), Peer::Unix))
            }
        }
    }

    /// Where it is bound.
    pub fn local(&self) -> &Local {
        &self.local
    }
}

/// Binds all that `address` means, or nothing. With port 0 each socket gets a port of its own.
/// Needs the runtime; cancelling it closes what was bound.
pub async fn bind(address: &ListenAddress) -> Result<Vec<Listener>, BindError> {
    let failed = |cause: io::Error| BindError::new(address, &cause);
    match address {
        ListenAddress::Any(port) => {
            let socket = tcp::open_any(*port, open).map_err(failed)?;
            Ok(vec![Listener::tcp(socket).map_err(failed)?])
        }
        ListenAddress::Ip(ip) => {
            let listener = open(*ip).and_then(Listener::tcp).map_err(failed)?;
            Ok(vec![listener])
        }
        ListenAddress::Name(name, port) => {
            let addresses = addresses_of(name, *port).await.map_err(failed)?;
            let listeners = addresses.into_iter().map(|ip| {
                let listener = open(ip).and_then(Listener::tcp);
                listener.map_err(|cause| BindError::of_one(address, ip, &cause))
            });
            listeners.collect()
        }
        ListenAddress::Unix(path) => {
            let (socket, file) = unix::open(path, BACKLOG).await.map_err(failed)?;
            let socket = Bound::Unix(socket, file);
            let local = Local::Unix(path.clone());
            Ok(vec![Listener { socket, local }])
        }
    }
}

/// Binds 127.0.0.1 and `::1`, both to the same port also when `port` is 0. This is the default of
/// a user who said nothing, so a machine without IPv6 gets only IPv4 and a log line; any other
/// failure is an error. Needs the runtime.
pub async fn bind_loopback_pair(port: u16) -> Result<Vec<Listener>, BindError> {
    let failed = |(address, cause)| BindError::new(&address, &cause);
    let sockets = tcp::open_pair(port, open).map_err(failed)?;
    let listeners = sockets.into_iter().map(|socket| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Listener::tcp(socket).map_err(|cause| failed((address, cause)))
    });
    listeners.collect()
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    tcp::open(address, BACKLOG)
}

/// All addresses of `name`, each once. `localhost` is both loopbacks whatever `/etc/hosts` says:
/// many a hosts file has only one of them.
async fn addresses_of(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if super::is_localhost(name) {
        return Ok(vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ]);
    }
    let mut addresses = Vec::new();
    for address in lookup_host((name, port)).await? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(addresses)
}

fn reason(cause: &io::Error) -> String {
    // An error of our own says it already.
    if cause.raw_os_error().is_none() {
        return super::in_words(cause);
    }
    let words = match cause.kind() {
        io::ErrorKind::AddrInUse => {
            "already in use; stop what listens there or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => "not an address of this machine",
        io::ErrorKind::NotFound => "its directory does not exist",
        io::ErrorKind::PermissionDenied => {
            "permission denied; a port below 1024 needs CAP_NET_BIND_SERVICE, a socket a directory to write in"
        }
        _ => return super::in_words(cause),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::tests::{held_port, port_of};
    use super::*;

    async fn bind_text(written: &str) -> Result<Vec<Listener>, BindError> {
        bind(&written.parse().expect("a listen address")).await
    }

    async fn refusal(written: &str) -> String {
        let error = bind_text(written).await.expect_err("refused");
        let start = format!("could not listen on {written}: ");
        let text = error.to_string();
        text.strip_prefix(&start).expect(&text).to_owned()
    }

    const IN_USE: &str = "already in use; stop what listens there or choose another port";

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let pair = bind_loopback_pair(0).await.expect("bound");
        let port = port_of(&pair[0]);
        for listener in &pair {
            assert_eq!(refusal(&listener.local().to_string()).await, IN_USE);
        }
        for everywhere in [format!(":{port}"), format!("0.0.0.0:{port}")] {
            assert_eq!(refusal(&everywhere).await, IN_USE);
        }
        let error = bind_loopback_pair(port).await.expect_err("both are taken");
        let expected = format!("could not listen on 127.0.0.1:{port}: {IN_USE}");
        assert_eq!(error.to_string(), expected);
    }

    #[tokio::test]
    async fn a_name_is_bound_whole_or_not_at_all() {
        let (port, _held) = held_port();
        let localhost = format!("localhost:{port}");
        let listeners = bind_text(&localhost).await.expect("bound");
        let bound: Vec<String> = listeners
            .iter()
            .map(|one| one.local().to_string())
            .collect();
        assert_eq!(
            bound,
            [format!("127.0.0.1:{port}"), format!("[::1]:{port}")]
        );
        drop(listeners);

        let _v6 = bind_text(&format!("[::1]:{port}")).await.expect("bound");
        let expected =
            format!("[::1]:{port}: {IN_USE} (to leave it out, list the addresses wanted)");
        assert_eq!(refusal(&localhost).await, expected);
        let v4 = format!("127.0.0.1:{port}");
        bind_text(&v4)
            .await
            .expect("not held by the attempt that failed");
    }

    #[tokio::test]
    async fn what_is_not_ours_is_refused() {
        // 192.0.2.0/24 is documentation's (RFC 5737).
        assert_eq!(
            refusal("192.0.2.1:0").await,
            "not an address of this machine"
        );
        assert_eq!(
            refusal("unix:/no/such/dir/s").await,
            "its directory does not exist"
        );
        // A NUL makes the resolver refuse without asking any network.
        let nowhere = ListenAddress::Name("no\0name".to_owned(), 80);
        let error = bind(&nowhere).await.expect_err("no such name").to_string();
        assert!(
            error.starts_with("could not listen on no\0name:80: "),
            "{error}"
        );
    }

    #[tokio::test]
    async fn the_default_pair_shares_a_port() {
        let pair = bind_loopback_pair(0).await.expect("bound");
        let bound: Vec<String> = pair.iter().map(|one| one.local().to_string()).collect();
        let port = port_of(&pair[0]);
        assert_eq!(
            bound,
            [format!("127.0.0.1:{port}"), format!("[::1]:{port}")]
        );
    }

    #[tokio::test]
    async fn a_unix_listener_says_its_path_and_accepts() {
        let dir = tempfile::tempdir().expect("a directory");
        let written = format!("unix:{}/s", dir.path().display());
        let listeners = bind_text(&written).await.expect("bound");
        assert_eq!(listeners[0].local().to_string(), written);
        let meeting = async {
            tokio::join!(
                tokio::net::UnixStream::connect(dir.path().join("s")),
                listeners[0].accept()
            )
        };
        let (dialled, accepted) = timeout(Duration::from_secs(10), meeting)
            .await
            .expect("in time");
        dialled.expect("connected");
        assert_eq!(accepted.expect("accepted").1, Peer::Unix);
        let said = refusal(&written).await;
        assert_eq!(
            said,
            "already in use; stop what listens there or choose another path"
        );
    }

    #[tokio::test]
    async fn an_accepted_connection_does_not_wait_for_more_to_send() {
        let listeners = bind_text("127.0.0.1:0").await.expect("bound");
        let address = listeners[0].local().to_string();
        let meeting = async {
            tokio::join!(
                tokio::net::TcpStream::connect(&address),
                listeners[0].accept()
            )
        };
        let (dialled, accepted) = timeout(Duration::from_secs(10), meeting)
            .await
            .expect("in time");
        dialled.expect("connected");
        let (Socket::Tcp(stream), _) = accepted.expect("accepted") else {
            panic!("no TCP")
        };
        assert!(stream.nodelay().expect("readable"));
    }
}
