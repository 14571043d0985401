//! How a connection comes to be, at either end.
//!
//! **In.** [`ListenAddress`](address::ListenAddress) is what an operator wrote: `:8080`,
//! `[::1]:8080`, `nas:8080`, `unix:/run/adit.sock`. [`listen`] turns it into one
//! [`Listener`](listen::Listener) for every address it means, or fails: half a name bound is a
//! service that answers by one family and not by the other, and that is found out late. A socket
//! for all interfaces takes both families whatever the kernel's `bindv6only` says; a Unix socket
//! replaces a dead one and never a live one (`unix`). What is accepted is a
//! [`Socket`](socket::Socket) and its [`Peer`](socket::Peer), whose address is the one the peer
//! would give: IPv4 is IPv4 also when it came in by an IPv6 socket.
//!
//! **Out.** [`dial`] resolves a name, races its addresses as RFC 8305 says (`race`), and closes the losers.
//! `localhost` is both loopbacks and never a lookup (RFC 6761). An address that hangs costs 250 ms,
//! not the two minutes the kernel would wait, and a failure names each address with its own reason.
//! Where others choose what a name leads to, [`permit`] says which of its addresses are dialled at all.
//!
//! **Over TLS.** [`tls`] lays a client's TLS over whatever was dialled, and says in plain words
//! what is wrong with a certificate.
//!
//! Every wait here takes a deadline, except `accept`; every future here may be dropped, and closes
//! what it had opened.

pub mod address;
pub mod listen;
mod tcp;
mod unix;

pub mod socket;

pub mod dial;
pub mod permit;
mod race;

pub mod tls;

use std::io;

/// Whether RFC 6761 reserves `name` for the loopback addresses: `localhost` and all below it.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("localhost")
}

/// The operating system's reason in this project's style: lower case, and no error number.
fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    // What tokio puts before the resolver's own words; the caller has said as much already.
    let text = text.trim_start_matches("failed to lookup address information: ");
    let text = text.split(" (os error").next().unwrap_or(text);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::process::Command;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpSocket, TcpStream};
    use tokio::time::{Instant, timeout, timeout_at};

    use super::dial::{DialFailure, dial};
    use super::listen::{ListenAddress, Listener, Local, bind};
    use super::socket::Peer;
    use super::{in_words, is_localhost};

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    pub(super) fn port_of(listener: &Listener) -> u16 {
        match listener.local() {
            Local::Tcp(address) => address.port(),
            Local::Unix(path) => panic!("{} has no port", path.display()),
        }
    }

    /// A port that nobody listens on and nobody else is given, on either loopback: sockets bound to
    /// it hold it. `SO_REUSEADDR` lets our own listeners in beside them.
    pub(super) fn held_port() -> (u16, [TcpSocket; 2]) {
        for _ in 0..32 {
            let v4 = TcpSocket::new_v4().expect("a socket");
            let v6 = TcpSocket::new_v6().expect("a socket");
            v4.set_reuseaddr(true).expect("set");
            v6.set_reuseaddr(true).expect("set");
            v4.bind((V4, 0).into()).expect("a free port");
            let port = v4.local_addr().expect("an address").port();
            if v6.bind((V6, port).into()).is_ok() {
                return (port, [v4, v6]);
            }
        }
        panic!("no port is free on both loopbacks");
    }

    /// Listeners at `port` on these loopback addresses.
    async fn listening_on(families: &[IpAddr], port: u16) -> Vec<Listener> {
        let mut listeners = Vec::new();
        for ip in families {
            let address = ListenAddress::Ip((*ip, port).into());
            listeners.extend(bind(&address).await.expect("bound"));
        }
        listeners
    }

    #[tokio::test]
    async fn every_loopback_name_reaches_whatever_family_listens() {
        for families in [&[V4][..], &[V6], &[V4, V6], &[]] {
            for (host, reachable) in [
                ("127.0.0.1", &[V4][..]),
                ("::1", &[V6]),
                ("localhost", &[V6, V4]),
                ("LocalHost.", &[V6, V4]),
                ("pi.localhost", &[V6, V4]),
            ] {
                let (port, _held) = held_port();
                let listeners = listening_on(families, port).await;
                let expected = reachable.iter().find(|ip| families.contains(ip));
                let got = dial(host, port, None, soon()).await;
                match (expected, got) {
                    (Some(ip), Ok((stream, address))) => {
                        assert_eq!(address, SocketAddr::new(*ip, port), "{host}");
                        let accepted = accept_from(&listeners, *ip).await;
                        assert_eq!(accepted, stream.local_addr().expect("an address"));
                    }
                    (None, Err(error)) => {
                        assert_eq!(error.kind(), DialFailure::Refused, "{error}");
                        for ip in reachable {
                            assert!(error.to_string().contains(&ip.to_string()), "{error}");
                        }
                    }
                    (expected, got) => {
                        panic!("{host} on {families:?}: wanted {expected:?}, got {got:?}")
                    }
                }
            }
        }
    }

    async fn accept_from(listeners: &[Listener], ip: IpAddr) -> SocketAddr {
        let listener = listeners
            .iter()
            .find(|listener| matches!(listener.local(), Local::Tcp(address) if address.ip() == ip))
            .expect("a listener of that family");
        match timeout_at(soon(), listener.accept()).await {
            Ok(Ok((_, Peer::Ip(address)))) => address,
            other => panic!("no connection accepted: {other:?}"),
        }
    }

    #[tokio::test]
    async fn all_interfaces_take_both_families_and_give_canonical_peers() {
        for written in [":0", "[::]:0"] {
            let listeners = bind(&written.parse().expect("an address"))
                .await
                .expect("bound");
            assert_eq!(listeners.len(), 1, "{written}");
            for ip in [V4, V6] {
                let (stream, _) = dial(&ip.to_string(), port_of(&listeners[0]), None, soon())
                    .await
                    .expect("connected");
                let (_, peer) = timeout_at(soon(), listeners[0].accept())
                    .await
                    .expect("in time")
                    .expect("accepted");
                let own = stream.local_addr().expect("an address");
                assert_eq!(own.ip(), ip);
                assert_eq!(peer.to_string(), own.to_string());
            }
        }
    }

    /// The test above, where the kernel's default for `[::]` is IPv6 only, and only there can it
    /// tell that we do not leave the choice to the kernel.
    #[test]
    fn all_interfaces_take_both_families_under_bindv6only() {
        let able = Command::new("unshare")
            .args(["--net", "ip", "link"])
            .output();
        if !able.is_ok_and(|able| able.status.success()) {
            // Past libtest's capture, so that it is seen.
            let missing = b"SKIPPED all_interfaces_take_both_families_under_bindv6only: \
                            needs root, unshare(1) and ip(8) of iproute2\n";
            std::io::Write::write_all(&mut std::io::stderr(), missing).expect("stderr");
            return;
        }
        let script = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/bindv6only && \
                      exec \"$0\" all_interfaces_take_both_families_and_give_canonical_peers";
        let run = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .arg(std::env::current_exe().expect("this test"))
            .output()
            .expect("unshare runs");
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(said.contains("1 passed; 0 failed"), "{run:?}");
    }

    /// A listener that drops every SYN: no backlog, and the one place in it taken.
    async fn hanging(address: SocketAddr) -> (TcpListener, TcpStream) {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }
        .expect("a socket");
        socket.set_reuseaddr(true).expect("set");
        socket.bind(address).expect("the held port");
        let listener = socket.listen(0).expect("a listener");
        let filler = TcpStream::connect(address).await.expect("the one place");
        let probe = timeout(Duration::from_millis(100), TcpStream::connect(address)).await;
        assert!(probe.is_err(), "the queue is not full: {probe:?}");
        (listener, filler)
    }

    #[tokio::test]
    async fn a_family_that_hangs_costs_one_stagger() {
        for (hangs, works) in [(V6, V4), (V4, V6)] {
            let (port, _held) = held_port();
            let listeners = listening_on(&[works], port).await;
            let _queue = hanging(SocketAddr::new(hangs, port)).await;
            let started = Instant::now();
            let (mut stream, address) = dial("localhost", port, Some(hangs), soon())
                .await
                .expect("the other family answers");
            assert_eq!(address.ip(), works);
            assert!(started.elapsed() >= Duration::from_millis(250));
            assert!(started.elapsed() < Duration::from_secs(9));

            stream.write_all(b"x").await.expect("written");
            let (mut accepted, _) = timeout_at(soon(), listeners[0].accept())
                .await
                .expect("in time")
                .expect("accepted");
            let mut byte = [0];
            timeout_at(soon(), accepted.read_exact(&mut byte))
                .await
                .expect("in time")
                .expect("the byte");
        }
    }

    #[tokio::test]
    async fn a_preferred_family_goes_first() {
        let (port, _held) = held_port();
        let _listeners = listening_on(&[V4, V6], port).await;
        for prefer in [V4, V6] {
            let (stream, address) = dial("localhost", port, Some(prefer), soon())
                .await
                .expect("connected");
            assert_eq!(address.ip(), prefer);
            assert!(stream.nodelay().expect("readable"), "not tuned");
        }
    }

    #[tokio::test]
    async fn a_failure_names_every_address_with_its_own_reason() {
        let (port, _held) = held_port();
        let _queue = hanging(SocketAddr::new(V4, port)).await;
        let deadline = Instant::now() + Duration::from_millis(400);
        let error = timeout_at(soon(), dial("localhost", port, None, deadline))
            .await
            .expect("the deadline holds")
            .expect_err("nobody answers");
        assert_eq!(
            error.to_string(),
            format!(
                "could not connect to localhost:{port}: \
                 ::1: connection refused; 127.0.0.1: no answer in time"
            )
        );
        assert_eq!(error.kind(), DialFailure::TimedOut);
    }

    #[test]
    fn localhost_is_told_from_its_likes() {
        for yes in ["localhost", "LOCALHOST", "localhost.", "a.b.localhost"] {
            assert!(is_localhost(yes), "{yes}");
        }
        for no in ["", ".", "localhost.example", "mylocalhost", "localhost.."] {
            assert!(!is_localhost(no), "{no}");
        }
    }

    #[test]
    fn the_systems_words_lose_their_number() {
        let error = std::io::Error::from_raw_os_error(2);
        assert_eq!(in_words(&error), "no such file or directory");
        let lookup = "failed to lookup address information: Name or service not known";
        let error = std::io::Error::other(lookup);
        assert_eq!(in_words(&error), "name or service not known");
        assert_eq!(in_words(&std::io::Error::other("")), "");
    }
}
