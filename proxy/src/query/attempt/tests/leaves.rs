//! Callers who leave.

use std::time::Duration;

use super::fake::{Fake, Step};
use super::*;

/// Case 21: a hundred callers leave, wherever their requests are; the backend is told, and nothing is held
/// against it.
#[tokio::test]
async fn a_caller_who_leaves_says_nothing_of_a_backend() {
    let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n".to_vec();
    let error = b"HTTP/1.1 503 No\r\ncontent-length: 300\r\n\r\nServ".to_vec();
    let long = [&begun[..], &[0; 2 << 20]].concat();
    for (steps, answers) in [
        (vec![Step::Hang], false),
        (vec![Step::Send(begun), Step::Hang], false),
        (vec![Step::Send(error), Step::Hang], false),
        (vec![Step::Send(long), Step::Hang], true),
    ] {
        let bench = Bench::new(|_| {});
        let fake = Fake::start(steps).await;
        let order = bench.order(&[fake.address]);
        for n in 1..=25 {
            let attempt = bench.make(query(), order.clone());
            tokio::select! {
                answered = attempt => {
                    assert!(answers);
                    // Gone within the body.
                    drop(answered.unwrap());
                }
                () = async {
                    match answers {
                        true => std::future::pending().await,
                        false => fake.asked(n).await,
                    }
                } => {}
            }
            timeout(Duration::from_secs(5), fake.left(n)).await.unwrap();
        }
        let standing = order[0].standing.borrow();
        assert!(!standing.has_failed() && standing.ejected_until.is_none());
        assert_eq!((bench.in_flight("a"), order[0].load.under_way()), (0, 0));
        assert_eq!((bench.held(), bench.all_retries()), (0, 0));
        let truncated = sum(&bench.metrics, "adit_proxy_query_truncated_total");
        assert_eq!(truncated, 0);
        let code = if answers { "200" } else { "canceled" };
        assert!(bench.requests("a", code) > 0);
    }
}
