//! Listening TCP sockets, and what a machine without IPv6 gets instead.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Type};
use tokio::net::TcpListener;

/// How often a pair of equal ports is sought. Each try fails only when a stranger holds that very
/// port on `::1`, so two would do on any machine that is not out of ports.
const PAIR_ATTEMPTS: usize = 32;

/// One socket, listening. Needs the runtime.
pub(super) fn open(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Else `net.ipv6.bindv6only` decides, and `[::]` serves IPv4 on one machine and not on the next.
        socket.set_only_v6(false)?;
    }
    // A restart finds the old connections in TIME_WAIT; without this it could not bind for a minute.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// `[::]`, both families; 0.0.0.0 where the kernel has no IPv6.
pub(super) fn open_any(
    port: u16,
    open: impl Fn(SocketAddr) -> io::Result<TcpListener>,
) -> io::Result<TcpListener> {
    match open((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(cause) if is_unknown_family(&cause) => {
            tracing::info!(port, "no IPv6 in this kernel: listening on IPv4 only");
            open((Ipv4Addr::UNSPECIFIED, port).into())
        }
        done => done,
    }
}

/// 127.0.0.1 and `::1` at one port, or 127.0.0.1 alone on a machine without IPv6. An error comes
/// with the address it is about.
pub(super) fn open_pair(
    port: u16,
    open: impl Fn(SocketAddr) -> io::Result<TcpListener>,
) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut attempts = if port == 0 { PAIR_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let v4 = open(wanted).map_err(|cause| (wanted, cause))?;
        let bound = v4.local_addr().map_err(|cause| (wanted, cause))?;
        let twin = SocketAddr::from((Ipv6Addr::LOCALHOST, bound.port()));
        match open(twin) {
            Ok(v6) => return Ok(vec![v4, v6]),
            Err(cause) if is_without_ipv6(&cause) => {
                tracing::info!(address = %bound, "no IPv6 on this machine: listening on IPv4 only");
                return Ok(vec![v4]);
            }
            Err(cause) if cause.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {}
            Err(cause) => return Err((twin, cause)),
        }
    }
}

/// The kernel has no IPv6 (`ipv6.disable=1`), or it is switched off on the loopback
/// (`disable_ipv6=1`), so that `::1` is nobody's.
fn is_without_ipv6(cause: &io::Error) -> bool {
    is_unknown_family(cause) || cause.kind() == io::ErrorKind::AddrNotAvailable
}

fn is_unknown_family(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(EAFNOSUPPORT)
}

/// std has no `ErrorKind` for it; 47 is that of macOS and the BSDs.
const EAFNOSUPPORT: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    97
} else {
    47
};

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Fails IPv6 as a machine with that fault would.
    fn without_ipv6(fault: i32) -> impl Fn(SocketAddr) -> io::Result<TcpListener> {
        move |address| match address {
            SocketAddr::V4(_) => open(address, 8),
            SocketAddr::V6(_) => Err(io::Error::from_raw_os_error(fault)),
        }
    }

    const EACCES: i32 = 13;
    const EADDRINUSE: i32 = 98;
    const EADDRNOTAVAIL: i32 = 99;

    fn ip_of(listener: &TcpListener) -> String {
        listener.local_addr().expect("an address").ip().to_string()
    }

    #[tokio::test]
    async fn a_machine_without_ipv6_gets_ipv4() {
        for fault in [EAFNOSUPPORT, EADDRNOTAVAIL] {
            let listeners = open_pair(0, without_ipv6(fault)).expect("IPv4 alone");
            let ips: Vec<String> = listeners.iter().map(ip_of).collect();
            assert_eq!(ips, ["127.0.0.1"]);
        }
        let listener = open_any(0, without_ipv6(EAFNOSUPPORT)).expect("IPv4 alone");
        assert_eq!(ip_of(&listener), "0.0.0.0");
    }

    #[tokio::test]
    async fn any_other_fault_of_ipv6_is_an_error() {
        let (address, _) = open_pair(0, without_ipv6(EACCES)).expect_err("there, but not for us");
        assert!(address.is_ipv6());
        open_any(0, without_ipv6(EADDRINUSE)).expect_err("there, but taken");
    }

    #[tokio::test]
    async fn a_pair_is_sought_at_other_ports_but_not_for_ever() {
        let tries = Cell::new(0);
        let taken = |times: usize| {
            let tries = &tries;
            move |address: SocketAddr| {
                tries.set(tries.get() + usize::from(address.is_ipv6()));
                match tries.get() <= times {
                    true => without_ipv6(EADDRINUSE)(address),
                    // Port 0: what matters here is that it is asked for again.
                    false => open((address.ip(), 0).into(), 8),
                }
            }
        };
        assert_eq!(open_pair(0, taken(3)).expect("in the end").len(), 2);
        assert_eq!(tries.replace(0), 4);
        open_pair(0, taken(usize::MAX)).expect_err("never a pair");
        assert_eq!(tries.replace(0), PAIR_ATTEMPTS);
        let chosen = open_pair(0, taken(0)).expect("free")[0].local_addr();
        tries.set(0);
        let port = chosen.expect("an address").port();
        open_pair(port, taken(usize::MAX)).expect_err("the user's port and no other");
        assert_eq!(tries.get(), 1);
    }
}
