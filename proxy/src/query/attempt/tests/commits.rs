//! What is passed on as it is.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};

use super::fake::{Fake, Step, answer, nobody};
use super::*;
use crate::query::refusal::Refusal;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

/// Case 24: what another backend would say as well, or only after as long again, is the answer.
#[tokio::test]
async fn an_answer_that_is_the_queries_own_doing_is_passed_on() {
    let timeout = br#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#;
    let packed = gzip(timeout);
    for (status, fields, body) in [
        ("400 Bad Request", "", &br#"{"errorType":"bad_data"}"#[..]),
        ("401 Unauthorized", "www-authenticate: Basic\r\n", b""),
        ("403 Forbidden", "", b"no"),
        ("404 Not Found", "", b""),
        ("405 Method Not Allowed", "allow: GET\r\n", b""),
        ("406 Not Acceptable", "", b""),
        (
            "422 Unprocessable Entity",
            "",
            br#"{"errorType":"execution"}"#,
        ),
        (
            "503 Service Unavailable",
            "content-type: application/json\r\n",
            timeout,
        ),
        (
            "503 Service Unavailable",
            "content-type: application/json\r\ncontent-encoding: gzip\r\n",
            &packed,
        ),
        (
            "500 Internal Server Error",
            "content-type: application/json\r\n",
            b"{",
        ),
        ("501 Not Implemented", "", b"?"),
        ("302 Found", "location: /graph\r\n", b""),
    ] {
        let bench = Bench::new(|_| {});
        let first = Fake::answering(status, fields, body).await;
        let second = Fake::good("second").await;
        let order = bench.order(&addresses(&[&first, &second]));
        let got = bench.get(query(), order.clone()).await;
        let expected = Got {
            status: status[..3].parse().unwrap(),
            body: body.to_vec(),
            by: "a".to_owned(),
            attempts: 1,
            reason: "first",
        };
        assert_eq!(got, expected);
        assert!(second.seen().is_empty() && bench.all_retries() == 0);
        assert!(!order[0].standing.borrow().has_failed());
    }
}

/// A queue's timeout, packed: it is understood, and passed on packed when nobody knows better.
#[tokio::test]
async fn a_packed_error_is_understood_and_left_packed() {
    let packed = gzip(br#"{"errorType":"timeout","error":"query timed out in query queue"}"#);
    let fields = "content-type: application/json\r\ncontent-encoding: gzip\r\nx-a: 1\r\n";
    let bench = Bench::new(|_| {});
    let full = Fake::answering("503 Service Unavailable", fields, &packed).await;
    let good = Fake::good("good").await;
    let order = bench.order(&addresses(&[&full, &good]));
    assert_eq!(&*bench.get(query(), order.clone()).await.by, "b");
    let answered = bench.make(query(), order[..1].to_vec()).await.unwrap();
    let headers = answered.response.headers();
    assert_eq!(headers[CONTENT_ENCODING], "gzip");
    assert_eq!(headers[CONTENT_LENGTH], *packed.len().to_string());
    assert_eq!(headers["x-a"], "1");
    assert_eq!(whole(answered).await.body, packed);
}

/// The last one's own words are better than ours; without them we say what everybody did.
#[tokio::test]
async fn when_nobody_knows_better_the_last_answer_is_passed_on() {
    let bench = Bench::new(|_| {});
    let bad = Fake::answering("502 Bad Gateway", "server: nginx\r\n", b"<html>bad</html>").await;
    let gone = nobody();
    let order = bench.order(&[gone.address, bad.address]);
    let answered = bench.make(query(), order.clone()).await.unwrap();
    assert_eq!(answered.response.headers()["server"], "nginx");
    let got = whole(answered).await;
    assert_eq!(
        (got.status.as_u16(), &got.body[..], got.attempts),
        (502, &b"<html>bad</html>"[..], 2)
    );
    let unready = Fake::answering(
        "503 Service Unavailable",
        "content-type: text/plain\r\n",
        b"Service Unavailable",
    )
    .await;
    let gone = nobody();
    let order = bench.order(&[unready.address, gone.address]);
    order[0]
        .standing
        .send_modify(|standing| standing.replay = Some((3, 10)));
    let refused = bench.make(query(), order).await.unwrap_err();
    let words = refused.refusal.to_string();
    assert!(
        words.starts_with("a: 503 not ready (WAL replay 3/10); b: "),
        "{words}"
    );
    assert!(words.contains("refused"), "{words}");
}

#[tokio::test]
async fn without_anybody_it_says_so() {
    let bench = Bench::new(|_| {});
    let refused = bench.make(query(), vec![]).await.unwrap_err();
    assert_eq!(refused.refusal, Refusal::Nobody("main".to_owned()));
    assert_eq!((refused.attempts, refused.last), (0, None));
}

/// What has no body does not get one, whatever it says of its length.
#[tokio::test]
async fn answers_without_a_body() {
    let bench = Bench::new(|_| {});
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\nconnection: close\r\n\r\n".to_vec();
    let fake = Fake::start(vec![Step::Send(head)]).await;
    let order = bench.order(&[fake.address]);
    let answered = bench
        .make(asked(READ, Method::HEAD, b""), order)
        .await
        .unwrap();
    assert_eq!(answered.response.headers()[CONTENT_LENGTH], "1234");
    assert!(whole(answered).await.body.is_empty());
    for status in ["204 No Content", "304 Not Modified"] {
        let head = format!("HTTP/1.1 {status}\r\netag: x\r\nconnection: close\r\n\r\n");
        let fake = Fake::start(vec![Step::Send(head.into_bytes())]).await;
        let order = bench.order(&[fake.address]);
        let got = bench.get(query(), order).await;
        assert_eq!(got.status.as_str(), &status[..3]);
        assert!(got.body.is_empty());
    }
}

/// An error whose body does not follow is judged by what there is, and what comes later is passed on.
#[tokio::test]
async fn an_error_that_dawdles_is_not_waited_for() {
    let bench = Bench::new(|_| {});
    let whole_answer = answer(
        "503 Service Unavailable",
        "content-type: text/plain\r\n",
        b"Service Unavailable",
    );
    let (begin, end) = whole_answer.split_at(whole_answer.len() - 5);
    let dawdling = Fake::start(vec![
        Step::Send(begin.to_vec()),
        Step::Wait(Duration::from_secs(4)),
        Step::Send(end.to_vec()),
    ])
    .await;
    let good = Fake::good("good").await;
    let order = bench.order(&addresses(&[&dawdling, &good]));
    let started = Instant::now();
    let got = bench.get(query(), order.clone()).await;
    assert_eq!((&*got.by, got.attempts), ("b", 2));
    assert!(started.elapsed() < Duration::from_millis(3900));
    dawdling.left(1).await;
    let got = bench.get(query(), order[..1].to_vec()).await;
    assert_eq!(
        (got.status.as_u16(), &got.body[..]),
        (503, &b"Service Unavailable"[..])
    );
}
