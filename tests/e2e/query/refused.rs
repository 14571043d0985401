//! What changes something: refused, or sent once.

use adit_tests::fake_prometheus::{Ending, FakePrometheus, Fixed};
use adit_tests::scraper;

use super::asks::{Ask, in_order, words};
use super::pool::{attempts, by};

fn post(line: &'static str) -> Ask {
    Ask {
        line,
        fields: "Content-Type: application/x-protobuf\r\n",
        body: b"\x00\xff body \r\n".to_vec(),
    }
}

/// What changes something, or shows too much, with its key in `allow`.
fn unsafe_ones() -> Vec<(Ask, &'static str)> {
    vec![
        (post("POST /api/v1/write"), "write"),
        (post("POST /api/v1/otlp/v1/metrics"), "write"),
        (
            post("POST /api/v1/admin/tsdb/delete_series?match[]=up"),
            "admin",
        ),
        (post("PUT /api/v1/admin/tsdb/snapshot"), "admin"),
        (post("DELETE /api/v1/series?match[]=up"), "admin"),
        (post("POST /-/quit"), "lifecycle"),
        (post("PUT /-/reload"), "lifecycle"),
        (Ask::get("GET /debug/pprof/heap"), "debug"),
    ]
}

/// Case 26: the half that is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_something_is_refused_and_never_arrives() {
    let a = FakePrometheus::start("a");
    let pool = in_order(&[&a], "").await;
    for (ask, key) in unsafe_ones() {
        let answer = ask.to(&pool).await.expect(403);
        let line = ask.line.split('?').next().unwrap();
        let why =
            format!("{line} is not passed on: it is refused unless the pool's \"allow\" has {key}");
        assert_eq!(words(&answer), why);
        assert_eq!(attempts(&answer), "0");
    }
    for spelling in [
        "POST /api/v1/%77rite",
        "POST //api/v1/write/",
        "POST /API/v1/Write",
        "POST /x/-/quit",
    ] {
        let request = format!("{spelling} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
        let answer = scraper::send(pool.query, request).await;
        assert_eq!(answer.head.status, 403, "{spelling}: {answer:?}");
    }
    assert_eq!(a.journal().queries().len(), 0);
}

/// Case 26, M7: the half that is allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_something_and_is_allowed_is_sent_once() {
    let (mut a, b) = (FakePrometheus::start("a"), FakePrometheus::start("b"));
    let keys = "retry: {budget: 100%}\n\
        hedge: {min: 1ms, max: 1ms, budget: 100%}\n\
        allow: {write: true, admin: true, lifecycle: true, debug: true}\n";
    let pool = in_order(&[&a, &b], keys).await;
    let mut all: Vec<Ask> = unsafe_ones().into_iter().map(|(ask, _)| ask).collect();
    // Nobody knows what it does.
    all.push(post("POST /api/v9/whatever"));
    let not_ready = Fixed::text(503, "Service Unavailable");
    for ask in &all {
        let answer = ask.to(&pool).await.expect(200);
        assert_eq!((by(&answer), attempts(&answer)), ("a".into(), "1".into()));
        let mut arrived = 1;
        assert_eq!(ask.arrived(&a), arrived, "{ask:?}");
        for (failure, status) in [
            (Fixed::text(502, "no"), 502),
            (Fixed::text(504, "no"), 504),
            (not_ready.clone(), 503),
            (Fixed::error(500, "unavailable", "TSDB not ready"), 500),
            // On a connection that was kept, too: there it might have been the server that is tidy.
            (Fixed::nothing(Ending::Close), 502),
            (Fixed::nothing(Ending::Reset), 502),
            (Fixed::raw(&b"HTTP/1.1 20"[..], Ending::Reset), 502),
        ] {
            a.set(|state| state.always(ask.path(), failure));
            let kept = a.journal().open();
            let answer = ask.to(&pool).await.expect(status);
            assert_eq!(attempts(&answer), "1", "{ask:?} {answer:?}");
            let now = ask.arrived(&a);
            // A safe method may go out again by itself (RFC 9110, 9.2.2), to the same server, whose kept
            // connections had ended; a probe may leave one more meanwhile.
            let times = if ask.line.starts_with("GET") {
                1..=kept + 3
            } else {
                1..=1
            };
            assert!(times.contains(&(now - arrived)), "{ask:?} {answer:?}");
            arrived = now;
            a.set(|state| state.as_usual());
            pool.is("a", "healthy").await;
        }
    }
    a.kill().await;
    for ask in &all {
        let answer = ask.to(&pool).await.expect(502);
        assert!(words(&answer).starts_with("a: "), "{answer:?}");
        assert_eq!(attempts(&answer), "1");
    }
    assert_eq!(b.journal().queries().len(), 0);
    let metrics = pool.metrics().await;
    assert_eq!(metrics.sum("adit_proxy_query_retries_total"), 0.0);
    assert_eq!(metrics.sum("adit_proxy_query_hedges_total"), 0.0);
}

/// What Prometheus does not have is passed on once, unless that is not wanted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_knows_may_be_refused() {
    let a = FakePrometheus::start("a");
    let pool = in_order(&[&a], "allow: {unknown: false}\n").await;
    let answer = Ask::get("GET /api/v9/whatever").to(&pool).await.expect(403);
    assert!(
        words(&answer).ends_with("\"allow\" has unknown"),
        "{answer:?}"
    );
    assert_eq!(a.journal().queries().len(), 0);
}
