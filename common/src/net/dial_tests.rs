//! Tests of dialling.

use std::cell::Cell;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Mutex;

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

fn addresses(ips: &str) -> Vec<SocketAddr> {
    let parse = |ip: &str| SocketAddr::new(ip.parse().expect(ip), 80);
    ips.split_whitespace().map(parse).collect()
}

/// Dials a host whose lookups give `answers` one after the other, with a connector that refuses
/// IPv6 and takes the rest; what was dialled, and what came of it.
async fn dialled(
    host: &str,
    permit: Permit,
    answers: &[&str],
) -> (Vec<IpAddr>, usize, Result<IpAddr, DialError>) {
    let lookups = Cell::new(0);
    let tried = Mutex::new(Vec::new());
    let lookup = |_: &str, _| {
        let answer = answers[lookups.get()];
        lookups.set(lookups.get() + 1);
        async move { Ok(addresses(answer)) }
    };
    let connect = |address: SocketAddr| {
        tried.lock().expect("not poisoned").push(address.ip());
        async move {
            match address.is_ipv6() {
                true => Err(io::ErrorKind::ConnectionRefused.into()),
                false => Ok(()),
            }
        }
    };
    let order = Order {
        host,
        port: 80,
        permit,
        prefer: None,
        deadline: after(9000),
    };
    let outcome = order.carry_out(lookup, connect).await;
    let tried = tried.into_inner().expect("not poisoned");
    (tried, lookups.get(), outcome.map(|(_, at)| at.ip()))
}

#[tokio::test]
async fn what_a_name_may_not_lead_to_is_not_dialled() {
    let both = "169.254.169.254 10.0.0.1 fe80::1 ::ffff:169.254.169.254";
    let (tried, lookups, outcome) = dialled("nas", Permit::Ordinary, &[both]).await;
    assert_eq!((tried, lookups), (vec!["10.0.0.1".parse().unwrap()], 1));
    assert_eq!(outcome.unwrap().to_string(), "10.0.0.1");

    let all = "169.254.169.254 fe80::1 169.254.169.254";
    let (tried, _, outcome) = dialled("nas", Permit::Ordinary, &[all]).await;
    assert_eq!(tried.len(), 0);
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), DialFailure::Forbidden);
    assert_eq!(
        error.to_string(),
        "could not connect to nas:80: 169.254.169.254 is a metadata address, and dialled only \
         when written as such; fe80::1 is a link-local address, and dialled only when written \
         as such"
    );

    // Others failed of themselves, and that is what counts; it is said all the same.
    let (_, _, outcome) = dialled("nas", Permit::Ordinary, &["fd00::1 0.0.0.0"]).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), DialFailure::Refused);
    let text = error.to_string();
    assert!(
        text.contains("refused; 0.0.0.0 is an unspecified address"),
        "{text}"
    );

    let (tried, _, _) = dialled("nas", Permit::Any, &["169.254.169.254"]).await;
    assert_eq!(tried.len(), 1, "a proxy may be anywhere");
}

#[tokio::test]
async fn a_name_that_changes_its_answer_is_looked_up_once_and_checked_each_time() {
    let rebinding = ["10.0.0.1", "169.254.169.254"];
    let (tried, lookups, outcome) = dialled("nas", Permit::Ordinary, &rebinding).await;
    assert_eq!(
        (tried.len(), lookups),
        (1, 1),
        "what was checked is dialled"
    );
    assert_eq!(outcome.unwrap().to_string(), "10.0.0.1");
    let (tried, lookups, outcome) = dialled("nas", Permit::Ordinary, &rebinding[1..]).await;
    assert_eq!((tried.len(), lookups), (0, 1), "the next dial");
    assert_eq!(outcome.unwrap_err().kind(), DialFailure::Forbidden);
}

#[tokio::test]
async fn an_address_that_was_written_is_dialled_and_its_odd_spellings_are_names() {
    let (tried, lookups, _) = dialled("169.254.169.254", Permit::Ordinary, &[]).await;
    assert_eq!((tried.len(), lookups), (1, 0));
    // What the resolver makes of `inet_aton`'s spellings is an answer as any other.
    for host in [
        "2852039166",
        "0xa9fea9fe",
        "0xa9.254.43518",
        "169.254.43518",
    ] {
        let (tried, lookups, outcome) = dialled(host, Permit::Ordinary, &["169.254.169.254"]).await;
        assert_eq!((tried.len(), lookups), (0, 1), "{host}");
        assert_eq!(outcome.unwrap_err().kind(), DialFailure::Forbidden);
    }
    // The same by the system's resolver, which asks no network for a number.
    for host in ["2852039166", "0xa9fea9fe", "0"] {
        let dialling = dial_permitted(host, 80, Permit::Ordinary, None, after(9000));
        let error = dialling.await.expect_err("forbidden");
        assert_eq!(error.kind(), DialFailure::Forbidden, "{error}");
    }
}

#[tokio::test]
async fn addresses_that_are_refused_take_no_place_from_the_others() {
    let many: Vec<String> = (0..40).map(|n| format!("169.254.0.{n}")).collect();
    let answer = format!("{} 10.0.0.1", many.join(" "));
    let (tried, _, outcome) = dialled("nas", Permit::Ordinary, &[&answer]).await;
    assert_eq!(tried.len(), 1);
    assert!(outcome.is_ok());
    let (_, _, outcome) = dialled("nas", Permit::Ordinary, &[&many.join(" ")]).await;
    let words = outcome.unwrap_err().to_string();
    assert_eq!(words.matches("written as such").count(), MAX_REFUSED);
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
    let socket =
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket");
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
