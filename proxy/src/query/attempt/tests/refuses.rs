//! What changes something is sent once.

use super::fake::{Fake, Step, answer, nobody};
use super::*;
use crate::query::refusal::Refusal;

/// Case 26: whatever becomes of it, also when nothing was sent yet (M7).
#[tokio::test]
async fn what_may_not_be_repeated_is_sent_once() {
    for (steps, status) in [
        (vec![], None),
        (vec![Step::Send(b"HTTP/1.1 20".to_vec())], None),
        (
            vec![Step::Send(answer("502 Bad Gateway", "", b"x"))],
            Some(502),
        ),
        (
            vec![Step::Send(answer(
                "503 Service Unavailable",
                "content-type: text/plain\r\n",
                b"Service Unavailable",
            ))],
            Some(503),
        ),
        (
            vec![Step::Send(answer(
                "429 Too Many Requests",
                "retry-after: 9\r\n",
                b"",
            ))],
            Some(429),
        ),
        (
            vec![Step::Send(answer("204 No Content", "", b""))],
            Some(204),
        ),
    ] {
        let bench = Bench::new(|_| {});
        let first = Fake::start(steps).await;
        let second = Fake::good("second").await;
        let order = bench.order(&addresses(&[&first, &second]));
        match (bench.make(unsafe_one(), order).await, status) {
            (Ok(answered), Some(status)) => {
                assert_eq!(answered.response.status(), status);
                assert_eq!((&*answered.by.name, answered.attempts), ("a", 1));
            }
            (Err(refused), None) => {
                assert!(matches!(refused.refusal, Refusal::Failed(_)), "{refused:?}");
                assert_eq!((refused.attempts, refused.last.as_deref()), (1, Some("a")));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((first.seen().len(), second.seen().len()), (1, 0));
        assert_eq!(first.seen()[0].body, b"match%5B%5D=up");
        assert_eq!(bench.all_retries(), 0);
    }
    let bench = Bench::new(|_| {});
    let second = Fake::good("second").await;
    let gone = nobody();
    let order = bench.order(&[gone.address, second.address]);
    let refused = bench.make(unsafe_one(), order).await.unwrap_err();
    assert!(matches!(refused.refusal, Refusal::Failed(_)) && refused.attempts == 1);
    assert!(second.seen().is_empty());
}

/// It goes on as it comes: what breaks is cut, and never sent again.
#[tokio::test]
async fn its_answer_is_not_held() {
    let bench = Bench::new(|_| {});
    let broken = Fake::start(vec![Step::Send(
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_vec(),
    )])
    .await;
    let second = Fake::good("second").await;
    let order = bench.order(&addresses(&[&broken, &second]));
    let answered = bench.make(unsafe_one(), order).await.unwrap();
    assert!(
        timeout(LONG, answered.response.into_body().collect())
            .await
            .unwrap()
            .is_err()
    );
    assert!(second.seen().is_empty());
}
