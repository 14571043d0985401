//! A second backend beside the first.

use std::time::Duration;

use super::fake::{Fake, Step, answer, nobody};
use super::*;
use crate::config::query::Hedge;

/// After so long the first is slow, as long as nothing else is known.
const SOON: Duration = Duration::from_millis(200);
/// So long after that a busy machine has noticed.
const LATE: Duration = Duration::from_secs(2);

fn hedging(pool: &mut Pool) {
    pool.hedge = Some(Hedge {
        quantile: 0.9,
        min: Duration::from_millis(1),
        max: SOON,
        budget: 0.05,
    });
}

fn hedges(bench: &Bench, result: &str) -> u64 {
    let hedges = &bench.metrics.query.hedges;
    hedges.with_label_values(&["main", result]).get()
}

/// Says `body` after a time.
fn late(time: Duration, body: &str) -> Vec<Step> {
    vec![
        Step::Wait(time),
        Step::Send(answer("200 OK", "", body.as_bytes())),
    ]
}

/// Case 33: the first good answer wins, and the loser is cancelled at once.
#[tokio::test]
async fn whoever_answers_first_wins() {
    let bench = Bench::new(hedging);
    let (slow, good) = (
        Fake::start(vec![Step::Hang]).await,
        Fake::good("good").await,
    );
    let order = bench.order(&addresses(&[&slow, &good]));
    let got = bench.get(query(), order.clone()).await;
    assert_eq!((&*got.by, got.attempts, got.reason), ("b", 2, "hedge"));
    timeout(Duration::from_secs(5), slow.left(1)).await.unwrap();
    assert_eq!((hedges(&bench, "second"), bench.all_retries()), (1, 0));
    assert_eq!(bench.requests("a", "canceled"), 1);
    assert!(!order[0].standing.borrow().has_failed());
    assert_eq!(bench.in_flight("a"), 0);

    let bench = Bench::new(hedging);
    let slow = Fake::start(late(LATE, "slow")).await;
    let slower = Fake::start(vec![Step::Hang]).await;
    let got = bench
        .get(query(), bench.order(&addresses(&[&slow, &slower])))
        .await;
    assert_eq!((&*got.by, got.attempts, got.reason), ("a", 2, "first"));
    assert_eq!(hedges(&bench, "first"), 1);
    timeout(Duration::from_secs(5), slower.left(1))
        .await
        .unwrap();
}

/// When one fails the other goes on; when both do, it is a failure as any.
#[tokio::test]
async fn a_failure_leaves_the_other_running() {
    let bench = Bench::new(hedging);
    let slow = Fake::start(late(LATE, "slow")).await;
    let gone = nobody();
    let order = bench.order(&[slow.address, gone.address]);
    let got = bench.get(query(), order).await;
    assert_eq!((&*got.by, got.attempts), ("a", 2));
    assert_eq!(hedges(&bench, "first"), 1);

    let bench = Bench::new(hedging);
    let failing = Fake::start(vec![Step::Wait(LATE)]).await;
    let good = Fake::good("good").await;
    let gone = nobody();
    let order = bench.order(&[failing.address, gone.address, good.address]);
    let got = bench.get(query(), order).await;
    assert_eq!((&*got.by, got.attempts, got.reason), ("c", 3, "retry"));
    assert_eq!(hedges(&bench, "both-failed"), 1);
    assert_eq!(bench.retries("a", "reset"), 1, "the last one that failed");
}

/// Case 33: what is not cheap, or changes something, is never sent to two; nor is what has begun to answer.
#[tokio::test]
async fn only_cheap_reads_are_sent_to_two() {
    let bench = Bench::new(hedging);
    let slow = Fake::start(late(LATE, "slow")).await;
    let good = Fake::good("good").await;
    let order = bench.order(&addresses(&[&slow, &good]));
    for class in [
        WRITE,
        STREAM,
        Class {
            hedge: false,
            ..READ
        },
    ] {
        let got = bench
            .get(asked(class, Method::POST, b"x"), order.clone())
            .await;
        assert_eq!((&*got.by, got.attempts), ("a", 1));
    }
    assert!(good.seen().is_empty());
    assert_eq!(sum(&bench.metrics, "adit_proxy_query_hedges_total"), 0);
    // For a busy machine the head is late, too.
    let bench = Bench::new(|pool| {
        hedging(pool);
        let max = |hedge: &mut Hedge| hedge.max = LATE;
        pool.hedge.as_mut().into_iter().for_each(max);
    });
    let whole = answer("200 OK", "", b"slow");
    let begun = Fake::start(vec![
        Step::Send(whole[..whole.len() - 1].to_vec()),
        Step::Wait(2 * LATE),
        Step::Send(b"w".to_vec()),
    ])
    .await;
    let got = bench
        .get(query(), bench.order(&addresses(&[&begun, &good])))
        .await;
    assert_eq!((&*got.by, got.attempts), ("a", 1));
    assert!(good.seen().is_empty());
    assert_eq!(sum(&bench.metrics, "adit_proxy_query_hedges_total"), 0);
}

/// Case 33: one request in twenty takes three seconds: hardly anybody notices, for a few requests more.
#[tokio::test]
async fn slow_answers_become_rare_within_a_budget() {
    let bench = Bench::new(|pool| {
        hedging(pool);
        // Whatever this machine does meanwhile: only the slow ones are.
        let min = |hedge: &mut Hedge| hedge.min = SOON;
        pool.hedge.as_mut().into_iter().for_each(min);
    });
    let slow = Fake::with(|nth| match nth % 20 {
        19 => late(Duration::from_secs(3), "x"),
        _ => late(Duration::ZERO, "x"),
    })
    .await;
    let good = Fake::good("good").await;
    let order = bench.order(&addresses(&[&slow, &good]));
    let mut times = Vec::new();
    for _ in 0..300 {
        let started = Instant::now();
        bench.get(query(), order.clone()).await;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    assert!(
        times[296] < Duration::from_secs(1),
        "99 %: {:?}",
        times[296]
    );
    let extra = hedges(&bench, "second") + hedges(&bench, "first");
    assert!((10..=300 / 20 + 1).contains(&extra), "{extra}");
    // One that lost at once may not have been heard of.
    assert!(good.seen().len() as u64 <= extra);
}

/// A budget that is spent is not overdrawn, however slow the first is.
#[tokio::test]
async fn without_budget_it_is_waited_for() {
    let bench = Bench::new(hedging);
    let slow = Fake::start(late(LATE, "slow")).await;
    let hanging = Fake::start(vec![Step::Hang]).await;
    let order = bench.order(&addresses(&[&slow, &hanging]));
    for _ in 0..5 {
        assert_eq!(&*bench.get(query(), order.clone()).await.by, "a");
    }
    assert_eq!(
        hanging.seen().len(),
        1,
        "one to begin with, and a quarter of one since"
    );
}
