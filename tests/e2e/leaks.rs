//! Whoever comes and goes leaves nothing behind, and neither does a name nobody has.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adit_tests::binaries::{Client, Proxy};
use adit_tests::fake_proxy::{FakeProxy, Moment};
use adit_tests::metrics::{Held, Metrics};
use adit_tests::ports;
use adit_tests::scraper::{self, Connection};
use adit_tests::tunnel::{FakeClient, Leave, upgrade_request};
use adit_tests::turn::{alone, measured};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const ROUNDS: usize = 10_000;
/// The first rounds fill what is kept for good: buffers, arenas, tables.
const WARM: usize = 1_000;
const AT_ONCE: usize = 16;
/// What memory may have grown by behind the first rounds: a kilobyte a round is more.
const GROWTH: u64 = 8 << 20;
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
    if n.is_multiple_of(2) {
        stream.set_zero_linger().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_ten_thousand_clients_that_come_and_go_leave_nothing_at_the_proxy() {
    let _turn = alone().await;
    let proxy = Proxy::start(&[]).await;
    let address = proxy.address;
    let before = Held::by_proxy(address).await;

    let started = Instant::now();
    rounds(WARM, move |n, place| visit(address, n, place)).await;
    before.again("the first clients").await;
    let warm = proxy.program.memory().resident;
    rounds(ROUNDS - WARM, move |n, place| visit(address, n, place)).await;
    measured("10,000 clients came and went in", started.elapsed());
    let took = before.again("ten thousand clients").await;
    measured("all of them given back after", took);
    let grown = proxy.program.memory().resident.saturating_sub(warm);
    measured("memory after them over that after 1,000, KiB", grown / 1024);
    assert!(grown < GROWTH, "{grown} bytes more than {warm}");

    let metrics = Metrics::of(address).await;
    let ended = metrics.sum("adit_proxy_sessions_ended_total");
    assert_eq!(ended, ROUNDS as f64, "each was a session: {metrics:?}");
    let by = |reason| {
        metrics.series(&format!(
            "adit_proxy_sessions_ended_total{{reason={reason:?}}}"
        ))
    };
    // Who left with a word is replaced if the next of its name comes before that word is acted upon.
    let (politely, replaced) = (by("going-away"), by("replaced"));
    let all = politely + replaced;
    assert!(all >= (ROUNDS / 3) as f64, "{politely} and {replaced}");
    assert!(politely > replaced, "{politely} and {replaced}");
    assert_eq!(metrics.series("adit_proxy_names{state=\"here\"}"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_ten_thousand_connections_that_die_before_their_tunnel_leave_nothing() {
    let _turn = alone().await;
    let proxy = Proxy::start(&[]).await;
    let address = proxy.address;
    let before = Held::by_proxy(address).await;

    let started = Instant::now();
    rounds(WARM, move |n, _| stillborn(address, n)).await;
    before.again("the first connections").await;
    let warm = proxy.program.memory().resident;
    rounds(ROUNDS - WARM, move |n, _| stillborn(address, n)).await;
    measured("10,000 connections died in", started.elapsed());
    let took = before.again("ten thousand connections").await;
    measured("all of them given back after", took);
    let grown = proxy.program.memory().resident.saturating_sub(warm);
    measured("memory after them over that after 1,000, KiB", grown / 1024);
    assert!(grown < GROWTH, "{grown} bytes more than {warm}");
}

/// How the proxy of the n-th tunnel dies. Mostly with a word: a client that is told to come back does
/// so within a second, and one that lost its proxy waits longer each time.
fn death(n: usize) -> (Moment, Leave) {
    match n % 48 {
        0 => (Moment::Accepted, Leave::Fin),
        8 => (Moment::Accepted, Leave::Reset),
        16 => (Moment::Upgraded, Leave::Fin),
        24 => (Moment::Upgraded, Leave::Reset),
        32 => (Moment::Registered, Leave::Fin),
        40 => (Moment::Registered, Leave::Reset),
        _ => (Moment::Registered, Leave::Goodbye),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_proxies_that_accept_a_tunnel_and_die_leave_nothing_at_the_client() {
    // Five deaths each: a client waits longer every time that its tunnel did not last.
    const TUNNELS: usize = 400;
    const DEATHS: usize = 2_000;
    // Not alone: most of its time is the client waiting before it dials again.
    let address = SocketAddr::from(([127, 0, 0, 1], ports::unused()));
    let url = format!("http://{address}");
    // One name, one instance: as many tunnels as there are URLs.
    let others = (1..TUNNELS).map(|n| format!("--proxy-url={url}/{n}"));
    let others: Vec<String> = others.collect();
    let mut flags: Vec<&str> = others.iter().map(String::as_str).collect();
    flags.push("--target=pi:9100");
    let client = Client::launch(&url, &flags).await;
    let before = Held::by_client(client.web).await;

    let started = Instant::now();
    let proxy = FakeProxy::start(address, death).await;
    let patience = Duration::from_secs(120);
    proxy.died(DEATHS / 2, patience).await;
    let warm = client.program.memory().resident;
    proxy.died(DEATHS, patience).await;
    measured("2,000 proxies died in", started.elapsed());
    drop(proxy);
    let took = before.again("two thousand proxies").await;
    measured("all of them given back after", took);
    let grown = client.program.memory().resident.saturating_sub(warm);
    measured("memory after them over that after 1,000, KiB", grown / 1024);
    assert!(grown < GROWTH, "{grown} bytes more than {warm}");

    let metrics = Metrics::of(client.web).await;
    let ended = metrics.sum("adit_client_tunnels_ended_total");
    // Some died before; and of an RST behind the answer to the upgrade the client may hear first.
    let without_tunnel = DEATHS / 12;
    assert!(ended >= (DEATHS - without_tunnel) as f64, "{ended}");
}

/// Of the proxy whose names are unknown.
const FLAGS: [&str; 0] = [];

/// Scrapes unknown names one after the other on one connection; gives how long each took.
async fn scrape_unknown(proxy: SocketAddr, names: Range<usize>) -> Vec<Duration> {
    let mut connection = Connection::open(proxy).await;
    let mut took = Vec::with_capacity(names.len());
    for n in names {
        let request = scraper::request(&format!("http://unknown-{n}:9100/metrics"), &[]);
        let answer = connection.exchange(request).await;
        assert_eq!(answer.head.status, 502, "{answer:?}");
        let reason = format!("no client for unknown-{n}");
        assert_eq!(answer.head.reason, reason);
        took.push(answer.took);
    }
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_a_hundred_thousand_unknown_names_are_answered_at_once_and_kept_nowhere() {
    const NAMES: usize = 100_000;
    const CONNECTIONS: usize = 4;
    /// Fifty bytes a name would be more.
    const GROWTH: u64 = 4 << 20;
    let _turn = alone().await;
    let proxy = Proxy::start(&FLAGS).await;
    let address = proxy.address;
    let before = Held::by_proxy(address).await;
    scrape_unknown(address, NAMES..NAMES + 1_000).await;
    let warm = proxy.program.memory().resident;

    let started = Instant::now();
    let mut scraping = JoinSet::new();
    let each = NAMES / CONNECTIONS;
    for part in 0..CONNECTIONS {
        scraping.spawn(scrape_unknown(address, part * each..(part + 1) * each));
    }
    let mut took = scraping.join_all().await.concat();
    measured("100,000 unknown names answered in", started.elapsed());
    took.sort_unstable();
    let [p50, p99, p999, most] = [500, 990, 999, 1000].map(|part| took[NAMES * part / 1000 - 1]);
    measured("one of them: p50, p99, p99.9, most", [p50, p99, p999, most]);
    assert!(p999 < Duration::from_millis(250), "{p999:?}");
    assert!(most < Duration::from_secs(2), "{most:?}");
    let grown = proxy.program.memory().resident.saturating_sub(warm);
    measured("memory after them over that after 1,000, KiB", grown / 1024);
    assert!(grown < GROWTH, "{grown} bytes more than {warm}");

    before.again("a hundred thousand names").await;
    let metrics = Metrics::of(address).await;
    assert_eq!(metrics.sum("adit_proxy_names"), 0.0);
    let answered = "adit_proxy_scrapes_total{code=\"502\",form=\"absolute\"}";
    assert_eq!(metrics.series(answered), (NAMES + 1_000) as f64);
}
