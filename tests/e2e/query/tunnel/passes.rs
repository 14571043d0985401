//! What goes through a tunnel, and what its client does not let through.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use adit_tests::fake_prometheus::{Ending, FakePrometheus, Fixed, SERVED_BY};
use adit_tests::metrics::Metrics;
use adit_tests::pair;
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper::{self, Connection};
use adit_tests::target::answers::{ok, series};
use adit_tests::target::{Gate, Target};
use adit_tests::turn::measured;
use adit_tests::wait::{PATIENCE, within};

use tokio::task::JoinSet;

use super::behind;
use crate::query::asking::{QUICK, Side, form, post, served};
use crate::query::homes::last_scrape;

/// Against queries that may take two minutes.
const AT_ONCE: Duration = Duration::from_secs(5);

/// One pool with one tunnel.
fn one_tunnel() -> String {
    format!(
        "query: {{pools: [{{backends: [{{url: 'tunnel://prom:9090', name: far}}], {QUICK}}}]}}\n"
    )
}

/// Case 57: queries, and an answer of more than 20 MiB, are those of the server itself to the byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_behind_a_client_answers_as_if_it_were_asked_itself() {
    let target = Target::start(ok(series("n", 80)));
    let prometheus = Prometheus::start(&format!(
        "- job_name: n\n  static_configs: [{{targets: ['{}']}}]",
        target.address()
    ))
    .await;
    prometheus.is_up("n").await;
    let side = Side::start(&one_tunnel()).await;
    let target = format!("--target=prom:9090=http://{}", prometheus.address);
    let _client = side.client(&[&target]).await;
    side.is("far", "healthy").await;

    let end = last_scrape(&prometheus).await;
    let start = format!("{:.3}", end.parse::<f64>().unwrap() - 10_999.0);
    let instant = form(&[("query", "n > 40"), ("time", &end)]);
    // Eleven thousand steps of every series, from the one sample there is.
    let range = form(&[
        ("query", "n{n!=\"0\"} @ end() * time() / 7"),
        ("start", &start),
        ("end", &end),
        ("step", "1"),
    ]);
    for (request, at_least) in [
        (post("/api/v1/query", &instant), 1000),
        (
            scraper::page_request(&format!("/api/v1/query?{instant}")),
            1000,
        ),
        (post("/api/v1/query_range", &range), 20 << 20),
        (scraper::page_request("/api/v1/label/n/values"), 200),
    ] {
        let direct = scraper::send(prometheus.address, &request)
            .await
            .expect(200);
        let through = scraper::send(side.query, &request).await.expect(200);
        assert!(direct.body.len() > at_least, "{}", direct.body.len());
        let sizes = (direct.body.len(), through.body.len());
        assert!(through.body == direct.body, "{sizes:?}: {request}");
        for name in ["content-type", "content-encoding"] {
            assert_eq!(through.head.field(name), direct.head.field(name));
        }
    }
}

/// Case 57: whoever leaves cancels the query where it is evaluated, before the answer has begun and in
/// the middle of it, and nothing is held against the backend.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_cancels_the_query_behind_the_client() {
    let fake = FakePrometheus::start("a");
    let side = Side::start(&one_tunnel()).await;
    let _client = behind(&side, &fake).await;
    side.is("far", "healthy").await;
    let half = Fixed::status(200).body(vec![b'x'; 4 << 20]);
    for (n, answer) in [
        Fixed::nothing(Ending::Stall),
        half.cut(2 << 20, Ending::Stall),
    ]
    .into_iter()
    .enumerate()
    {
        fake.set(|state| state.once("/api/v1/query", answer));
        let mut connection = Connection::open(side.query).await;
        connection.write(post("/api/v1/query", "query=up")).await;
        fake.until("a query", |journal| {
            journal.of("/api/v1/query").len() == n + 1
        })
        .await;
        if n == 1 {
            connection.wait_for_bytes(1 << 20).await;
        }
        let left = Instant::now();
        drop(connection);
        let journal = fake
            .until("that it is cancelled", |journal| {
                journal.of("/api/v1/query")[n].left.is_some()
            })
            .await;
        let seen = journal.of("/api/v1/query")[n].left.unwrap();
        let took = seen.saturating_duration_since(left);
        measured("a cancel at a backend behind a client", took);
        assert!(took < AT_ONCE, "{took:?}");
    }
    let far = side.backend("far").await.unwrap();
    assert_eq!(far["state"], "healthy", "{far}");
    assert!(far["ejected_seconds"].is_null(), "{far}");
    assert_eq!(far["requests_in_flight"], 0, "{far}");
}

/// Remote read is bytes both ways, in chunks as they come; HEAD has no body; heads may be large.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_prometheus_is_asked_passes_a_tunnel() {
    let fake = FakePrometheus::start("a");
    let side = Side::start(&one_tunnel()).await;
    let _client = behind(&side, &fake).await;
    side.is("far", "healthy").await;

    let binary = |seed: u32| -> Vec<u8> { (0..300_000).map(|n| (n * seed % 251) as u8).collect() };
    let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    let streamed = Fixed::status(200).field("Content-Type", kind);
    let streamed = streamed.body(binary(7)).chunked();
    fake.set(|state| {
        state.always(
            "/api/v1/read",
            streamed.trickling(100_000, Duration::from_millis(1)),
        )
    });
    let head = "POST /api/v1/read HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: snappy\r\n\
                Content-Type: application/x-protobuf\r\nX-Prometheus-Remote-Read-Version: 0.1.0\r\n\
                Content-Length: 300000\r\nConnection: close\r\n\r\n";
    let request = [head.as_bytes(), &binary(11)].concat();
    let read = scraper::send(side.query, request).await.expect(200);
    assert!(read.body == binary(7), "{} bytes", read.body.len());
    assert_eq!(read.head.field("content-type").as_deref(), Some(kind));
    let journal = fake.journal();
    let seen = &journal.of("/api/v1/read")[0];
    assert!(seen.body() == binary(11), "{} bytes", seen.body().len());
    assert_eq!(seen.field("content-encoding").as_deref(), Some("snappy"));
    let version = seen.field("x-prometheus-remote-read-version");
    assert_eq!(version.as_deref(), Some("0.1.0"));

    let request =
        "HEAD /api/v1/query?query=up HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let head = scraper::send(side.query, request).await.expect(200);
    assert_eq!(head.head.field(SERVED_BY).as_deref(), Some("a"));
    assert!(head.head.field("content-length").is_some(), "{head:?}");

    // A `match[]` of every job there is, and an answer with as much in its head.
    let mut path = "/federate?match[]=%7Bjob%3D~%22".to_owned();
    for n in 0..6000 {
        let _ = write!(path, "job-{n}%7C");
    }
    path.truncate(60_000);
    let long = "y".repeat(4000);
    let mut heavy = Fixed::text(200, "up 1\n");
    for n in 0..10 {
        heavy = heavy.field(&format!("X-Heavy-{n}"), &long);
    }
    fake.set(|state| state.always("/federate", heavy));
    let federated = side.get(&path).await.expect(200);
    assert_eq!(federated.text(), "up 1\n");
    assert_eq!(federated.head.field("x-heavy-9"), Some(long));
    let journal = fake.journal();
    assert_eq!(journal.of("/federate")[0].request.path(), path);
    let reads = journal
        .queries()
        .iter()
        .filter(|seen| seen.method() == "HEAD")
        .count();
    assert_eq!(reads, 1);
}

/// Case 29, behind a tunnel: an event comes when it happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_through_a_tunnel_as_they_happen() {
    let fake = FakePrometheus::start("a");
    let side = Side::start(&one_tunnel()).await;
    let _client = behind(&side, &fake).await;
    side.is("far", "healthy").await;
    let mut connection = Connection::open(side.query).await;
    let path = "/api/v1/notifications/live";
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
    connection.write(request).await;
    let head = connection.head().await;
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(
        head.field("content-type").as_deref(),
        Some("text/event-stream")
    );
    let text = "{\"text\":\"config reload failed\"}";
    for n in 1..=3 {
        let sent = Instant::now();
        fake.event(text);
        // `data: `, two ends of a line, and at least one chunk's own lines.
        let length = n * (text.len() + 8) + 6;
        connection.wait_for_bytes(length).await;
        measured("an event through a tunnel", sent.elapsed());
        assert!(sent.elapsed() < AT_ONCE, "event {n}: {:?}", sent.elapsed());
    }
    drop(connection);
    let gone = fake.until("nobody listens to events", |journal| {
        journal.of(path)[0].left.is_some()
    });
    within(PATIENCE, "the end of events", gone).await;
}

/// The target's password is the client's business: whatever the caller shows, and whatever the proxy has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_target_must_be_shown_its_client_knows() {
    let fake = FakePrometheus::start_as("a", |state| {
        // adit:s3cret
        state.authorization = Some("Basic YWRpdDpzM2NyZXQ=".to_owned());
    });
    let side = Side::start(&one_tunnel()).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "s3cret\n").unwrap();
    let file = folder.path().join("client.yml");
    let text = format!(
        "targets:\n- target: prom:9090\n  url: http://{}\n  \
         basic_auth: {{username: adit, password_file: password}}\n",
        fake.address()
    );
    std::fs::write(&file, text).unwrap();
    let config = format!("--config.file={}", file.display());
    let _client = side.client(&[&config]).await;
    side.is("far", "healthy").await;
    let request = "GET /api/v1/query?query=up HTTP/1.1\r\nHost: localhost\r\n\
                   Authorization: Basic bWFsbG9yeTp4\r\nConnection: close\r\n\r\n";
    scraper::send(side.query, request).await.expect(200);
    let everything = side.get("/api/v1/backends").await.expect(200).text();
    assert!(!everything.contains("s3cret"), "{everything}");
}

/// What a client does not offer it does not pass on: whoever is there instead is asked, or the answer
/// says so; and the backend is as well as before. Probes make do with what there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_does_not_offer_is_refused_in_words_and_held_against_nobody() {
    let (far, near) = (FakePrometheus::start("far"), FakePrometheus::start("near"));
    let side = Side::start(&format!(
        "query:\n  pools:\n  - {{name: both, strategy: first-available, {QUICK}, backends: [\
         {{url: 'tunnel://prom:9090', name: far}}, {{url: '{}', name: near}}]}}\n  \
         - {{name: one, path_prefix: /one, {QUICK}, backends: ['tunnel://prom:9090']}}\n",
        near.url()
    ))
    .await;
    let (_folder, config) = pair::config(&format!(
        "targets:\n- target: prom:9090\n  url: http://{}\n  \
         paths: [/api/v1/query]\n",
        far.address()
    ));
    let _client = side.client(&[&config]).await;
    for name in ["far", "near", "prom:9090"] {
        side.is(name, "healthy").await;
    }
    side.until("far", "is first", |far| far["selected"] == true)
        .await;
    // More than what a backend that fails is left alone for.
    for _ in 0..8 {
        let answer = side.get("/config").await.expect(200);
        assert_eq!(served(&answer), ("near".into(), "2".into()), "{answer:?}");
        let answer = side.get("/one/config").await;
        assert_eq!(answer.head.status, 502, "{answer:?}");
        let words = answer.text();
        assert!(
            words.contains("prom:9090: ") && words.contains("/config"),
            "{words}"
        );
    }
    let answer = side.post("/api/v1/query", "query=up").await.expect(200);
    assert_eq!(served(&answer), ("far".into(), "1".into()), "{answer:?}");
    let seen = side.backend("far").await.unwrap();
    assert_eq!(seen["state"], "healthy", "{seen}");
    assert!(seen["ejected_seconds"].is_null(), "{seen}");
    assert!(far.journal().of("/config").is_empty());
}

/// A client lets so many through at once (`scrapes`, 64). The rest is for others, however many they are:
/// nothing was begun, so that it is no retry. Nothing is held against the backend.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_for_one_client_is_asked_elsewhere() {
    const ALL: usize = 150;
    const AT_ONCE: usize = 64;
    let (far, near) = (FakePrometheus::start("far"), FakePrometheus::start("near"));
    let side = Side::start(&format!(
        "query: {{pools: [{{strategy: first-available, {QUICK}, backends: [\
         {{url: 'tunnel://prom:9090', name: far}}, {{url: '{}', name: near}}]}}]}}\n",
        near.url()
    ))
    .await;
    let _client = behind(&side, &far).await;
    for name in ["far", "near"] {
        side.is(name, "healthy").await;
    }
    side.until("far", "is first", |far| far["selected"] == true)
        .await;
    let gate = Gate::default();
    let slow = Fixed::json(200, &serde_json::json!({"status": "success"})).behind(&gate);
    far.set(|state| state.always("/api/v1/labels", slow));
    let mut asking = JoinSet::new();
    for _ in 0..ALL {
        asking.spawn(scraper::send(
            side.query,
            scraper::page_request("/api/v1/labels"),
        ));
    }
    // A probe may have one place or two.
    near.until("what is too much", |journal| {
        journal.of("/api/v1/labels").len() >= ALL - AT_ONCE
    })
    .await;
    gate.open();
    let (mut by_far, mut by_near) = (0, 0);
    while let Some(answer) = asking.join_next().await {
        match &*served(&answer.unwrap().expect(200)).0 {
            "far" => by_far += 1,
            _ => by_near += 1,
        }
    }
    assert!(
        by_far > AT_ONCE / 2 && by_near >= ALL - AT_ONCE,
        "{by_far} {by_near}"
    );
    let seen = side.backend("far").await.unwrap();
    assert!(seen["ejected_seconds"].is_null(), "{seen}");
    let denied = Metrics::of(side.proxy.address)
        .await
        .sum("adit_proxy_query_retries_denied_total");
    assert_eq!(denied, 0.0);
}
