//! What is held back, and what happens behind it.

use std::time::Duration;

use http::header::CONTENT_LENGTH;
use hyper::body::Body as _;

use super::fake::{Fake, Step, answer};
use super::*;
use crate::query::backend::Failure;
use crate::query::refusal::Refusal;

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8).collect()
}

/// The beginning of an answer of `size` bytes, and then the end of the connection.
fn cut(size: usize, after: usize) -> Vec<Step> {
    let whole = answer("200 OK", "", &bytes(size));
    let head = whole.len() - size;
    vec![Step::Send(whole[..head + after].to_vec())]
}

/// The same in chunks, without the last one.
fn cut_chunks(after: usize) -> Vec<Step> {
    let mut sent = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in bytes(after).chunks(8000) {
        sent.extend(format!("{:x}\r\n", chunk.len()).bytes());
        sent.extend(chunk);
        sent.extend(b"\r\n");
    }
    vec![Step::Send(sent)]
}

/// All that comes of a body, and how it ends.
async fn read(answered: Answered) -> (Vec<u8>, Option<Failure>) {
    let mut body = answered.response.into_body();
    let mut all = Vec::new();
    loop {
        match timeout(LONG, body.frame()).await.unwrap() {
            Some(Ok(frame)) => all.extend(frame.into_data().unwrap()),
            Some(Err(failure)) => return (all, Some(failure)),
            None => return (all, None),
        }
    }
}

/// Case 27: an answer that breaks while it is held is as if it had never begun.
#[tokio::test]
async fn what_breaks_while_it_is_held_is_asked_of_another() {
    for steps in [
        cut(20 << 10, 10 << 10),
        cut_chunks(10 << 10),
        cut(20 << 20, 900 << 10),
    ] {
        let bench = Bench::new(|_| {});
        let broken = Fake::start(steps).await;
        let good = Fake::answering("200 OK", "", &bytes(20 << 10)).await;
        let order = bench.order(&addresses(&[&broken, &good]));
        let got = bench.get(query(), order.clone()).await;
        assert_eq!((&*got.by, got.attempts), ("b", 2));
        assert_eq!(got.body, bytes(20 << 10));
        assert_eq!(bench.retries("a", "truncated"), 1);
        assert!(order[0].standing.borrow().has_failed());
        assert_eq!(bench.held(), 0);
    }
}

/// Case 27: behind what is held nothing can be taken back; the caller sees it break, and never an end.
#[tokio::test]
async fn what_breaks_behind_that_is_cut() {
    for steps in [cut(20 << 20, 5 << 20), cut_chunks(5 << 20)] {
        let bench = Bench::new(|_| {});
        let broken = Fake::start(steps).await;
        let good = Fake::good("good").await;
        let order = bench.order(&addresses(&[&broken, &good]));
        let answered = bench.make(query(), order.clone()).await.unwrap();
        assert_eq!((&*answered.by.name, answered.attempts), ("a", 1));
        assert!(!answered.response.body().is_end_stream());
        assert!(
            (1 << 20..2 << 20).contains(&bench.held()),
            "{}",
            bench.held()
        );
        assert!(!order[0].standing.borrow().has_failed());
        let (got, failure) = read(answered).await;
        assert!(
            matches!(failure, Some(Failure::Truncated(_))),
            "{failure:?}"
        );
        assert!(bytes(20 << 20).starts_with(&got));
        let truncated = &bench.metrics.query.truncated;
        assert_eq!(truncated.with_label_values(&["main", "a"]).get(), 1);
        assert!(order[0].standing.borrow().has_failed());
        assert_eq!(bench.in_flight("a") + bench.held(), 0);
        assert!(good.seen().is_empty());
    }
}

/// Nobody else is there: what broke while it was held is told as such.
#[tokio::test]
async fn what_breaks_while_it_is_held_is_no_answer() {
    let bench = Bench::new(|_| {});
    let broken = Fake::start(cut(20 << 10, 10 << 10)).await;
    let refused = bench
        .make(query(), bench.order(&[broken.address]))
        .await
        .unwrap_err();
    assert!(matches!(refused.refusal, Refusal::Failed(_)), "{refused:?}");
}

/// A whole answer has its length, and its backend is free before the caller has read it.
#[tokio::test]
async fn what_is_held_whole_is_passed_on_at_once() {
    let bench = Bench::new(|_| {});
    let mut chunked = cut_chunks(10 << 10);
    chunked.push(Step::Send(b"0\r\n\r\n".to_vec()));
    // It stays open: only its own end ends it.
    chunked.push(Step::Hang);
    for steps in [
        vec![
            Step::Send(answer("200 OK", "", &bytes(10 << 10))),
            Step::Hang,
        ],
        chunked,
    ] {
        let fake = Fake::start(steps).await;
        let answered = bench
            .make(query(), bench.order(&[fake.address]))
            .await
            .unwrap();
        let length = answered.response.headers().get(CONTENT_LENGTH);
        assert!(length.is_none_or(|length| length == "10240"));
        assert_eq!(answered.response.body().size_hint().exact(), Some(10 << 10));
        assert_eq!((bench.in_flight("a"), answered.by.load.under_way()), (0, 0));
        assert_eq!(bench.held(), 10 << 10);
        assert_eq!(whole(answered).await.body, bytes(10 << 10));
        assert_eq!(bench.held(), 0);
    }
}

/// Nobody waits for memory: an answer for which there is none goes on as it comes.
#[tokio::test]
async fn without_memory_it_is_not_held() {
    let bench = Bench::with_memory(100 << 10, |_| {});
    let long = Fake::start(cut(2 << 20, 500 << 10)).await;
    let good = Fake::good("good").await;
    let order = bench.order(&addresses(&[&long, &good]));
    let answered = bench.make(query(), order).await.unwrap();
    assert_eq!((&*answered.by.name, answered.attempts), ("a", 1));
    assert!(bench.held() <= 100 << 10);
    let (got, failure) = read(answered).await;
    assert!(bytes(2 << 20).starts_with(&got) && failure.is_some());
    assert_eq!(bench.held(), 0);
}

/// What is not to be held is not: the head goes on before there is a body.
#[tokio::test]
async fn a_read_that_is_not_held_begins_at_once() {
    let bench = Bench::new(|_| {});
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n".to_vec();
    let fake = Fake::start(vec![Step::Send(head), Step::Hang]).await;
    let class = Class {
        hold: false,
        ..READ
    };
    let answered = bench.make(asked(class, Method::GET, b""), bench.order(&[fake.address]));
    let answered = answered.await.unwrap();
    assert_eq!(answered.response.status(), 200);
    assert_eq!(bench.in_flight("a"), 1);
    drop(answered);
    fake.left(1).await;
    assert_eq!(bench.in_flight("a"), 0);
}

/// Before it has begun it is as any read; after that it is cut.
#[tokio::test]
async fn a_read_that_is_not_held_is_asked_again_before_its_head_alone() {
    let federate = || {
        let class = Class {
            kind: Kind::Federate,
            hold: false,
            hedge: false,
            ..READ
        };
        asked(class, Method::GET, b"")
    };
    let bench = Bench::new(|_| {});
    let good = Fake::good("good").await;
    let bad = Fake::answering("502 Bad Gateway", "", b"x").await;
    let got = bench.get(federate(), bench.order(&addresses(&[&bad, &good])));
    assert_eq!(&*got.await.by, "b");
    let broken = Fake::start(cut(20 << 10, 10 << 10)).await;
    let order = bench.order(&addresses(&[&broken, &good]));
    let (got, failure) = read(bench.make(federate(), order).await.unwrap()).await;
    assert!(bytes(20 << 10).starts_with(&got) && failure.is_some());
    assert_eq!(good.seen().len(), 1);
    assert_eq!(sum(&bench.metrics, "adit_proxy_query_truncated_total"), 1);
}

/// Case 29: events go on as they come, and there is no end to them.
#[tokio::test]
async fn a_stream_is_neither_held_nor_ended() {
    let bench = Bench::new(|_| {});
    let mut steps = vec![Step::Send(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 0\n\n".to_vec(),
    )];
    for n in 1..4 {
        steps.push(Step::Wait(Duration::from_secs(1)));
        steps.push(Step::Send(format!("data: {n}\n\n").into_bytes()));
    }
    steps.push(Step::Hang);
    let fake = Fake::start(steps).await;
    let order = bench.order(&[fake.address]);
    // Over before the last event comes.
    let granted = Duration::from_millis(2500);
    let started = Instant::now();
    let answered = bench.within(granted, asked(STREAM, Method::GET, b""), order.clone());
    let mut body = answered.await.unwrap().response.into_body();
    for n in 0..4 {
        let event = timeout(LONG, body.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(event.into_data().unwrap(), format!("data: {n}\n\n"));
        if n == 0 {
            assert!(started.elapsed() < granted, "it came with the head");
        }
    }
    drop(body);
    fake.left(1).await;
    assert!(!order[0].standing.borrow().has_failed());
}

/// An answer that does not end in time is cut, while it is held and behind that.
#[tokio::test]
async fn a_body_has_the_deadline_of_the_query() {
    let bench = Bench::new(|_| {});
    for (sent, held) in [(10, true), (2 << 20, false)] {
        let mut steps = cut(20 << 20, sent);
        steps.push(Step::Hang);
        let fake = Fake::start(steps).await;
        let order = bench.order(&[fake.address]);
        let granted = Duration::from_secs(1);
        let answered = bench.within(granted, query(), order.clone()).await;
        match held {
            true => assert_eq!(answered.unwrap_err().refusal, Refusal::Deadline(granted)),
            false => {
                let (got, failure) = read(answered.unwrap()).await;
                assert!(bytes(20 << 20).starts_with(&got));
                assert!(matches!(failure, Some(Failure::Deadline(_))), "{failure:?}");
            }
        }
        fake.left(1).await;
        assert!(
            !order[0].standing.borrow().has_failed(),
            "the query may be what takes so long"
        );
        assert_eq!(bench.held(), 0);
    }
}
