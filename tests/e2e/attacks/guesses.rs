//! Whoever tries one password after the other, and one token after the other, as fast as they can.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use adit_tests::binaries::Proxy;
use adit_tests::marked::base64;
use adit_tests::metrics::Metrics;
use adit_tests::scraper::{self, Connection};
use adit_tests::tunnel::FakeClient;
use adit_tests::turn::{alone, measured};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::house::elsewhere;

/// As many as fit into some seconds of a debug build; `ADIT_GUESSES=1000000` is the whole million, in
/// half a minute.
const GUESSES: usize = 200_000;
/// Connections that guess without waiting for an answer, half of them passwords.
const FAST: usize = 8;
/// Requests written at once.
const BATCH: usize = 100;
/// Addresses from which one password after the other is tried: each has ten of them checked, and
/// together they keep bcrypt busy.
const PATIENT: usize = 64;
/// For how long the patient ones are looked at.
const LONG: Duration = Duration::from_secs(3);
/// What two cores add that others use as well. Behind all whose passwords wait, a scrape would take
/// seconds.
const SLACK: Duration = Duration::from_millis(100);
/// In the proxy's log at its usual level: three for each address, and its start.
const MOST_LINES: usize = 3 * (PATIENT + FAST) + 50;

/// `pw-of-prometheus` at the usual cost: 40 ms of a core.
const USERS: &str = "basic_auth_users: {prometheus: \
    $2y$10$abcdefghijklmnopqrstuu3Kbh65ubgNEi.1lsSQrf1OJ6qZJ4ri.}\n";
const RIGHT: &str = "cHJvbWV0aGV1czpwdy1vZi1wcm9tZXRoZXVz";

fn guess(n: usize, of_a_client: bool) -> String {
    match of_a_client {
        true => format!("GET /tunnel HTTP/1.1\r\nHost: x\r\nAdit-Token: guess-{n}\r\n\r\n"),
        false => {
            let pair = base64(format!("prometheus:guess-{n}").as_bytes());
            format!("GET /clients HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {pair}\r\n\r\n")
        }
    }
}

/// Sends guesses `first..first + count` and gives how many were answered, by 4xx alone.
async fn guess_fast(
    proxy: SocketAddr,
    source: Ipv4Addr,
    first: usize,
    count: usize,
    of_a_client: bool,
) -> usize {
    const ANSWER: &[u8] = b"HTTP/1.1 4";
    let connection = Connection::open_from(source, proxy).await;
    let (mut read, mut write) = connection.into_stream().into_split();
    let writing = async {
        for batch in (first..first + count).step_by(BATCH) {
            let end = (batch + BATCH).min(first + count);
            let guesses: String = (batch..end).map(|n| guess(n, of_a_client)).collect();
            write
                .write_all(guesses.as_bytes())
                .await
                .expect("the proxy goes on listening");
        }
    };
    let reading = async {
        let (mut answered, mut buffer) = (0, Vec::with_capacity(64 * 1024));
        while answered < count {
            let n = read
                .read_buf(&mut buffer)
                .await
                .expect("the proxy goes on answering");
            assert!(n > 0, "closed after {answered} of {count}");
            let found = buffer
                .windows(ANSWER.len())
                .filter(|window| *window == ANSWER)
                .count();
            answered += found;
            // What may be the beginning of another.
            let keep = buffer.len().min(ANSWER.len() - 1);
            buffer.drain(..buffer.len() - keep);
        }
        answered
    };
    tokio::join!(writing, reading).1
}

/// One after the other, from one address, until the test is over.
async fn guess_patiently(proxy: SocketAddr, source: Ipv4Addr, first: usize) {
    let mut connection = Connection::open_from(source, proxy).await;
    for n in first.. {
        let answer = connection.exchange(guess(n, false)).await;
        assert!(matches!(answer.head.status, 401 | 429), "{answer:?}");
        if answer.head.status == 429 {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

async fn scrape(connection: &mut Connection) -> Duration {
    let right = format!("Proxy-Authorization: Basic {RIGHT}");
    let request = scraper::request("http://pi:9100/metrics", &[&right]);
    let answer = connection.exchange(request).await;
    let took = answer.took;
    assert_eq!(answer.expect(200).text(), "fake 1\n");
    took
}

fn median(mut took: Vec<Duration>) -> [Duration; 2] {
    took.sort_unstable();
    [took[took.len() / 2], took[took.len() * 99 / 100]]
}

async fn failures(proxy: SocketAddr) -> (f64, Metrics) {
    let page = format!(
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {RIGHT}\r\nConnection: close\r\n\r\n"
    );
    let page = scraper::send(proxy, page).await.expect(200).text();
    let metrics = Metrics::parse(&page);
    (metrics.sum("adit_proxy_auth_failures_total"), metrics)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_as_fast_as_they_go_do_not_slow_a_scrape() {
    let _turn = alone().await;
    let guesses = std::env::var("ADIT_GUESSES")
        .ok()
        .and_then(|n| n.parse().ok());
    let guesses: usize = guesses.unwrap_or(GUESSES);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let web = format!("--web.config.file={}", file("web.yml", USERS));
    let token = format!("--auth.token-file={}", file("token", "the-right-token"));
    let proxy = Proxy::start(&[&web, &token]).await;
    let address = proxy.address;
    let fields = ["Adit-Token: the-right-token"];
    let client = FakeClient::register_with(address, &fields, r#"{"names":["pi"]}"#).await;
    client.accepted().await;

    let mut connection = Connection::open(address).await;
    let mut before = Vec::new();
    for _ in 0..300 {
        before.push(scrape(&mut connection).await);
    }
    let before = median(before);
    let memory = proxy.program.memory().resident;

    let (counted, _) = failures(address).await;
    let started = Instant::now();
    // On a runtime of their own: it is the proxy's that must not starve.
    let theirs = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let mut fast = JoinSet::new();
    // All from one address: of those that wait for their password to be checked there are few.
    let source = elsewhere();
    for n in 0..FAST {
        let each = guesses / FAST;
        let guessing = guess_fast(address, source, n * each, each, n % 2 == 0);
        fast.spawn_on(guessing, theirs.handle());
    }
    let mut during = Vec::new();
    let mut answered = 0;
    while !fast.is_empty() {
        during.push(scrape(&mut connection).await);
        while let Some(done) = fast.try_join_next() {
            answered += done.unwrap();
        }
    }
    theirs.shutdown_background();
    let took = started.elapsed();
    measured(&format!("{answered} guesses in"), took);
    let during = median(during);
    measured(
        "a scrape before and during them, p50 and p99",
        (before, during),
    );
    assert_eq!(answered, guesses / FAST * FAST);
    assert!(during[0] < 2 * before[0] + SLACK, "{before:?}, {during:?}");

    let (now, metrics) = failures(address).await;
    assert!(
        now - counted >= answered as f64,
        "each is counted: {counted}, {now}"
    );
    let tokens = "adit_proxy_auth_failures_total{reason=\"wrong\",role=\"client\"}";
    assert_eq!(metrics.series(tokens), (answered / 2) as f64, "each once");
    let lines = proxy.program.log().lines().count();
    assert!(lines < MOST_LINES, "{lines} lines in the log");
    let grown = proxy.program.memory().resident.saturating_sub(memory);
    assert!(grown < 16 << 20, "{grown} bytes for guesses");
    let mut patient = JoinSet::new();
    for n in 0..PATIENT {
        patient.spawn(guess_patiently(
            address,
            elsewhere(),
            1_000_000_000 * (n + 1),
        ));
    }
    let mut during = Vec::new();
    let started = Instant::now();
    while started.elapsed() < LONG {
        during.push(scrape(&mut connection).await);
    }
    let during = median(during);
    measured("the same while bcrypt has always work, and a queue", during);
    assert!(during[0] < 2 * before[0] + SLACK, "{before:?}, {during:?}");
    let (_, metrics) = failures(address).await;
    assert!(
        metrics.sum("adit_proxy_auth_failures_total") > now,
        "they were at it"
    );
    drop(patient);
}
