//! Bodies, there and back: whole, or seen not to be.

use std::time::Duration;

use adit_tests::fake_prometheus::{Ending, FakePrometheus, Fixed};
use adit_tests::scraper::{self, Connection, End};
use adit_tests::wait::{PATIENCE, eventually};
use serde_json::json;

use super::asks::{Ask, in_order, words};
use super::pool::{Pool, attempts, by};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const QUERY: &str = "/api/v1/query";

fn body(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8).collect()
}

/// How a server tells where its answer ends, and how it breaks off.
fn deaths(size: usize, at: usize) -> Vec<(&'static str, Fixed)> {
    let answer = || Fixed::status(200).body(body(size));
    vec![
        ("length, closed", answer().cut(at, Ending::Close)),
        ("length, reset", answer().cut(at, Ending::Reset)),
        ("chunks, closed", answer().chunked().cut(at, Ending::Close)),
        ("chunks, reset", answer().chunked().cut(at, Ending::Reset)),
        (
            "many chunks",
            answer()
                .chunked()
                .trickling(at / 4, Duration::from_millis(1))
                .cut(at, Ending::Close),
        ),
        ("until reset", answer().until_close().cut(at, Ending::Reset)),
    ]
}

/// Case 27: as long as nobody has seen any of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_while_it_is_held_is_had_from_another() {
    let (a, b) = (FakePrometheus::start("a"), FakePrometheus::start("b"));
    let pool = in_order(&[&a, &b], "retry: {budget: 100%}\n").await;
    let whole = body(20 * KIB);
    b.set(|state| state.always(QUERY, Fixed::status(200).body(whole.clone())));
    for version in ["1.1", "1.0"] {
        for (how, death) in deaths(20 * KIB, 10 * KIB) {
            a.set(|state| state.always(QUERY, death));
            let request = format!("GET {QUERY}?query=up HTTP/{version}\r\nHost: x\r\n\r\n");
            let answer = scraper::send(pool.query, request).await.expect(200);
            assert!(answer.body == whole, "{how}");
            assert_eq!((by(&answer), attempts(&answer)), ("b".into(), "2".into()));
        }
    }
    let metrics = pool.metrics().await;
    assert_eq!(metrics.sum("adit_proxy_query_truncated_total"), 0.0);
}

/// Case 27: afterwards nobody can take it for an answer, whatever they speak.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_later_is_never_a_whole_one() {
    let (a, b) = (FakePrometheus::start("a"), FakePrometheus::start("b"));
    let pool = in_order(&[&a, &b], "response_hold: 1MiB\n").await;
    let mut cut = 0.0;
    for version in ["1.1", "1.0"] {
        for (how, death) in deaths(20 * MIB, 5 * MIB) {
            a.set(|state| state.always(QUERY, death));
            let request = format!("GET {QUERY}?query=up HTTP/{version}\r\nHost: x\r\n\r\n");
            let answer = scraper::send(pool.query, request).await;
            let (status, end) = (answer.head.status, &answer.end);
            let what = format!("{how} to {version}: {end:?} after {}", answer.body.len());
            assert_eq!(status, 200, "{what}");
            assert!(answer.is_cut(), "{what}");
            assert!(answer.body.len() <= 5 * MIB, "{what}");
            assert!(answer.body == body(answer.body.len()), "{what}");
            assert_eq!(by(&answer), "a");
            // Where nothing says how long it is, only a reset tells.
            if answer.head.field("content-length").is_none() && version == "1.0" {
                assert!(answer.head.field("transfer-encoding").is_none(), "{what}");
                assert!(format!("{end:?}").contains("reset"), "{what}");
            }
            cut += 1.0;
        }
    }
    assert_eq!(b.journal().queries().len(), 0);
    let metrics = pool.metrics().await;
    let truncated = "adit_proxy_query_truncated_total{backend=\"a\",pool=\"main\"}";
    assert_eq!(metrics.series(truncated), cut);
}

/// M17: what is longer than what is held passes, and nothing of it is written anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_any_length_pass_whole() {
    let a = FakePrometheus::start("a");
    let pool = in_order(&[&a], "response_hold: 64KiB\n").await;
    for size in [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 3 * MIB] {
        for answer in [
            Fixed::status(200).body(body(size)),
            Fixed::status(200).body(body(size)).chunked(),
            Fixed::status(200).body(body(size)).until_close(),
            Fixed::status(200)
                .body(body(size))
                .chunked()
                .trickling(size / 5 + 1, Duration::from_millis(1)),
        ] {
            a.set(|state| state.always(QUERY, answer));
            let answer = Ask::get("GET /api/v1/query?query=up").to(&pool).await;
            let answer = answer.expect(200);
            assert!(answer.body == body(size), "{size}");
        }
    }
    assert_eq!(
        pool.metrics().await.sum("adit_proxy_query_buffered_bytes"),
        0.0
    );
}

/// Case 30.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_is_refused_before_it_has_come() {
    let a = FakePrometheus::start("a");
    let pool = in_order(&[&a], "request_body: 10KiB\n").await;
    let reached = "adit_proxy_limits_reached_total{limit=\"request_body\"}";
    assert_eq!(pool.metrics().await.series(reached), 0.0);
    let head = "POST /api/v1/query HTTP/1.1\r\nHost: x\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n";
    let chunk = format!("2000\r\n{}\r\n", "x".repeat(8 * KIB));
    for request in [
        // Said, and not a byte of it sent.
        format!("{head}Content-Length: {}\r\n\r\n", 10 * KIB + 1),
        format!(
            "{head}Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            i64::MAX
        ),
        // Not said, and without an end.
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}"),
    ] {
        let answer = scraper::send(pool.query, request).await.expect(413);
        let why = "the request's body is larger than 10KiB (the pool's request_body)";
        assert_eq!(words(&answer), why);
    }
    assert_eq!(pool.metrics().await.series(reached), 3.0);
    assert_eq!(a.journal().queries().len(), 0);
    // What just fits arrives.
    let ask = Ask {
        body: vec![b'x'; 10 * KIB],
        ..Ask::form()
    };
    ask.to(&pool).await.expect(200);
    assert_eq!(ask.arrived(&a), 1);
}

/// Case 32: the time is for the answer's body, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_takes_longer_than_it_may_is_cut() {
    let a = FakePrometheus::start("a");
    let pool = in_order(&[&a], "response_hold: 1KiB\n").await;
    let slow = Fixed::status(200).body(body(8 * KIB)).chunked();
    a.set(|state| state.always(QUERY, slow.cut(4 * KIB, Ending::Stall)));
    let ask = Ask::get("GET /api/v1/query?query=up&timeout=1s");
    let answer = ask.to(&pool).await;
    assert_eq!(answer.head.status, 200, "{answer:?}");
    assert!(
        answer.is_cut() && answer.body.len() <= 4 * KIB,
        "{:?}",
        answer.end
    );
    assert!(answer.took >= Duration::from_secs(1), "{:?}", answer.took);
    assert!(answer.took < Duration::from_secs(8), "{:?}", answer.took);
    // Held, and so nobody has seen of it.
    a.set(|state| {
        let slow = Fixed::status(200).body(body(800)).cut(400, Ending::Stall);
        state.always(QUERY, slow);
    });
    let answer = ask.to(&pool).await.expect(504);
    assert_eq!(words(&answer), "no backend answered within 1s");
    a.until("nobody waits", |journal| {
        journal.of(QUERY).iter().all(|seen| seen.left.is_some())
    })
    .await;
}

/// Case 21: callers who leave while an answer streams cost a backend nothing, and tell nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_callers_who_leave_in_the_middle_free_the_backend() {
    let (a, b) = (FakePrometheus::start("a"), FakePrometheus::start("b"));
    // One failure would be enough.
    let keys = "strategy: first-available\nfail_back: 0s\n\
        response_hold: 16KiB\n\
        health: {interval: 1s, timeout: 20s, warm_up: 0s, consecutive_failures: 1, \
        max_ejected: 100%}\n";
    let pool = Pool::start(&[&a, &b], keys).await;
    pool.is("a", "healthy").await;
    pool.is("b", "healthy").await;
    pool.is_first("a").await;
    a.set(|state| state.always(QUERY, Fixed::status(200).body(body(KIB)).endless()));
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut connection = Connection::open(pool.query).await;
        let ask = Ask::get("GET /api/v1/query?query=up");
        connection.write(ask.bytes()).await;
        open.push(connection);
    }
    for connection in &mut open {
        assert_eq!(connection.head().await.status, 200);
        connection.wait_for_bytes(20 * KIB).await;
    }
    drop(open);
    let journal = a
        .until("all have left", |journal| {
            let seen = journal.of(QUERY);
            seen.len() == 100 && seen.iter().all(|seen| seen.left.is_some())
        })
        .await;
    assert_eq!(journal.of(QUERY).len(), 100);
    eventually(PATIENCE, "nothing is left of them", async || {
        let metrics = pool.metrics().await;
        let left = [
            "adit_proxy_query_backend_requests_in_flight",
            "adit_proxy_query_buffered_bytes",
        ]
        .map(|name| metrics.sum(name));
        match left == [0.0, 0.0] {
            true => Ok(()),
            false => Err(format!("{left:?}")),
        }
    })
    .await;
    let metrics = pool.metrics().await;
    for name in ["ejections_total", "retries_total"] {
        assert_eq!(
            metrics.sum(&format!("adit_proxy_query_backend_{name}")),
            0.0
        );
    }
    assert_eq!(metrics.sum("adit_proxy_query_truncated_total"), 0.0);
    let a = pool.backend("a").await;
    assert_eq!(
        (&a["state"], &a["ejected_seconds"]),
        (&json!("healthy"), &json!(null)),
        "{a}"
    );
    assert_eq!(b.journal().queries().len(), 0);
    let answer = Ask::get("GET /api/v1/labels").to(&pool).await;
    assert_eq!((by(&answer), answer.end), ("a".into(), End::Complete));
}
