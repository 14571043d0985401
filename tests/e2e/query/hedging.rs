//! A second backend that is asked before the first has answered.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adit_tests::fake_prometheus::{Ending, FakePrometheus, Fixed, result_of};
use adit_tests::scraper::Connection;
use adit_tests::turn::{alone, measured};
use tokio::task::JoinSet;

use super::asks::{Ask, in_order};
use super::pool::{attempts, by, reason};

/// 100 ms are what is wanted. What it must be told from is three seconds; other tests share the cores.
const AT_ONCE: Duration = Duration::from_secs(5);
const QUERY: &str = "/api/v1/query";

/// Case 33.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_slow_answers_are_had_sooner_for_a_few_requests_more() {
    const REQUESTS: usize = 400;
    let _turn = alone().await;
    let (a, b) = (FakePrometheus::start("a"), FakePrometheus::start("b"));
    let keys = "hedge: {quantile: 95%, min: 300ms, max: 500ms, budget: 5%}\n";
    let pool = in_order(&[&a, &b], keys).await;
    let asked = AtomicUsize::new(0);
    a.set(|state| {
        state.decide(move |seen| {
            let of_it = seen.path() == QUERY;
            let slow = of_it && asked.fetch_add(1, Ordering::Relaxed) % 20 == 19;
            let late = || Fixed::text(200, &result_of("a")).after(Duration::from_secs(3));
            slow.then(late)
        });
    });
    let ask = Ask::get("GET /api/v1/query?query=up");
    let mut asking = JoinSet::new();
    for _ in 0..4 {
        let (bytes, query) = (ask.bytes(), pool.query);
        asking.spawn(async move {
            let mut connection = Connection::open(query).await;
            let mut times = Vec::new();
            for _ in 0..REQUESTS / 4 {
                times.push(connection.exchange(&bytes).await.expect(200).took);
            }
            times
        });
    }
    let mut times = asking.join_all().await.concat();
    times.sort_unstable();
    let p99 = times[REQUESTS * 99 / 100 - 1];
    let sent = ask.arrived(&a) + ask.arrived(&b);
    measured("p99 with one in twenty 3 s late", p99);
    measured("requests sent for 400", sent);
    assert!(p99 < AT_ONCE, "{p99:?}");
    // One is free at the start.
    assert!(sent <= REQUESTS + REQUESTS / 20 + 1, "{sent}");
    let metrics = pool.metrics().await;
    let won = "adit_proxy_query_hedges_total{pool=\"main\",result=\"second\"}";
    assert!(metrics.series(won) >= 16.0, "{}", metrics.series(won));
}

/// Case 33: whoever loses is told at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_one_is_cancelled_whoever_wins() {
    let _turn = alone().await;
    let keys = "hedge: {min: 100ms, max: 100ms, budget: 100%}\n";
    let ask = Ask::form();
    let good = |id| Fixed::text(200, &result_of(id));
    let stuck = || Fixed::nothing(Ending::Stall);
    let late = good("a").after(Duration::from_secs(3));
    for (of_a, of_b, winner, why) in [
        (stuck(), good("b"), "b", "hedge"),
        (late, stuck(), "a", "first-available"),
        // A bad answer is none, and the other one goes on.
        (
            Fixed::status(502).after(Duration::from_secs(2)),
            good("b").after(Duration::from_secs(4)),
            "b",
            "hedge",
        ),
    ] {
        let (a, b) = (FakePrometheus::start("a"), FakePrometheus::start("b"));
        let pool = in_order(&[&a, &b], keys).await;
        a.set(|state| state.always(ask.path(), of_a));
        b.set(|state| state.always(ask.path(), of_b));
        let answer = ask.to(&pool).await.expect(200);
        let answered = Instant::now();
        assert_eq!(answer.text(), result_of(winner));
        assert_eq!(
            (by(&answer), attempts(&answer)),
            (winner.into(), "2".into())
        );
        assert!(reason(&answer).ends_with(why), "{answer:?}");
        assert_eq!((ask.arrived(&a), ask.arrived(&b)), (1, 1));
        let loser = if winner == "a" { &b } else { &a };
        let journal = loser
            .until("the loser is left", |journal| {
                let seen = journal.of(ask.path());
                seen[0].left.is_some() || seen[0].answered
            })
            .await;
        if let Some(left) = journal.of(ask.path())[0].left {
            let took = left.saturating_duration_since(answered);
            measured("the loser of a hedge is left after", took);
            assert!(took < AT_ONCE, "{took:?}");
        }
        let metrics = pool.metrics().await;
        assert_eq!(metrics.sum("adit_proxy_query_hedges_total"), 1.0);
        assert_eq!(metrics.sum("adit_proxy_query_backend_ejections_total"), 0.0);
    }
}

/// Case 33: what is dear, of one server, or changes something goes to one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_cheap_is_sent_to_two() {
    let (a, b) = (FakePrometheus::start("a"), FakePrometheus::start("b"));
    let keys = "hedge: {min: 50ms, max: 50ms, budget: 100%}\nallow: {write: true, admin: true}\n";
    let pool = in_order(&[&a, &b], keys).await;
    a.set(|state| state.delay = Duration::from_millis(700));
    let line = |line| Ask {
        body: b"x".into(),
        ..Ask::get(line)
    };
    let mut asking = JoinSet::new();
    for ask in [
        Ask::remote_read(),
        Ask::get("GET /federate?match[]=up"),
        Ask::get("GET /api/v1/query_exemplars?query=up"),
        Ask::get("GET /api/v1/rules"),
        Ask::get("GET /api/v1/targets"),
        Ask::get("GET /graph"),
        line("POST /api/v1/write"),
        line("POST /api/v1/admin/tsdb/snapshot"),
        Ask::get("GET /nowhere"),
    ] {
        let (bytes, query) = (ask.bytes(), pool.query);
        asking.spawn(async move {
            let answer = adit_tests::scraper::send(query, bytes).await.expect(200);
            assert_eq!((by(&answer), attempts(&answer)), ("a".into(), "1".into()));
        });
    }
    asking.join_all().await;
    assert_eq!(b.journal().queries().len(), 0);
    for ask in [
        Ask::form(),
        Ask::get("GET /api/v1/labels"),
        Ask::get("GET /api/v1/label/job/values"),
        Ask::get("GET /api/v1/series?match[]=up"),
    ] {
        assert_eq!(by(&ask.to(&pool).await.expect(200)), "b", "{ask:?}");
    }
}
