//! CONNECT is a byte stream, and nothing but.

use std::time::Duration;

use adit_tests::pair::Pair;
use adit_tests::ports;
use adit_tests::scraper::{self, Connection};
use adit_tests::wait::{PATIENCE, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const REQUEST: &str = "CONNECT raw:7000 HTTP/1.1\r\nHost: raw:7000\r\n\r\n";

/// A stream to a listener through the tunnel: the scraper's end and the target's.
async fn connected() -> (Pair, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flag = format!(
        "--target=raw:7000=http://{}",
        listener.local_addr().unwrap()
    );
    let pair = Pair::start(&[&flag]).await;
    let mut connection = Connection::open(pair.proxy.address).await;
    connection.write(REQUEST).await;
    let head = connection.head().await;
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(head.field("transfer-encoding"), None);
    assert_eq!(head.field("content-length"), None);
    let (stream, _) = within(PATIENCE, "the target accepts", listener.accept())
        .await
        .unwrap();
    let (scraper, read_ahead) = connection.into_parts();
    assert!(read_ahead.is_empty());
    (pair, scraper, stream)
}

async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    within(
        PATIENCE,
        "the end of a stream",
        stream.read_to_end(&mut all),
    )
    .await
    .unwrap();
    all
}

async fn read_exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut all = vec![0; count];
    within(PATIENCE, "bytes of a stream", stream.read_exact(&mut all))
        .await
        .unwrap();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_may_speak_first() {
    let (_pair, mut scraper, mut target) = connected().await;
    target.write_all(b"220 ready\r\n").await.unwrap();
    assert_eq!(read_exactly(&mut scraper, 11).await, b"220 ready\r\n");
    scraper.write_all(b"\0").await.unwrap();
    assert_eq!(read_exactly(&mut target, 1).await, b"\0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_directions_run_at_once() {
    const SIZE: usize = 8 << 20;
    let (_pair, scraper, target) = connected().await;
    let exchange = |mut stream: TcpStream, byte: u8| async move {
        let (mut read, mut write) = stream.split();
        let mut got = vec![0; SIZE];
        let sent = vec![byte; SIZE];
        let (wrote, read) = tokio::join!(write.write_all(&sent), read.read_exact(&mut got));
        wrote.unwrap();
        read.unwrap();
        got
    };
    let both = async { tokio::join!(exchange(scraper, 1), exchange(target, 2)) };
    let (at_scraper, at_target) = within(PATIENCE, "8 MiB each way", both).await;
    assert!(at_scraper.iter().all(|byte| *byte == 2));
    assert!(at_target.iter().all(|byte| *byte == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_closed_stream_still_brings_a_late_reply() {
    let (_pair, mut scraper, mut target) = connected().await;
    scraper.write_all(b"question").await.unwrap();
    scraper.shutdown().await.unwrap();
    assert_eq!(read_all(&mut target).await, b"question", "with its end");
    // Longer than any grace a relay may give the other half.
    tokio::time::sleep(Duration::from_millis(700)).await;
    target.write_all(b"late ").await.unwrap();
    target.write_all(b"reply").await.unwrap();
    drop(target);
    assert_eq!(read_all(&mut scraper).await, b"late reply");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_may_half_close_first() {
    let (_pair, mut scraper, mut target) = connected().await;
    target.write_all(b"banner").await.unwrap();
    target.shutdown().await.unwrap();
    assert_eq!(read_all(&mut scraper).await, b"banner", "with its end");
    scraper.write_all(b"thanks").await.unwrap();
    drop(scraper);
    assert_eq!(read_all(&mut target).await, b"thanks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scraper_that_leaves_takes_the_targets_connection_with_it() {
    let (_pair, scraper, mut target) = connected().await;
    scraper.set_zero_linger().unwrap();
    drop(scraper);
    let mut byte = [0];
    let read = within(PATIENCE, "the target's end", target.read(&mut byte)).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_breaks_off_ends_the_scrapers_stream() {
    let (_pair, mut scraper, target) = connected().await;
    target.set_zero_linger().unwrap();
    drop(target);
    let mut byte = [0];
    let read = within(PATIENCE, "the scraper's end", scraper.read(&mut byte)).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

/// A body may end with its connection, also in here: what was cut must not look like the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_lost_resets_the_scrapers_stream() {
    let (pair, mut scraper, mut target) = connected().await;
    target.write_all(b"half").await.unwrap();
    assert_eq!(read_exactly(&mut scraper, 4).await, b"half");
    drop(pair.client);
    let mut byte = [0];
    let read = within(PATIENCE, "the scraper's end", scraper.read(&mut byte)).await;
    let error = read.expect_err("a FIN is an end in good order");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_the_request_at_once_is_not_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flag = format!(
        "--target=raw:7000=http://{}",
        listener.local_addr().unwrap()
    );
    let pair = Pair::start(&[&flag]).await;
    let mut connection = Connection::open(pair.proxy.address).await;
    connection.write(format!("{REQUEST}hello")).await;
    assert_eq!(connection.head().await.status, 200);
    let (mut target, _) = within(PATIENCE, "the target accepts", listener.accept())
        .await
        .unwrap();
    assert_eq!(read_exactly(&mut target, 5).await, b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connect_says_why() {
    let unused = ports::unused();
    let pair = Pair::start(&[&format!("--target=raw:7000=http://127.0.0.1:{unused}")]).await;
    for (target, status, part) in [
        ("unknown:7000", 502, "unknown"),
        ("raw:7001", 403, "raw:7001"),
        ("raw:7000", 502, "refused"),
    ] {
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        scraper::send(pair.proxy.address, request)
            .await
            .refusal(status, part);
    }
}
