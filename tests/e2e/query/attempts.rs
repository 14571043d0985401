//! Whose answer is taken, who is asked next, and how often.

use std::time::Duration;

use adit_tests::fake_prometheus::{Ending, FakePrometheus, Fixed, result_of};
use adit_tests::metrics::Metrics;
use adit_tests::scraper::{self, Answer};
use serde_json::json;
use tokio::task::JoinSet;

use super::asks::{Ask, all_well, gzipped, in_order, words};
use super::pool::{attempts, by, reason};

/// A retry is paid for by each request.
const GENEROUS: &str = "retry: {budget: 100%}\n";

fn api(status: u16, kind: &str, words: &str) -> (Fixed, String) {
    let body = json!({"status": "error", "errorType": kind, "error": words}).to_string();
    (Fixed::error(status, kind, words), body)
}

/// The same, as a server packs it for who accepts that.
fn packed(status: u16, kind: &str, words: &str) -> (Fixed, Vec<u8>) {
    let body = gzipped(&api(status, kind, words).1);
    let answer = Fixed::status(status)
        .field("Content-Type", "application/json")
        .field("Content-Encoding", "gzip")
        .body(body.clone());
    (answer, body)
}

/// Ways not to answer, with the word for them.
fn failures() -> Vec<(&'static str, Fixed)> {
    let not_ready = || Fixed::text(503, "Service Unavailable");
    vec![
        ("reset", Fixed::nothing(Ending::Reset)),
        ("reset", Fixed::nothing(Ending::Close)),
        (
            "reset",
            Fixed::raw(&b"HTTP/1.1 200 OK\r\nContent-Le"[..], Ending::Close),
        ),
        (
            "reset",
            Fixed::raw(&b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..], Ending::Close),
        ),
        ("bad-gateway", Fixed::text(502, "<html>")),
        ("bad-gateway", Fixed::status(502).chunked()),
        ("gateway-timeout", Fixed::text(504, "")),
        ("not-ready", not_ready()),
        (
            "not-ready",
            not_ready().field("X-Prometheus-Stopping", "false"),
        ),
        (
            "stopping",
            not_ready().field("X-Prometheus-Stopping", "true"),
        ),
        ("unavailable", Fixed::text(503, "no server is available")),
        ("unavailable", api(500, "unavailable", "TSDB not ready").0),
        (
            "unavailable",
            packed(500, "unavailable", "TSDB not ready").0,
        ),
        (
            "queue",
            api(503, "timeout", "query timed out in query queue").0,
        ),
        ("too-many-requests", Fixed::text(429, "slow down")),
        ("internal", api(500, "internal", "mmap failed").0),
        (
            "truncated",
            Fixed::status(200).body("half").cut(2, Ending::Close),
        ),
    ]
}

fn retries(metrics: &Metrics, reason: &str) -> f64 {
    metrics.series(&format!(
        "adit_proxy_query_retries_total{{from=\"a\",pool=\"main\",reason=\"{reason}\"}}"
    ))
}

#[track_caller]
fn by_the_second(answer: &Answer, what: &str) {
    assert_eq!(answer.head.status, 200, "{what}: {answer:?}");
    assert_eq!(answer.text(), result_of("b"), "{what}");
    assert_eq!((by(answer), attempts(answer)), ("b".into(), "2".into()));
    assert!(reason(answer).ends_with(", retry"), "{answer:?}");
}

/// Case 23, M5, M7.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_cannot_answer_another_one_does_and_gets_the_same_bytes() {
    let (mut a, b) = (FakePrometheus::start("a"), FakePrometheus::start("b"));
    let pool = in_order(&[&a, &b], GENEROUS).await;
    let asks = [
        Ask::get("GET /api/v1/query?query=up%7Bx%3D%22+%22%7D&&y"),
        Ask::form(),
        Ask::remote_read(),
    ];
    let mut answered = 0;
    for (word, failure) in failures() {
        for ask in &asks {
            a.set(|state| state.always(ask.path(), failure.clone()));
            let before = (pool.metrics().await, ask.arrived(&a));
            let answer = ask.to(&pool).await;
            let what = format!("{word} {failure:?} {ask:?}");
            by_the_second(&answer, &what);
            let after = pool.metrics().await;
            assert_eq!(
                retries(&after, word) - retries(&before.0, word),
                1.0,
                "{what}"
            );
            assert!(ask.arrived(&a) > before.1, "{what}");
            a.set(|state| state.as_usual());
            all_well(&pool, &[&a, &b]).await;
            pool.is_first("a").await;
        }
        answered += 1;
        for ask in &asks {
            assert_eq!(ask.arrived(&b), answered, "{word}");
        }
    }
    let before = retries(&pool.metrics().await, "connect");
    a.kill().await;
    for ask in &asks {
        by_the_second(&ask.to(&pool).await, "refused");
    }
    assert_eq!(retries(&pool.metrics().await, "connect") - before, 3.0);
    let page = scraper::page(pool.query, "/metrics").await.text();
    for line in page.lines().filter(|line| line.contains("retries_total{")) {
        assert!(line.contains("{from=\"a\",pool=\"main\","), "{line}");
    }
}

/// Case 24.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_every_server_would_say_is_the_answer() {
    let (a, b) = (FakePrometheus::start("a"), FakePrometheus::start("b"));
    let pool = in_order(&[&a, &b], GENEROUS).await;
    let plain = |status, kind, words| {
        let (answer, body) = api(status, kind, words);
        (status, answer, body.into_bytes())
    };
    let late = "query timed out in expression evaluation";
    let (packed_timeout, packed_body) = packed(503, "timeout", late);
    let ask = Ask::form();
    for (status, answer, body) in [
        plain(
            400,
            "bad_data",
            "invalid parameter \"query\": 1:3: parse error",
        ),
        plain(
            422,
            "execution",
            "query processing would load too many samples",
        ),
        plain(503, "timeout", late),
        (503, packed_timeout, packed_body),
        plain(404, "not_found", "nothing here"),
        (
            406,
            Fixed::text(406, "no such format"),
            b"no such format".to_vec(),
        ),
        (
            401,
            Fixed::text(401, "Unauthorized"),
            b"Unauthorized".to_vec(),
        ),
        (500, Fixed::text(500, "panic"), b"panic".to_vec()),
        (501, Fixed::status(501).chunked(), Vec::new()),
    ] {
        a.set(|state| state.always(ask.path(), answer));
        let before = ask.arrived(&a);
        let answer = ask.to(&pool).await.expect(status);
        assert_eq!(answer.body, body, "{status}");
        assert_eq!((by(&answer), attempts(&answer)), ("a".into(), "1".into()));
        assert_eq!(ask.arrived(&a), before + 1, "{status}");
    }
    assert_eq!(ask.arrived(&b), 0);
    assert_eq!(
        pool.metrics().await.sum("adit_proxy_query_retries_total"),
        0.0
    );
}

/// Case 25, M9.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_asked_twice_and_when_all_fail_that_is_said() {
    let mut fakes = ["a", "b", "c"].map(FakePrometheus::start);
    let all = fakes.each_ref();
    let keys = "retry: {budget: 100%, attempts: 8}\n";
    let pool = in_order(&all, keys).await;
    let ask = Ask::form();
    for fake in &fakes {
        let words = format!("bad gateway by {}", fake.id());
        fake.set(|state| state.always(ask.path(), Fixed::text(502, &words)));
    }
    for asked in 1..=3 {
        // The last one's own words: they are no worse than ours.
        let answer = ask.to(&pool).await.expect(502);
        assert_eq!(answer.text(), "bad gateway by c");
        assert_eq!((by(&answer), attempts(&answer)), ("c".into(), "3".into()));
        for fake in &fakes {
            assert_eq!(ask.arrived(fake), asked, "{}", fake.id());
        }
    }
    for fake in &mut fakes {
        fake.kill().await;
    }
    let answer = ask.to(&pool).await.expect(502);
    let words = words(&answer);
    for name in ["a: ", "; b: ", "; c: "] {
        assert!(words.contains(name), "{words}");
    }
    assert!(words.contains("refused"), "{words}");
    assert_eq!(attempts(&answer), "3");
}

/// Case 25: `attempts` is how many may be asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_are_asked_than_may_be() {
    let fakes = ["a", "b", "c"].map(FakePrometheus::start);
    let pool = in_order(&fakes.each_ref(), "retry: {budget: 100%, attempts: 2}\n").await;
    let ask = Ask::form();
    for fake in &fakes {
        fake.set(|state| state.always(ask.path(), Fixed::status(504)));
    }
    assert_eq!(attempts(&ask.to(&pool).await.expect(504)), "2");
    let arrived = fakes.each_ref().map(|fake| ask.arrived(fake));
    assert_eq!(arrived, [1, 1, 0]);
}

/// Case 31.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_everything_fails_little_more_is_sent_than_was_asked() {
    const REQUESTS: usize = 300;
    /// Those of a quiet time, before the share of each request counts.
    const AT_FIRST: usize = 10;
    /// What is under way when the last of it was lent.
    const AT_ONCE: usize = 10;
    let fakes = ["a", "b", "c"].map(FakePrometheus::start);
    let pool = in_order(&fakes.each_ref(), "").await;
    let ask = Ask::get("GET /api/v1/query?query=up");
    for fake in &fakes {
        fake.set(|state| state.always(ask.path(), Fixed::status(502)));
    }
    let mut asking = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (bytes, query) = (ask.bytes(), pool.query);
        asking.spawn(async move {
            let mut connection = scraper::Connection::open(query).await;
            for _ in 0..REQUESTS / AT_ONCE {
                connection.exchange(&bytes).await.expect(502);
            }
        });
    }
    asking.join_all().await;
    let sent: usize = fakes.iter().map(|fake| ask.arrived(fake)).sum();
    let most = REQUESTS + REQUESTS / 5 + AT_FIRST + AT_ONCE;
    assert!(
        (REQUESTS + REQUESTS / 5..=most).contains(&sent),
        "{sent} of {most}"
    );
    let metrics = pool.metrics().await;
    let denied = metrics.series("adit_proxy_query_retries_denied_total{pool=\"main\"}");
    assert!(denied > 100.0, "{denied}");
}

/// Case 32: however the time is written, and however many are asked in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_a_query_has_is_for_all_tries_together() {
    let fakes = ["a", "b", "c"].map(FakePrometheus::start);
    let keys = "retry: {budget: 100%, header_timeout: 1050ms}\n";
    let pool = in_order(&fakes.each_ref(), keys).await;
    for fake in &fakes {
        fake.set(|state| {
            for path in ["/api/v1/query", "/api/v1/query_range"] {
                state.always(path, Fixed::nothing(Ending::Stall));
            }
        });
    }
    let form = |body: &'static str| Ask {
        body: body.into(),
        ..Ask::form()
    };
    let mut asking = JoinSet::new();
    for (ask, time, asked) in [
        (
            Ask::get("GET /api/v1/query?query=1%2B1&timeout=2s"),
            2000,
            2,
        ),
        (Ask::get("GET /api/v1/query?query=up&timeout=2"), 2000, 2),
        (
            form("query=up&start=0&end=1&step=1&timeout=1s500ms"),
            1500,
            2,
        ),
        // Grafana's, which is shorter than it thinks.
        (form("query=up&start=0&end=1&step=1&timeout=0.5"), 500, 1),
        (form("timeout=600ms&query=up"), 600, 1),
    ] {
        let (bytes, query) = (ask.bytes(), pool.query);
        asking.spawn(async move {
            let answer = scraper::send(query, bytes).await.expect(504);
            let at_least = Duration::from_millis(time);
            assert!(answer.took >= at_least, "{ask:?}: {:?}", answer.took);
            assert!(
                answer.took < at_least + Duration::from_secs(10),
                "{ask:?}: {:?}",
                answer.took
            );
            let time = humantime::format_duration(at_least);
            let words = words(&answer);
            assert_eq!(words, format!("no backend answered within {time}"));
            assert_eq!(attempts(&answer), asked.to_string(), "{ask:?}");
        });
    }
    asking.join_all().await;
    // Who is given too little time is no worse for it.
    for fake in &fakes {
        assert_eq!(
            pool.backend(fake.id()).await["ejected_seconds"],
            json!(null)
        );
    }
}
