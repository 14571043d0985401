//! Over sockets: what only they have, RST and a listener.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::network::relay::Builder;
use crate::network::{BOTH, Cut, Ended, Lane, Relay, UP, Way};
use crate::wait::{PATIENCE, eventually, within};

/// A relay and who it leads to.
async fn relay(faults: impl FnOnce(Builder) -> Builder) -> (Relay, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = faults(Relay::to(listener.local_addr().unwrap()))
        .start()
        .await;
    (relay, listener)
}

async fn connect(relay: &Relay, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let near = TcpStream::connect(relay.address).await.unwrap();
    let (far, _) = within(PATIENCE, "a connection", listener.accept())
        .await
        .unwrap();
    (near, far)
}

/// How the stream ends.
async fn end(stream: &mut TcpStream) -> Result<usize, ErrorKind> {
    let mut rest = Vec::new();
    let reading = within(PATIENCE, "the end", stream.read_to_end(&mut rest)).await;
    reading.map_err(|error| error.kind())
}

#[tokio::test]
async fn it_delays_and_does_not_throttle() {
    const SIZE: usize = 4 << 20;
    let delay = Duration::from_millis(25);
    let (relay, listener) = relay(|relay| relay.each_way(Lane::delayed(delay))).await;
    let (mut near, mut far) = connect(&relay, &listener).await;
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
    assert_eq!(relay.passed(Way::Up), SIZE as u64 + 4);
    assert_eq!(relay.accepted(), 1);
}

#[tokio::test]
async fn a_cut_is_fin_or_rst_at_both_sides() {
    let (relay, listener) = relay(|relay| relay).await;
    for (number, how, ends) in [
        (1, Cut::Fin, Ok(0)),
        (2, Cut::Rst, Err(ErrorKind::ConnectionReset)),
    ] {
        let (mut near, mut far) = connect(&relay, &listener).await;
        let link = relay.link(number).await;
        // Bytes nobody reads must not make an RST of a FIN.
        link.stall(BOTH);
        near.write_all(b"unread").await.unwrap();
        far.write_all(b"unread").await.unwrap();
        relay.cut(how);
        assert_eq!((end(&mut near).await, end(&mut far).await), (ends, ends));
        assert_eq!(link.end().await, Ended::Cut);
    }
}

#[tokio::test]
async fn an_rst_passes_and_a_stalled_one_does_not() {
    let (relay, listener) = relay(|relay| relay).await;
    let (near, mut far) = connect(&relay, &listener).await;
    near.set_zero_linger().unwrap();
    drop(near);
    assert_eq!(end(&mut far).await, Err(ErrorKind::ConnectionReset));

    let (near, mut far) = connect(&relay, &listener).await;
    let link = relay.link(2).await;
    link.stall(UP);
    near.set_zero_linger().unwrap();
    drop(near);
    far.write_all(b"anyone?").await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(200), far.read_u8()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    link.resume(UP);
    assert_eq!(end(&mut far).await, Err(ErrorKind::ConnectionReset));
    assert_eq!(link.end().await, Ended::Reset);
}

#[tokio::test]
async fn a_fin_passes_one_way() {
    let (relay, listener) = relay(|relay| relay).await;
    let (mut near, mut far) = connect(&relay, &listener).await;
    near.shutdown().await.unwrap();
    assert_eq!(end(&mut far).await, Ok(0));
    far.write_all(b"late").await.unwrap();
    drop(far);
    assert_eq!(end(&mut near).await, Ok(4));
}

#[tokio::test]
async fn a_writer_to_a_stalled_way_is_blocked_soon() {
    let (relay, listener) = relay(|relay| relay.socket_buffers(8 * 1024)).await;
    let (mut near, _far) = connect(&relay, &listener).await;
    let link = relay.link(1).await;
    link.stall(UP);
    // What the kernel takes of one who writes is bounded by 4 MiB; and by less here.
    let all = vec![0; 16 << 20];
    let blocked = tokio::time::timeout(Duration::from_secs(1), near.write_all(&all)).await;
    assert!(blocked.is_err(), "{blocked:?}");
    assert_eq!(link.taken(Way::Up), 0);
}

#[tokio::test]
async fn what_is_idle_is_cut() {
    let limit = Duration::from_millis(300);
    for (how, ends) in [
        (Cut::Fin, Ok(0)),
        (Cut::Rst, Err(ErrorKind::ConnectionReset)),
    ] {
        let (relay, listener) = relay(|relay| relay.idle_cut(limit, how)).await;
        let started = Instant::now();
        let (mut near, mut far) = connect(&relay, &listener).await;
        assert_eq!((end(&mut near).await, end(&mut far).await), (ends, ends));
        assert!(started.elapsed() >= limit, "{:?}", started.elapsed());
        assert_eq!(relay.idle_cuts(), 1);
    }
}

#[tokio::test]
async fn a_relay_refuses_goes_away_and_comes_back_to_its_port() {
    let (relay, listener) = relay(|relay| relay).await;
    let (mut old, mut far) = connect(&relay, &listener).await;
    relay.refuse().await;
    let mut refused = TcpStream::connect(relay.address).await.unwrap();
    assert_eq!(end(&mut refused).await, Ok(0));
    assert_eq!((relay.accepted(), relay.refused()), (1, 1));
    relay.go_away().await;
    let away = TcpStream::connect(relay.address).await.unwrap_err();
    assert_eq!(away.kind(), ErrorKind::ConnectionRefused);
    old.write_all(b"still").await.unwrap();
    far.read_exact(&mut [0; 5]).await.unwrap();
    relay.come_back().await;
    let (mut new, mut far) = connect(&relay, &listener).await;
    new.write_all(b"again").await.unwrap();
    far.read_exact(&mut [0; 5]).await.unwrap();
    assert_eq!(relay.accepted(), 2);
}

#[tokio::test]
async fn what_is_done_to_a_relay_is_done_to_links_to_come() {
    let (relay, listener) = relay(|relay| relay).await;
    relay.stall(UP);
    let (mut near, mut far) = connect(&relay, &listener).await;
    near.write_all(b"late").await.unwrap();
    let link = relay.link(1).await;
    let mut byte = [0];
    let quiet = tokio::time::timeout(Duration::from_millis(100), far.read(&mut byte)).await;
    assert!(quiet.is_err(), "{quiet:?}");
    assert_eq!(link.taken(Way::Up), 0);
    relay.resume(UP);
    far.read_exact(&mut [0; 4]).await.unwrap();

    relay.swallow(UP);
    near.write_all(b"lost").await.unwrap();
    eventually(PATIENCE, "it vanishes", async || {
        match link.taken(Way::Up) {
            8 => Ok(()),
            taken => Err(taken.to_string()),
        }
    })
    .await;
    relay.resume(UP);
    let (mut near, mut far) = connect(&relay, &listener).await;
    near.write_all(b"new").await.unwrap();
    far.read_exact(&mut [0; 3]).await.unwrap();
    assert_eq!(link.passed(Way::Up), 4);
}
