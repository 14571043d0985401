//! Whoever comes and goes leaves nothing behind, and neither does a name nobody has.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adit_tests::binaries::Proxy;
use adit_tests::metrics::{Held, Metrics};
use adit_tests::tunnel::{FakeClient, Leave, upgrade_request};
use adit_tests::turn::{alone, measured};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const ROUNDS: usize = 10_000;
/// The first rounds fill what is kept for good: buffers, arenas, tables.
const WARM: usize = 1_000;
const AT_ONCE: usize = 16;
/// What memory may have grown by behind the first rounds. A leak of a task a round would be more
/// than twice that.
const GROWTH: u64 = 8 << 20;
/// Within a few seconds everything is given back; more, because other tests share the cores.
const SOON: Duration = Duration::from_secs(10);

/// Does it `count` times, some at once; each is told which of them it is, and in which of the
/// places.
async fn rounds<F>(count: usize, round: impl Fn(usize, usize) -> F + Send + Sync + Clone + 'static)
where
    F: Future<Output = ()> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let mut places = JoinSet::new();
    for place in 0..AT_ONCE {
        let (next, round) = (Arc::clone(&next), round.clone());
        places.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return;
                }
                round(n, place).await;
            }
        });
    }
    places.join_all().await;
}

/// A client that comes, is accepted, and goes.
async fn visit(proxy: SocketAddr, n: usize, place: usize) {
    // The names are few, or the table of those that are away would grow, as it shall.
    let line = format!("{{\"names\":[\"visitor-{place}\"]}}");
    let client = FakeClient::register(proxy, line).await;
    client.accepted().await;
    let how = [Leave::Goodbye, Leave::Fin, Leave::Reset][n % 3];
    client.leave(how).await;
}

/// A connection that dies before its tunnel has begun.
async fn stillborn(proxy: SocketAddr, n: usize) {
    let mut request = upgrade_request();
    if n % 16 == 15 {
        // Refused.
        request.retain(|line| !line.starts_with("Sec-WebSocket-Protocol"));
    }
    let request = request.join("\r\n") + "\r\n\r\n";
    let said = match n / 2 % 4 {
        0 => "",
        1 => &request[..request.len() / 2],
        _ => &request,
    };
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    if n / 2 % 4 == 3 {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 "), "{answer:?}");
    }
    if n % 2 == 0 {
        stream.set_zero_linger().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_clients_that_come_and_go_leave_nothing_at_the_proxy() {
    let _turn = alone().await;
    let proxy = Proxy::start(&[]).await;
    let address = proxy.address;
    let before = Held::by_proxy(address).await;

    let started = Instant::now();
    rounds(WARM, move |n, place| visit(address, n, place)).await;
    before.again(SOON, "the first clients").await;
    let warm = proxy.program.memory().resident;
    rounds(ROUNDS - WARM, move |n, place| visit(address, n, place)).await;
    measured("10,000 clients came and went in", started.elapsed());
    let took = before.again(SOON, "ten thousand clients").await;
    measured("all of them given back after", took);
    let grown = proxy.program.memory().resident.saturating_sub(warm);
    measured("memory after them over that after 1,000, KiB", grown / 1024);
    assert!(grown < GROWTH, "{grown} bytes more than {warm}");

    let metrics = Metrics::of(address).await;
    let ended = metrics.sum("adit_proxy_sessions_ended_total");
    assert_eq!(ended, ROUNDS as f64, "each was a session: {metrics:?}");
    let politely = metrics.series("adit_proxy_sessions_ended_total{reason=\"going-away\"}");
    assert!(politely >= (ROUNDS / 3) as f64, "{politely}");
    assert_eq!(metrics.series("adit_proxy_names{state=\"here\"}"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_that_die_before_their_tunnel_leave_nothing() {
    let _turn = alone().await;
    let proxy = Proxy::start(&[]).await;
    let address = proxy.address;
    let before = Held::by_proxy(address).await;

    let started = Instant::now();
    rounds(WARM, move |n, _| stillborn(address, n)).await;
    before.again(SOON, "the first connections").await;
    let warm = proxy.program.memory().resident;
    rounds(ROUNDS - WARM, move |n, _| stillborn(address, n)).await;
    measured("10,000 connections died in", started.elapsed());
    let took = before.again(SOON, "ten thousand connections").await;
    measured("all of them given back after", took);
    let grown = proxy.program.memory().resident.saturating_sub(warm);
    measured("memory after them over that after 1,000, KiB", grown / 1024);
    assert!(grown < GROWTH, "{grown} bytes more than {warm}");
}
