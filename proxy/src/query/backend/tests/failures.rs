//! Why there is no answer, in words for people.

use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::lab::{Server, failed, get, open, send};
use crate::query::backend::Failure;

/// Case 23, as far as it is the way to a backend.
#[tokio::test]
async fn whoever_does_not_answer_is_said_to_have_done_what() {
    type Says = (&'static [u8], &'static str);
    const SAYS: [Says; 5] = [
        (b"", "closed the connection before it had answered"),
        (
            b"HTTP/1.1 200 OK\r\nContent-",
            "in the middle of its answer's head",
        ),
        (
            b"hello, this is not HTTP\r\n\r\n",
            "does not answer in HTTP",
        ),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "does not answer in HTTP"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "switch protocols",
        ),
    ];
    for (says, words) in SAYS {
        let server = Server::start(move |_, mut peer| async move {
            peer.answer(says).await;
        })
        .await;
        let failure = failed(send(&server.backend(), get("/")).await.map(|_| ()));
        assert!(matches!(failure, Failure::Reset(_)), "{failure:?}");
        assert!(failure.to_string().contains(words), "{failure}");
        assert_eq!(
            server.dials(),
            1,
            "a new connection is not tried again: {words}"
        );
    }
    let server = Server::start(|_, mut peer| async move {
        peer.request().await;
        peer.reset();
    })
    .await;
    let failure = failed(send(&server.backend(), get("/")).await.map(|_| ()));
    let words = "it broke off before it had answered: connection reset by peer";
    assert_eq!(failure, Failure::Reset(words.to_owned()));
}

#[tokio::test]
async fn whoever_is_not_there_is_named() {
    // Held, and never listening: no other test is given its port.
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = held.local_addr().unwrap();
    for (url, words) in [
        (
            format!("http://{address}"),
            format!("{address}: connection refused"),
        ),
        (
            "http://no-such-host.invalid:1".to_owned(),
            "no-such-host.invalid:1".to_owned(),
        ),
    ] {
        let failure = failed(send(&open(&url), get("/")).await.map(|_| ()));
        assert!(matches!(failure, Failure::Connect(_)), "{failure:?}");
        assert!(failure.to_string().contains(&words), "{failure}");
    }
}

#[tokio::test]
async fn a_black_hole_costs_the_time_for_a_connection_and_no_more() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    // The one place in its queue: from now on every SYN is dropped.
    let _filler = TcpStream::connect(address).await.unwrap();
    let probe = timeout(Duration::from_millis(200), TcpStream::connect(address)).await;
    assert!(probe.is_err(), "the queue is not full: {probe:?}");
    // From here on time passes only when there is nothing else to do.
    tokio::time::pause();
    let started = Instant::now();
    let backend = open(&format!("http://{address}"));
    let failure = backend
        .send(get("/"), started + Duration::from_secs(60))
        .await;
    let failure = failed(failure.map(|_| ()));
    assert!(matches!(failure, Failure::Connect(_)), "{failure:?}");
    assert!(
        failure.to_string().contains("no answer in time"),
        "{failure}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    let deadline = Instant::now() + Duration::from_secs(1);
    let failure = failed(backend.send(get("/"), deadline).await.map(|_| ()));
    assert_eq!(failure, Failure::Deadline("no answer in time".to_owned()));
}

#[tokio::test]
async fn who_takes_too_long_is_left_at_the_deadline() {
    let server = Server::start(|_, mut peer| async move {
        peer.request().await;
        peer.closed().await;
    })
    .await;
    let deadline = Instant::now() + Duration::from_millis(300);
    let failure = server.backend().send(get("/"), deadline).await.map(|_| ());
    assert!(matches!(failure, Err(Failure::Deadline(_))), "{failure:?}");
    assert!(Instant::now() >= deadline);
}
