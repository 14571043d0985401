use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::scraper::{Answer, Connection, End, send};
use crate::target::Gate;
use crate::tls::Authority;

const PROBE: &str = "User-Agent: adit-probe\r\n";

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
}

fn post(path: &str, form: &str, fields: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\n{fields}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
}

async fn asked(fake: &FakePrometheus, path: &str) -> Answer {
    send(fake.address(), get(path, "")).await
}

fn json_of(answer: &Answer) -> Value {
    assert_eq!(answer.end, End::Complete);
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn it_is_a_healthy_prometheus_that_says_who_it_is() {
    let fake = FakePrometheus::start("a");
    for path in ["/api/v1/query?query=up", "/api/v1/labels", "/graph"] {
        let answer = asked(&fake, path).await;
        assert_eq!(
            (answer.head.status, answer.text()),
            (200, result_of("a")),
            "{path}"
        );
        assert_eq!(answer.head.field(SERVED_BY).as_deref(), Some("a"));
    }
    assert_eq!(asked(&fake, "/-/ready").await.head.status, 200);
    assert_eq!(
        asked(&fake, "/api/v1/status/tsdb/blocks").await.head.status,
        404
    );
    let metrics = asked(&fake, "/metrics").await.text();
    assert!(
        metrics.contains("prometheus_tsdb_lowest_timestamp_seconds 1."),
        "{metrics}"
    );
    assert!(
        metrics.contains("appended_total{type=\"float\"} 1e6\n"),
        "{metrics}"
    );
    let runtime = json_of(&asked(&fake, "/api/v1/status/runtimeinfo").await);
    assert!(
        runtime["data"]["startTime"]
            .as_str()
            .unwrap()
            .starts_with("20")
    );

    fake.set(|state| {
        state.blocks = Some(vec![Block {
            from: 1.5,
            to: 2.0,
            samples: 7,
        }])
    });
    let blocks = json_of(&asked(&fake, "/api/v1/status/tsdb/blocks").await);
    assert_eq!(blocks["data"]["blocks"][0]["minTime"], 1500);
    assert_eq!(blocks["data"]["blocks"][0]["stats"]["numSamples"], 7);
}

#[tokio::test]
async fn probes_see_what_was_set_and_are_kept_apart() {
    let fake = FakePrometheus::start_as("a", |state| {
        state.age = Some(12.5);
        state.targets = 4;
    });
    let form = "query=time%28%29+-+max%28timestamp%28up%29%29&timeout=2s";
    let answer = send(fake.address(), post("/api/v1/query", form, PROBE)).await;
    let values: Vec<(String, String)> = json_of(&answer)["data"]["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| {
            (
                series["metric"]["what"].to_string(),
                series["value"][1].to_string(),
            )
        })
        .take(2)
        .collect();
    let value = |what: &str, value: &str| (format!("\"{what}\""), format!("\"{value}\""));
    assert_eq!(values, [value("age", "12.5"), value("targets", "4")]);

    fake.set(|state| {
        state.answer_age(|query| json!({"asked": query}));
        state.to_probes("/-/ready", Fixed::status(500));
        state.always("/-/ready", Fixed::status(418));
    });
    let answer = send(fake.address(), post("/api/v1/query", form, PROBE)).await;
    assert_eq!(json_of(&answer)["asked"], "time() - max(timestamp(up))");
    assert_eq!(
        send(fake.address(), get("/-/ready", PROBE))
            .await
            .head
            .status,
        500
    );
    assert_eq!(asked(&fake, "/-/ready").await.head.status, 418);
    fake.set(State::as_usual);
    assert_eq!(asked(&fake, "/-/ready").await.head.status, 200);

    let journal = fake.journal();
    let [probes, queries] = [journal.probes(), journal.queries()];
    assert_eq!((probes.len(), queries.len()), (3, 2));
    assert_eq!(
        (probes[0].method(), probes[0].path()),
        ("POST", "/api/v1/query")
    );
    assert_eq!(probes[0].parameter("timeout").as_deref(), Some("2s"));
    assert_eq!(probes[0].body(), form.as_bytes());
    assert!(queries[0].answered && queries[0].left.is_none());
}

#[tokio::test]
async fn it_starts_and_stops_and_is_an_old_one() {
    let fake = FakePrometheus::start_as("a", |state| state.ready = Ready::Replaying(3, 10));
    let answer = asked(&fake, "/api/v1/query?query=up").await;
    assert_eq!(answer.head.status, 503);
    assert_eq!(
        answer.head.field("x-prometheus-stopping").as_deref(),
        Some("false")
    );
    let replay = json_of(&asked(&fake, "/api/v1/status/walreplay").await);
    assert_eq!(replay["data"], json!({"min": 0, "max": 10, "current": 3}));
    assert_eq!(asked(&fake, "/metrics").await.head.status, 200);
    fake.set(|state| state.ready = Ready::Stopping);
    let answer = asked(&fake, "/-/ready").await;
    assert_eq!(
        answer.head.field("x-prometheus-stopping").as_deref(),
        Some("true")
    );
    fake.set(|state| state.ready = Ready::No);
    assert_eq!(
        asked(&fake, "/-/ready")
            .await
            .head
            .field("x-prometheus-stopping"),
        None
    );

    fake.set(|state| {
        state.ready = Ready::Yes;
        state.prometheus_1(5e6);
        state.prefix = "/prom".to_owned();
        state.authorization = Some("Bearer x".to_owned());
    });
    let shown = "Authorization: Bearer x\r\n";
    for (request, status) in [
        (get("/prom/-/ready", shown), 404),
        (get("/-/ready", shown), 404),
        (get("/prom/metrics", ""), 401),
        (post("/prom/api/v1/query", "query=up", shown), 405),
        (get("/prom/api/v1/query?query=timestamp(up)", shown), 400),
        (get("/prom/api/v1/query?query=up", shown), 200),
    ] {
        let answer = send(fake.address(), &request).await;
        assert_eq!(answer.head.status, status, "{request}");
    }
    let metrics = send(fake.address(), get("/prom/metrics", shown))
        .await
        .text();
    assert!(
        metrics.contains("prometheus_local_storage_ingested_samples_total 5e6\n"),
        "{metrics}"
    );
    assert!(!metrics.contains("tsdb"), "{metrics}");
}

#[tokio::test]
async fn an_answer_is_cut_where_it_should_be() {
    let fake = FakePrometheus::start("a");
    let body = "0123456789".repeat(10);
    for (fixed, whole) in [
        (Fixed::status(200).body(body.clone()), true),
        (Fixed::status(200).body(body.clone()).chunked(), true),
        (Fixed::status(200).body(body.clone()).until_close(), false),
        (
            Fixed::status(200)
                .body(body.clone())
                .trickling(7, Duration::from_millis(1)),
            true,
        ),
        (
            Fixed::status(200)
                .body(body.clone())
                .trickling(7, Duration::ZERO)
                .chunked(),
            true,
        ),
    ] {
        fake.set(|state| state.once("/x", fixed.clone()));
        let answer = asked(&fake, "/x").await;
        assert_eq!(answer.text(), body);
        assert_eq!(answer.end == End::Complete, whole, "{:?}", answer.end);
        for ending in [Ending::Close, Ending::Reset] {
            fake.set(|state| state.once("/x", fixed.clone().cut(42, ending)));
            let answer = asked(&fake, "/x").await;
            if !matches!(ending, Ending::Reset) {
                assert_eq!(answer.text(), body[..42], "{fixed:?}");
            }
            assert_eq!(
                answer.is_cut(),
                whole || ending == Ending::Reset,
                "{fixed:?}"
            );
        }
    }
    fake.set(|state| state.once("/x", Fixed::raw("HTTP/1.1 200 O", Ending::Close)));
    assert_eq!(asked(&fake, "/x").await.head.status, 0);
    fake.set(|state| state.once("/x", Fixed::status(200).body("a").flood(1 << 20)));
    assert_eq!(asked(&fake, "/x").await.body.len(), (1 << 20) + 1);
    fake.set(|state| state.once("/x", Fixed::status(200).flood(1 << 20).chunked()));
    assert_eq!(asked(&fake, "/x").await.body.len(), 1 << 20);
    let head = send(
        fake.address(),
        get("/api/v1/query", "").replace("GET", "HEAD"),
    )
    .await;
    assert_eq!((head.head.status, head.end), (200, End::Complete));
}

#[tokio::test]
async fn who_leaves_is_seen() {
    let fake = FakePrometheus::start_as("a", |state| {
        state.hangs = Hangs::OnQueries;
        state.always("/endless", Fixed::status(200).endless());
    });
    assert_eq!(asked(&fake, "/metrics").await.head.status, 200);
    for path in ["/api/v1/query?query=up", "/endless"] {
        let mut connection = Connection::open(fake.address()).await;
        connection.write(get(path, "")).await;
        let path = path.split('?').next().unwrap();
        fake.until(path, |journal| !journal.of(path).is_empty())
            .await;
        let before = Instant::now();
        drop(connection);
        let gone = |journal: &Journal<'_>| journal.of(path)[0].left.is_some();
        let journal = fake.until("the end of it", gone).await;
        let seen = journal.of(path)[0];
        assert!(!seen.answered && seen.left.unwrap() >= before);
    }
    fake.all_closed().await;
    assert_eq!(fake.journal().open(), 0);
}

#[tokio::test]
async fn events_come_as_the_test_gives_them() {
    let fake = FakePrometheus::start("a");
    let mut connection = Connection::open(fake.address()).await;
    connection
        .write(get("/api/v1/notifications/live", ""))
        .await;
    let head = connection.head().await;
    assert_eq!(
        head.field("content-type").as_deref(),
        Some("text/event-stream")
    );
    for (n, event) in ["one", "two"].into_iter().enumerate() {
        fake.event(event);
        let each = "b\r\ndata: one\n\n\r\n".len();
        connection.wait_for_bytes((n + 1) * each).await;
    }

    let gate = Gate::default();
    fake.set(|state| state.once("/x", Fixed::text(200, "late").body_behind(&gate)));
    let mut other = Connection::open(fake.address()).await;
    other.write(get("/x", "")).await;
    let head = other.head().await;
    gate.open();
    assert_eq!(other.body(&head).await, (b"late".to_vec(), End::Complete));
}

#[tokio::test]
async fn it_goes_and_comes_back_where_it_was() {
    let mut fake = FakePrometheus::start("a");
    fake.set(|state| state.hangs = Hangs::Always);
    let mut connection = Connection::open(fake.address()).await;
    connection.write(get("/x", "")).await;
    fake.until("a request", |journal| journal.queries().len() == 1)
        .await;
    fake.kill().await;
    assert_eq!(connection.exchange("").await.head.status, 0, "reset");
    let refused = tokio::net::TcpStream::connect(fake.address())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    fake.restart().await;
    fake.set(|state| state.hangs = Hangs::Never);
    assert_eq!(asked(&fake, "/y").await.head.status, 200);
    let journal = fake.journal();
    let paths: Vec<&str> = journal.queries().iter().map(Seen::path).collect();
    assert_eq!(paths, ["/x", "/y"]);
    assert!(journal.queries()[0].left.is_none(), "it was we who left");
}

#[tokio::test]
async fn a_test_decides_by_the_request() {
    let fake = FakePrometheus::start_as("a", |state| {
        state.decide(|seen| {
            let heavy = seen
                .parameter("query")
                .is_some_and(|query| query == "heavy");
            heavy.then(|| Fixed::error(503, "timeout", "query timed out"))
        });
    });
    let answer = send(fake.address(), post("/api/v1/query", "query=heavy", "")).await;
    assert_eq!(json_of(&answer)["errorType"], "timeout");
    let answer = send(fake.address(), post("/api/v1/query", "query=up", "")).await;
    assert_eq!(answer.head.status, 200);
}

#[tokio::test]
async fn it_speaks_tls() {
    let authority = Authority::new();
    let fake = FakePrometheus::start_tls("a", authority.server(&["localhost"]));
    assert!(fake.url().starts_with("https://127.0.0.1:"));
    let stream = tokio::net::TcpStream::connect(fake.address())
        .await
        .unwrap();
    let stream = authority.connect("localhost", stream).await;
    let answer = Connection::over(stream)
        .exchange(get("/api/v1/labels", ""))
        .await;
    assert_eq!(answer.text(), result_of("a"));
}
