//! What is long, what has no end, and what is under way when we stop.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use adit_tests::binaries;
use adit_tests::fake_prometheus::{FakePrometheus, Fixed, result_of};
use adit_tests::log;
use adit_tests::pair::{self, Client};
use adit_tests::scraper::{self, Connection, End};
use adit_tests::target::answers::chunk;
use adit_tests::target::{Feed, Gate};
use adit_tests::turn::{alone, measured};
use tempfile::TempDir;

use super::asks::{Ask, IN_ORDER, in_order};
use super::pool::{self, LISTEN, Pool, by, comes_to};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const EVENTS: &str = "/api/v1/notifications/live";

/// The program, with a query address.
struct Front {
    proxy: binaries::Proxy,
    query: SocketAddr,
    _folder: TempDir,
}

impl Front {
    async fn start(backends: &[(&str, String)], keys: &str) -> Self {
        let main = pool::pool("main", backends, &format!("{IN_ORDER}{keys}"));
        let (folder, file) = pair::config(&format!("query:\n  pools:\n{main}"));
        let proxy = binaries::Proxy::start(&[LISTEN, &file]).await;
        let lines = proxy.program.lines("msg=listening", 2).await;
        let lines = lines.iter().map(|line| log::line(line).unwrap());
        let query = lines.filter(|line| line["roles"].contains("query"));
        let query = query.map(|line| line["address"].parse().unwrap()).next();
        Self {
            proxy,
            query: query.expect("an address for queries"),
            _folder: folder,
        }
    }

    async fn is_well(&self, name: &str) {
        let well = |said: &serde_json::Value| said["state"] == "healthy";
        comes_to(self.query, name, "healthy", well).await;
    }

    /// What it has open besides sockets and the like.
    fn files(&self) -> Vec<String> {
        let folder = format!("/proc/{}/fd", self.proxy.program.id());
        let open = std::fs::read_dir(folder).unwrap();
        let open = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        let open = open.map(|path| path.display().to_string());
        let usual = ["socket:", "pipe:", "anon_inode:", "/dev/", "/proc/"];
        open.filter(|path| !usual.iter().any(|usual| path.starts_with(usual)))
            .collect()
    }
}

/// Case 28, M17.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gibibytes_pass_in_the_memory_of_a_few_windows() {
    let _turn = alone().await;
    let (read, federate) = (Ask::remote_read(), Ask::get("GET /federate?match[]=up"));
    let a = FakePrometheus::start("a");
    a.set(|state| {
        let answer = Fixed::status(200).field("Content-Type", "text/plain");
        state.always("/federate", answer.flood(GIB));
        let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
        let answer = Fixed::status(200).field("Content-Type", kind);
        state.always("/api/v1/read", answer.chunked().flood(GIB));
    });
    let keys = "timeout: 10m\n";
    for way in ["direct", "tunnel"] {
        let url = match way {
            "direct" => a.url(),
            _ => "tunnel://pi:9090".to_owned(),
        };
        let front = Front::start(&[(way, url)], keys).await;
        let target = format!("--target=pi:9090={}", a.url());
        let client = binaries::Client::start(&front.proxy.url(), &[&target]).await;
        front.is_well(way).await;
        for _ in 0..20 {
            let answer = Ask::get("GET /api/v1/labels");
            scraper::send(front.query, answer.bytes()).await.expect(200);
        }
        let programs = [("proxy", &front.proxy.program), ("client", &client.program)];
        let before = programs.map(|(_, program)| program.memory().resident);
        for ask in [&federate, &read] {
            let started = Instant::now();
            let mut connection = Connection::open(front.query).await;
            connection.write(ask.bytes()).await;
            let head = connection.head().await;
            assert_eq!(head.status, 200, "{head:?}");
            assert_eq!(front.files(), [""; 0]);
            let (count, end) = connection.count(&head).await;
            assert_eq!((count, end), (GIB, End::Complete), "{way} {ask:?}");
            let (path, took) = (ask.path(), started.elapsed());
            measured(&format!("1 GiB of {path} by {way} (debug)"), took);
        }
        for ((name, program), before) in programs.iter().zip(before) {
            let growth = program.memory().peak.saturating_sub(before);
            measured(
                &format!("growth of the {name} by {way}, KiB"),
                growth / 1024,
            );
            assert!(growth < 16 * MIB, "{name} by {way}: {} MiB", growth / MIB);
        }
    }
}

/// Case 29: directly, by a tunnel, and from the second when the first has none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_as_they_happen_for_as_long_as_they_happen() {
    let _turn = alone().await;
    let (a, b) = (FakePrometheus::start("a"), FakePrometheus::start("b"));
    let backends = [
        ("a", a.url()),
        ("pi", "tunnel://pi:9090".to_owned()),
        ("b", b.url()),
    ];
    // Less than it is listened to.
    let main = pool::pool("main", &backends, &format!("{IN_ORDER}timeout: 2s\n"));
    let pool = Pool::with(&format!("query:\n  pools:\n{main}")).await;
    let target = format!("--target=pi:9090={}", b.url());
    let _client = Client::start(&[&pool.proxy.url()], &[&target]).await;
    for name in ["a", "pi", "b"] {
        pool.is(name, "healthy").await;
    }
    for served_by in ["a", "pi"] {
        let fake = if served_by == "a" { &a } else { &b };
        if served_by == "pi" {
            a.set(|state| state.always(EVENTS, Fixed::status(502)));
        }
        let mut listening = Connection::open(pool.query).await;
        listening
            .write(Ask::get("GET /api/v1/notifications/live").bytes())
            .await;
        // Before anything has happened.
        let head = listening.head_and_no_more().await;
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.field("adit-served-by").as_deref(), Some(served_by));
        let kind = head.field("content-type");
        assert_eq!(kind.as_deref(), Some("text/event-stream"));
        let mut size = 0;
        for n in 0..4 {
            let event = format!("event {n} for {served_by}");
            let told = Instant::now();
            fake.event(&event);
            size += chunk(&format!("data: {event}\n\n")).len();
            listening.wait_for_bytes(size).await;
            let took = told.elapsed();
            measured(&format!("an event by {served_by} comes after"), took);
            assert!(took < Duration::from_secs(10), "{took:?}");
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        drop(listening);
        fake.until("nobody listens", |journal| {
            journal
                .of(EVENTS)
                .iter()
                .all(|seen| seen.left.is_some() || seen.answered)
        })
        .await;
    }
    let metrics = pool.metrics().await;
    let retries = "adit_proxy_query_retries_total{from=\"a\",pool=\"main\",reason=\"bad-gateway\"}";
    assert_eq!(metrics.series(retries), 1.0);
    assert_eq!(metrics.sum("adit_proxy_query_truncated_total"), 0.0);
}

/// A first byte does not wait for `response_hold`, where there is nothing to hold for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_else_could_say_is_not_held_back() {
    let a = FakePrometheus::start("a");
    let pool = in_order(&[&a], "").await;
    let feed = Feed::new();
    a.set(|state| state.always("/nowhere", Fixed::status(200).fed(&feed)));
    let mut connection = Connection::open(pool.query).await;
    connection.write(Ask::get("GET /nowhere").bytes()).await;
    let head = connection.head().await;
    feed.give(chunk("first"));
    connection.wait_for_bytes(5).await;
    feed.give(chunk("last"));
    feed.give("0\r\n\r\n");
    let (body, end) = connection.body(&head).await;
    assert_eq!((&*body, end), (&b"firstlast"[..], End::Complete));
}

/// SIGTERM: what is under way is finished, and what has no end is ended well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_answered_when_we_stop_gets_all_of_it() {
    let a = FakePrometheus::start("a");
    let front = Front::start(&[("a", a.url())], "response_hold: 1KiB\n").await;
    front.is_well("a").await;
    let (gate, feed) = (Gate::default(), Feed::new());
    a.set(|state| {
        let answer = Fixed::text(200, &result_of("a")).behind(&gate);
        state.always("/api/v1/query", answer);
        let begun = Fixed::status(200).body(vec![b'x'; 4096]).fed(&feed);
        state.always("/api/v1/labels", begun);
    });
    let open = async |line: &'static str| {
        let mut connection = Connection::open(front.query).await;
        connection.write(Ask::get(line).bytes()).await;
        connection
    };
    let mut waiting = open("GET /api/v1/query?query=up").await;
    let mut begun = open("GET /api/v1/labels").await;
    let mut listening = open("GET /api/v1/notifications/live").await;
    let begun_head = begun.head().await;
    begun.wait_for_bytes(1024).await;
    let listening_head = listening.head().await;
    a.event("one");
    listening.wait_for_bytes(10).await;
    a.until("the query has come", |journal| {
        journal.of("/api/v1/query").len() == 1
    })
    .await;

    front.proxy.program.signal("TERM");
    let (body, end) = listening.body(&listening_head).await;
    assert_eq!((&*body, end), (&b"data: one\n\n"[..], End::Complete));
    // By now it drains. What was asked before is answered.
    gate.open();
    feed.give(chunk("the rest"));
    feed.give("0\r\n\r\n");
    let head = waiting.head().await;
    assert_eq!(head.status, 200, "{head:?}");
    let (body, end) = waiting.body(&head).await;
    assert_eq!(
        (String::from_utf8(body).unwrap(), end),
        (result_of("a"), End::Complete)
    );
    let (body, end) = begun.body(&begun_head).await;
    assert!(body.ends_with(b"xxxthe rest") && body.len() == 4096 + 8);
    assert_eq!(end, End::Complete);
    let ended = front.proxy.program.finished().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

/// Who listens to events is told to come again; meanwhile everybody else is asked as usual.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_its_server_ends_ends_well() {
    let a = FakePrometheus::start("a");
    let pool = in_order(&[&a], "").await;
    let ended = Fixed::status(200)
        .field("Content-Type", "text/event-stream")
        .body("data: one\n\n")
        .chunked();
    a.set(|state| state.always(EVENTS, ended));
    let answer = Ask::get("GET /api/v1/notifications/live").to(&pool).await;
    let answer = answer.expect(200);
    assert_eq!(
        (answer.text(), by(&answer)),
        ("data: one\n\n".into(), "a".into())
    );
}
