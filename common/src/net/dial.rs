//! Dialling by name: RFC 8305 ("happy eyeballs") over every address the name has.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, sleep, timeout_at};

pub use super::race::DialFailure;

use super::permit::Permit;
use super::race::{NO_ANSWER, in_turn, kind_of, race};
use super::socket;

/// A Unix socket has no queue to wait in: the kernel refuses when the backlog is full.
const UNIX_RETRY: Duration = Duration::from_millis(10);

/// Of the addresses that may not be dialled so many are named.
const MAX_REFUSED: usize = 4;

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
    dial_permitted(host, port, Permit::Any, prefer, deadline).await
}

/// The same, by those addresses of a name only that `permit` lets through: each is checked between
/// the one lookup and its dial, and is itself what is dialled. What was refused is named in the
/// error, if there is one.
pub async fn dial_permitted(
    host: &str,
    port: u16,
    permit: Permit,
    prefer: Option<IpAddr>,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let lookup = |host, port| async move { lookup_host((host, port)).await.map(Iterator::collect) };
    let order = Order {
        host,
        port,
        permit,
        prefer,
        deadline,
    };
    let (stream, address) = order.carry_out(lookup, connect).await?;
    socket::tune(&stream, None);
    Ok((stream, address))
}

/// What is to be dialled.
struct Order<'a> {
    host: &'a str,
    port: u16,
    permit: Permit,
    prefer: Option<IpAddr>,
    deadline: Instant,
}

impl<'a> Order<'a> {
    /// With a resolver and a connector; either is a test's own in tests.
    async fn carry_out<S, L, C>(
        self,
        lookup: impl FnOnce(&'a str, u16) -> L,
        connect: impl Fn(SocketAddr) -> C,
    ) -> Result<(S, SocketAddr), DialError>
    where
        L: Future<Output = io::Result<Vec<SocketAddr>>>,
        C: Future<Output = io::Result<S>>,
    {
        let failed = |(kind, reason)| DialError {
            target: target(self.host, self.port),
            reason,
            kind,
        };
        let resolving = resolve(self.host, self.port, lookup);
        let resolved = timeout_at(self.deadline, resolving)
            .await
            .unwrap_or_else(|_| Err("no answer to the name lookup in time".to_owned()))
            .map_err(|reason| failed((DialFailure::Dns, reason)))?;
        let (addresses, refused) = match resolved {
            Resolved::Written(ip) => (vec![ip], Vec::new()),
            Resolved::Found(addresses) => sift(addresses, self.permit),
        };
        // Before they are put in order: those refused take no places from the others.
        let addresses = in_turn(addresses, self.prefer);
        if addresses.is_empty() {
            return Err(failed((DialFailure::Forbidden, refused.join("; "))));
        }
        let raced = race(&addresses, self.deadline, connect).await;
        raced.map_err(|(kind, reason)| {
            let reasons = [vec![reason], refused].concat();
            failed((kind, reasons.join("; ")))
        })
    }
}

/// Those that may be dialled; and of the others, each once, which it is and why it may not.
fn sift(addresses: Vec<SocketAddr>, permit: Permit) -> (Vec<SocketAddr>, Vec<String>) {
    let mut refused = Vec::new();
    let mut permitted = addresses;
    permitted.retain(|address| {
        let Some(what) = permit.refuses(address.ip()) else {
            return true;
        };
        let words = format!(
            "{} is {what}, and dialled only when written as such",
            address.ip()
        );
        if !refused.contains(&words) && refused.len() < MAX_REFUSED {
            refused.push(words);
        }
        false
    });
    (permitted, refused)
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

/// What a host stands for.
enum Resolved {
    /// The address that is written in its place.
    Written(SocketAddr),
    /// A name's; at least one.
    Found(Vec<SocketAddr>),
}

async fn resolve<'a, L>(
    host: &'a str,
    port: u16,
    lookup: impl FnOnce(&'a str, u16) -> L,
) -> Result<Resolved, String>
where
    L: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Resolved::Written((ip, port).into()));
    }
    if super::is_localhost(host) {
        return Ok(Resolved::Found(vec![
            (Ipv6Addr::LOCALHOST, port).into(),
            (Ipv4Addr::LOCALHOST, port).into(),
        ]));
    }
    let found = lookup(host, port).await;
    let addresses = found.map_err(|error| super::in_words(&error))?;
    match addresses.is_empty() {
        true => Err("the name has no address".to_owned()),
        false => Ok(Resolved::Found(addresses)),
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
#[path = "dial_tests.rs"]
mod tests;
