//! When another backend is asked, and who gets to know why.

use std::time::Duration;

use http::Method;

use super::fake::{Fake, Step, answer, nobody};
use super::*;
use crate::query::refusal::Refusal;
use crate::query::standing::State;

const JSON: &str = "content-type: application/json\r\n";
const TEXT: &str = "content-type: text/plain; charset=utf-8\r\n";

fn error(kind: &str, words: &str) -> Vec<u8> {
    format!(r#"{{"status":"error","errorType":"{kind}","error":"{words}"}}"#).into_bytes()
}

/// What may be asked of another backend, and the word for it.
fn failing() -> Vec<(Vec<Step>, &'static str)> {
    let send =
        |status: &str, fields: &str, body: &[u8]| vec![Step::Send(answer(status, fields, body))];
    let stopping = |value| format!("{TEXT}x-prometheus-stopping: {value}\r\n");
    let unready = "503 Service Unavailable";
    let said = b"Service Unavailable";
    vec![
        (vec![], "reset"),
        (
            vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec())],
            "reset",
        ),
        (vec![Step::Send(b"SSH-2.0-OpenSSH\r\n".to_vec())], "reset"),
        (send("502 Bad Gateway", "", b"<html>"), "bad-gateway"),
        (send("504 Gateway Timeout", "", b""), "gateway-timeout"),
        (send(unready, TEXT, said), "not-ready"),
        (send(unready, &stopping("false"), said), "not-ready"),
        (send(unready, &stopping("true"), said), "stopping"),
        (
            send(unready, "content-type: text/html\r\n", b"<h1>503"),
            "unavailable",
        ),
        (
            send(
                "500 Internal Server Error",
                JSON,
                &error("unavailable", "TSDB not ready"),
            ),
            "unavailable",
        ),
        (
            send(
                "500 Internal Server Error",
                JSON,
                &error("internal", "mmap"),
            ),
            "internal",
        ),
        (
            send(
                unready,
                JSON,
                &error("timeout", "query timed out in query queue"),
            ),
            "queue",
        ),
        (
            send(
                "499 Client Closed Request",
                JSON,
                &error("canceled", "query was canceled"),
            ),
            "canceled",
        ),
        (
            send("429 Too Many Requests", "retry-after: 3\r\n", b"slow down"),
            "too-many-requests",
        ),
        // Its error breaks off.
        (
            vec![Step::Send(
                b"HTTP/1.1 503 No\r\ncontent-length: 99\r\n\r\nServ".to_vec(),
            )],
            "truncated",
        ),
    ]
}

/// Case 23: whatever goes wrong before a byte was passed on, another backend is asked the same, byte for
/// byte, and the metric says who failed and how (M5, M7).
#[tokio::test]
async fn another_is_asked_the_same() {
    // A snappy block is any bytes at all.
    let snappy: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for (method, body) in [
        (Method::GET, &b""[..]),
        (Method::POST, b"query=up&timeout=10s"),
        (Method::POST, &snappy),
    ] {
        for (steps, reason) in failing() {
            let bench = Bench::new(|_| {});
            let bad = Fake::start(steps).await;
            let good = Fake::good("good").await;
            let order = bench.order(&addresses(&[&bad, &good]));
            let got = bench.get(asked(READ, method.clone(), body), order).await;
            assert_eq!(
                (got.status.as_u16(), &*got.by, got.attempts, got.reason),
                (200, "b", 2, "retry"),
                "{reason}"
            );
            assert_eq!(got.body, br#"{"status":"success","data":"good"}"#);
            assert_eq!(bench.retries("a", reason), 1, "{reason}");
            assert_eq!(bench.all_retries(), 1);
            let (first, second) = (&bad.seen()[0], &good.seen()[0]);
            assert_eq!(first.body, body);
            assert_eq!(second.body, body);
            assert_eq!(
                first.line,
                format!("{method} /api/v1/query?query=up%7Bjob%3D%22a%22%7D&time=1 HTTP/1.1")
            );
            assert_eq!(second.line, first.line);
            assert!(second.head.to_ascii_lowercase().contains("x-scope: one"));
            assert_eq!(
                bench.in_flight("a") + bench.in_flight("b") + bench.held(),
                0
            );
        }
    }
}

/// Case 23: nobody is there.
#[tokio::test]
async fn who_refuses_connections_is_passed_over() {
    let bench = Bench::new(|_| {});
    let good = Fake::good("good").await;
    let gone = nobody();
    let order = bench.order(&[gone.address, good.address]);
    let got = bench.get(query(), order.clone()).await;
    assert_eq!((&*got.by, got.attempts), ("b", 2));
    assert_eq!(bench.retries("a", "connect"), 1);
    assert_eq!(
        (bench.requests("a", "connect"), bench.requests("b", "200")),
        (1, 1)
    );
    assert!(order[0].standing.borrow().has_failed());
    assert!(!order[1].standing.borrow().has_failed());
}

/// What says nothing of a backend is not held against it, and a good answer makes up for a bad one.
#[tokio::test]
async fn what_counts_against_a_backend() {
    for (steps, reason) in failing() {
        let bench = Bench::new(|_| {});
        let bad = Fake::start(steps).await;
        let good = Fake::good("good").await;
        let order = bench.order(&addresses(&[&bad, &good]));
        bench.get(query(), order.clone()).await;
        let standing = order[0].standing.borrow();
        // Also whoever says that it is not ready without a field of its head: anybody may say so.
        let failed = match reason {
            "not-ready" => standing.state != State::Starting,
            "reset" | "bad-gateway" | "gateway-timeout" | "truncated" | "unavailable" => true,
            _ => false,
        };
        assert_eq!(standing.has_failed(), failed, "{reason}");
        let stopping = standing.state == State::Stopping;
        assert_eq!(stopping, reason == "stopping", "{reason}");
    }
    let bench = Bench::new(|_| {});
    let script = |nth| match nth {
        0 => vec![],
        _ => vec![Step::Send(answer(
            "422 Unprocessable Entity",
            JSON,
            &error("execution", "many-to-many"),
        ))],
    };
    let fake = Fake::with(script).await;
    let order = bench.order(&[fake.address]);
    bench.make(query(), order.clone()).await.unwrap_err();
    assert!(order[0].standing.borrow().has_failed());
    bench.get(query(), order.clone()).await;
    assert!(
        !order[0].standing.borrow().has_failed(),
        "who says that a query is wrong is well"
    );
}

/// Case 25: nobody is asked twice for one request (M9), and nobody knows better in the end.
#[tokio::test]
async fn each_is_asked_once() {
    let bench = Bench::new(|pool| pool.retry.attempts = 9);
    let fakes = [
        Fake::start(vec![]).await,
        Fake::start(vec![]).await,
        Fake::start(vec![]).await,
    ];
    let order = bench.order(&addresses(&[&fakes[0], &fakes[1], &fakes[2]]));
    let refused = bench.make(query(), order).await.unwrap_err();
    assert_eq!((refused.attempts, refused.last.as_deref()), (3, Some("c")));
    for fake in &fakes {
        assert_eq!(fake.seen().len(), 1);
    }
    let Refusal::Failed(words) = refused.refusal else {
        panic!("{refused:?}");
    };
    for name in ["a: ", "; b: ", "; c: "] {
        assert!(words.contains(name), "{words}");
    }
}

#[tokio::test]
async fn no_more_than_so_many_are_asked() {
    let bench = Bench::new(|pool| pool.retry.attempts = 2);
    let good = Fake::good("good").await;
    let gone = [nobody(), nobody()];
    let order = bench.order(&[gone[0].address, gone[1].address, good.address]);
    let refused = bench.make(query(), order).await.unwrap_err();
    assert_eq!(refused.attempts, 2);
    assert!(good.seen().is_empty());
}

/// An internal error may be the query's own doing: one other is asked, and what that says is the answer.
#[tokio::test]
async fn an_internal_error_is_asked_once_more() {
    let bench = Bench::new(|_| {});
    let internal = || {
        Fake::answering(
            "500 Internal Server Error",
            JSON,
            br#"{"errorType":"internal","error":"b"}"#,
        )
    };
    let fakes = [internal().await, internal().await, Fake::good("good").await];
    let order = bench.order(&addresses(&[&fakes[0], &fakes[1], &fakes[2]]));
    let got = bench.get(query(), order).await;
    assert_eq!((got.status.as_u16(), &*got.by, got.attempts), (500, "b", 2));
    assert_eq!(got.body, br#"{"errorType":"internal","error":"b"}"#);
}

/// Case 31: when everything fails, the backends are asked a fifth more often than without us.
#[tokio::test]
async fn a_budget_bounds_what_is_sent_again() {
    let bench = Bench::new(|_| {});
    let (one, other) = (Fake::start(vec![]).await, Fake::start(vec![]).await);
    let order = bench.order(&addresses(&[&one, &other]));
    let mut sent = 0;
    for _ in 0..400 {
        sent += bench
            .make(query(), order.clone())
            .await
            .unwrap_err()
            .attempts;
    }
    assert_eq!(sent, one.seen().len() + other.seen().len());
    assert!((489..=490).contains(&sent), "400 + 400/5 + 10: {sent}");
    let denied = bench
        .metrics
        .query
        .retries_denied
        .with_label_values(&["main"])
        .get();
    assert_eq!(denied + bench.all_retries(), 400);
}

/// A dashboard's panels, all at once, from a proxy that was just started, as the first backend dies: what
/// is bounded is retries that fail.
#[tokio::test]
async fn many_at_once_are_all_answered_by_another() {
    let bench = Bench::new(|_| {});
    let (dead, good) = (Fake::start(vec![]).await, Fake::good("good").await);
    let order = bench.order(&addresses(&[&dead, &good]));
    for _ in 0..3 {
        let all = (0..60).map(|_| bench.get(query(), order.clone()));
        for got in futures_util::future::join_all(all).await {
            assert_eq!((got.status.as_u16(), &*got.by, got.attempts), (200, "b", 2));
        }
    }
    assert_eq!(bench.retries("a", "reset"), 180);
}

/// Who asks to be left alone is, as long as there is anybody else.
#[tokio::test]
async fn retry_after_is_obeyed() {
    let bench = Bench::new(|_| {});
    let limited = Fake::answering("429 Too Many Requests", "retry-after: 50\r\n", b"no").await;
    let good = Fake::good("good").await;
    let order = bench.order(&addresses(&[&limited, &good]));
    for _ in 0..3 {
        assert_eq!(&*bench.get(query(), order.clone()).await.by, "b");
    }
    assert_eq!(limited.seen().len(), 1);
    let got = bench.get(query(), order[..1].to_vec()).await;
    assert_eq!((got.status.as_u16(), &got.body[..]), (429, &b"no"[..]));
}

/// Enough is under way at one: that is no failure of it.
#[tokio::test]
async fn who_is_busy_is_passed_over() {
    let bench = Bench::new(|pool| pool.backend_requests = 1);
    let hanging = Fake::start(vec![Step::Hang]).await;
    let good = Fake::good("good").await;
    let order = bench.order(&addresses(&[&hanging, &good]));
    let first = bench.make(query(), order[..1].to_vec());
    let then = async {
        hanging.asked(1).await;
        let got = bench.get(query(), order.clone()).await;
        assert_eq!((&*got.by, got.attempts, got.reason), ("b", 1, "first"));
        assert_eq!(bench.retries("a", "busy"), 1);
        let refused = bench.make(query(), order[..1].to_vec()).await.unwrap_err();
        assert!(
            matches!(refused.refusal, Refusal::Busy { .. }),
            "{refused:?}"
        );
        assert_eq!(refused.attempts, 0);
    };
    tokio::select! {
        _ = first => panic!("it hangs"),
        () = then => {}
    }
    assert!(!order[0].standing.borrow().has_failed());
}

/// A tunnel is lost, or a host is gone: nobody waits for it any longer.
#[tokio::test]
async fn who_goes_down_is_given_up() {
    let bench = Bench::new(|_| {});
    let hanging = Fake::start(vec![Step::Hang]).await;
    let good = Fake::good("good").await;
    let order = bench.order(&addresses(&[&hanging, &good]));
    let goes_down = async {
        hanging.asked(1).await;
        order[0].standing.send_modify(|standing| {
            standing.state = State::Down;
            standing.why = "the tunnel is lost".into();
        });
    };
    let (got, ()) = tokio::join!(bench.get(query(), order.clone()), goes_down);
    assert_eq!((&*got.by, got.attempts), ("b", 2));
    assert_eq!(
        (bench.retries("a", "down"), bench.requests("a", "down")),
        (1, 1)
    );
    hanging.left(1).await;
    // Down before it was asked, and nobody else there: it has its chance.
    let slow = Fake::start(vec![
        Step::Wait(Duration::from_millis(50)),
        Step::Send(answer("200 OK", "", b"slow")),
    ])
    .await;
    let order = bench.order(&addresses(&[&slow, &good]));
    order[0].standing.send_modify(|standing| {
        standing.state = State::Down;
    });
    assert_eq!(&*bench.get(query(), order).await.by, "a");
}

/// Case 32: all tries share one deadline, and one may be kept short.
#[tokio::test]
async fn all_tries_share_a_deadline() {
    let bench = Bench::new(|pool| pool.retry.header_timeout = Some(Duration::from_secs(2)));
    let hanging = [
        Fake::start(vec![Step::Hang]).await,
        Fake::start(vec![Step::Hang]).await,
    ];
    let good = Fake::good("good").await;
    let order = bench.order(&addresses(&[&hanging[0], &hanging[1], &good]));
    let got = bench.get(query(), order.clone()).await;
    assert_eq!((&*got.by, got.attempts), ("c", 3));
    assert_eq!(
        (
            bench.retries("a", "deadline"),
            bench.retries("b", "deadline")
        ),
        (1, 1)
    );
    assert!(
        !order[0].standing.borrow().has_failed(),
        "the query may be what takes so long"
    );
    hanging[0].left(1).await;
    hanging[1].left(1).await;

    let bench = Bench::new(|pool| pool.retry.header_timeout = Some(Duration::from_millis(2500)));
    let order = bench.order(&addresses(&[&hanging[0], &hanging[1], &good]));
    let granted = Duration::from_millis(4500);
    let started = Instant::now();
    let refused = bench.within(granted, query(), order).await.unwrap_err();
    assert_eq!(refused.refusal, Refusal::Deadline(granted));
    assert_eq!(refused.attempts, 2);
    assert!(started.elapsed() >= granted && started.elapsed() < LONG);
}
