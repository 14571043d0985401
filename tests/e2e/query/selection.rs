//! Who is first, by each strategy, and who is after that.

use std::time::{Duration, Instant};

use adit_tests::fake_prometheus::FakePrometheus;
use adit_tests::scraper::{self, Connection};
use adit_tests::wait::{PATIENCE, eventually};
use serde_json::Value;
use tokio::task::JoinSet;

use super::pool::{Pool, QUICK, attempts, by, reason};

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

fn with(keys: &str) -> String {
    format!("{QUICK}{keys}\n")
}

/// Healthy, and goes back so many seconds.
fn with_history(id: &str, seconds: f64) -> FakePrometheus {
    FakePrometheus::start_as(id, |state| state.history(seconds))
}

/// Whoever is asked, one after the other.
async fn all_are_by(pool: &Pool, name: &str) {
    for _ in 0..20 {
        let answer = pool.ask().await.expect(200);
        assert_eq!(by(&answer), name, "{}", pool.says().await);
        assert_eq!(attempts(&answer), "1");
    }
}

/// Case 7. M2: the counter of a server that was restarted is small, and what it has stored is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_with_an_hour_is_before_a_fresh_one_with_a_minute() {
    let restarted = FakePrometheus::start_as("restarted", |state| {
        state.history(HOUR);
        state.started = state.now() - 40.0;
        state.appended = vec![("float", 500.0), ("histogram", 0.0)];
    });
    let fresh = FakePrometheus::start_as("fresh", |state| {
        state.history(60.0);
        state.started = state.now() - 60.0;
        state.appended = vec![("float", 1e6), ("histogram", 0.0)];
    });
    let both = [&fresh, &restarted];
    let pool = Pool::start(&both, QUICK).await;
    pool.all_are_known().await;
    let first = pool.is_first("restarted").await;
    assert_eq!(first["ingested_samples"], 500.0, "{first}");
    let history = first["history_seconds"].as_f64().unwrap();
    assert!((HOUR..HOUR + 60.0).contains(&history), "{first}");
    assert_eq!(first["score"], first["history_seconds"], "{first}");
    all_are_by(&pool, "restarted").await;
    // What mpp compares says the opposite.
    let mpp = with("most_data: {metric: ingested-samples}");
    let pool = Pool::start(&both, &mpp).await;
    pool.all_are_known().await;
    pool.is_first("fresh").await;
    all_are_by(&pool, "fresh").await;
}

/// Case 8. M2: near equals do not take turns, however their numbers come and go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_equals_do_not_take_turns_for_a_hundred_rounds() {
    let both = ["a", "b"].map(|id| with_history(id, DAY));
    let pool = Pool::start(&[&both[0], &both[1]], QUICK).await;
    pool.all_are_known().await;
    let changes = "adit_proxy_query_primary_changes_total";
    let before = pool.metrics().await.sum(changes);
    let rounds = "adit_proxy_query_selections_total{pool=\"main\"}";
    let done = async {
        pool.grows(rounds, 100.0).await;
    };
    let noise = async {
        loop {
            for fake in &both {
                fake.set(|state| {
                    // At most 4 % apart, which is less than the default hysteresis.
                    state.history(DAY * (0.98 + 0.04 * fastrand::f64()));
                    state.head_series = Some((1000.0 * (0.98 + 0.04 * fastrand::f64())).round());
                });
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    tokio::select! {
        () = done => {}
        () = noise => {}
    }
    let metrics = pool.metrics().await;
    assert_eq!(metrics.sum(changes), before, "{metrics:?}");
    // Who has really more becomes the first.
    let [a, b] = &both;
    let (less, more) = match pool.backend("a").await["selected"] == true {
        true => (a, b),
        false => (b, a),
    };
    less.set(|state| state.history(DAY));
    more.set(|state| state.history(2.0 * DAY));
    pool.is_first(more.id()).await;
    assert!(more.journal().queries().is_empty());
    all_are_by(&pool, more.id()).await;
}

/// Case 9.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_storage_has_no_history_whatever_it_shows_for_times() {
    let sentinel = |id: &str, edge: f64| {
        FakePrometheus::start_as(id, |state| {
            state.lowest_timestamp = Some(edge);
            state.head_min = Some(edge);
            state.head_max = Some(-edge);
        })
    };
    let seconds = sentinel("e15", 9.223_372_036_854_776e15);
    let millis = sentinel("e18", 9.223_372_036_854_775e18);
    let negative = sentinel("negative", -9.223_372_036_854_775e18);
    let empty = FakePrometheus::start_as("empty", |state| state.empty());
    let full = with_history("full", 60.0);
    let all = [&seconds, &millis, &negative, &empty, &full];
    let pool = Pool::start(&all, QUICK).await;
    pool.is_first("full").await;
    // All of them are known by now.
    for name in ["e15", "e18", "negative"] {
        let said = pool
            .comes_to(name, "known", |said| said["head_series"].is_number())
            .await;
        assert_eq!(said["state"], "healthy", "{said}");
        assert_eq!(said["history_seconds"], Value::Null, "{said}");
        assert_eq!(said["score"], Value::Null, "{said}");
    }
    pool.grows("adit_proxy_query_selections_total{pool=\"main\"}", 5.0)
        .await;
    pool.is_first("full").await;
    all_are_by(&pool, "full").await;
}

/// Case 6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingested_samples_are_those_of_prometheus_1_and_the_sum_of_types_since() {
    let first = FakePrometheus::start_as("first", |state| state.prometheus_1(5000.0));
    let second = FakePrometheus::start_as("second", |state| {
        state.version = "2.30.0".to_owned();
        state.appended = vec![("", 4000.0)];
    });
    let third = FakePrometheus::start_as("third", |state| {
        state.appended = vec![("float", 3000.0), ("histogram", 2500.0)];
    });
    let metric = with("most_data: {metric: ingested-samples}");
    let pool = Pool::start(&[&first, &second, &third], &metric).await;
    pool.all_are_known().await;
    pool.is_first("third").await;
    for (name, samples) in [("first", 5000.0), ("second", 4000.0), ("third", 5500.0)] {
        let said = pool.backend(name).await;
        assert_eq!(said["ingested_samples"], samples, "{said}");
        assert_eq!(said["score"], samples, "{said}");
    }
    all_are_by(&pool, "third").await;
    third.set(|state| state.appended = vec![("float", 3000.0), ("histogram", 1000.0)]);
    pool.is_first("first").await;
    all_are_by(&pool, "first").await;
}

/// Case 10. M10: nobody is asked what it has at one point of the past; and when nobody goes back that far
/// somebody is asked nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn min_history_wants_older_data_and_has_somebody_when_nobody_has_it() {
    let old = with_history("old", 2.0 * HOUR);
    let young = FakePrometheus::start_as("young", |state| {
        state.history(0.5 * HOUR);
        state.head_series = Some(1e6);
    });
    let keys = with("strategy: min-history:1h");
    let pool = Pool::start(&[&young, &old], &keys).await;
    let eligible = "adit_proxy_query_min_history_eligible{pool=\"main\"}";
    pool.all_are_known().await;
    assert_eq!(pool.is_first("old").await["eligible"], true);
    let said = pool.is("young", "healthy").await;
    assert_eq!(said["eligible"], false, "{said}");
    assert_eq!(reason(&pool.ask().await.expect(200)), "min-history");
    all_are_by(&pool, "old").await;
    eventually(PATIENCE, eligible, async || {
        let now = pool.metrics().await.series(eligible);
        (now == 1.0).then_some(()).ok_or(now.to_string())
    })
    .await;
    // It has lost most of it: nobody goes back far enough, and who has most is first.
    old.set(|state| state.history(0.75 * HOUR));
    eventually(PATIENCE, eligible, async || {
        let metrics = pool.metrics().await;
        let now = metrics.series(eligible);
        (now == 0.0).then_some(()).ok_or(now.to_string())
    })
    .await;
    pool.is_first("old").await;
    assert_eq!(reason(&pool.ask().await.expect(200)), "too-short");
    all_are_by(&pool, "old").await;
    // What is asked about the past is a query, and none of ours but age and targets.
    for probe in old.journal().probes() {
        let query = probe.parameter("query").unwrap_or_default();
        assert!(!query.contains("offset"), "{query}");
        assert_eq!(probe.parameter("time"), None);
    }
}

/// Case 11.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_is_fair() {
    const ASKED: usize = 1500;
    let fakes = ["a", "b", "c"].map(FakePrometheus::start);
    let pool = Pool::start(
        &[&fakes[0], &fakes[1], &fakes[2]],
        &with("strategy: random"),
    )
    .await;
    for fake in &fakes {
        pool.is(fake.id(), "healthy").await;
    }
    let mut asking = JoinSet::new();
    for _ in 0..4 {
        let query = pool.query;
        asking.spawn(async move {
            let mut connection = Connection::open(query).await;
            for _ in 0..ASKED / 4 {
                let request = "GET /api/v1/query?query=up HTTP/1.1\r\nHost: x\r\n\r\n";
                connection.exchange(request).await.expect(200);
            }
        });
    }
    asking.join_all().await;
    let counts = fakes.each_ref().map(|fake| fake.journal().queries().len());
    assert_eq!(counts.iter().sum::<usize>(), ASKED);
    let fair = ASKED as f64 / 3.0;
    let chi_square: f64 = counts
        .iter()
        .map(|count| (*count as f64 - fair).powi(2) / fair)
        .sum();
    // Two degrees of freedom: once in three million runs.
    assert!(chi_square < 30.0, "{counts:?}");
}

/// Case 12.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_available_fails_over_at_once_and_back_after_a_while() {
    const WHILE: Duration = Duration::from_secs(2);
    let mut main = FakePrometheus::start("main");
    let spare = FakePrometheus::start("spare");
    let keys = with("strategy: first-available\nfail_back: 2s");
    let pool = Pool::start(&[&main, &spare], &keys).await;
    pool.is_first("main").await;
    pool.is("spare", "healthy").await;
    all_are_by(&pool, "main").await;
    let changes = |reason: &str| {
        let labels = format!("{{pool=\"main\",reason=\"{reason}\"}}");
        format!("adit_proxy_query_primary_changes_total{labels}")
    };
    let before = pool.metrics().await;
    main.kill().await;
    // The first of them finds out.
    assert_eq!(by(&pool.ask().await.expect(200)), "spare");
    pool.is("main", "down").await;
    pool.is_first("spare").await;
    all_are_by(&pool, "spare").await;
    let returned = Instant::now();
    main.restart().await;
    let back = pool.is("main", "healthy").await;
    if returned.elapsed() < WHILE {
        assert_eq!(back["selected"], false, "{back}");
    }
    pool.is_first("main").await;
    assert!(returned.elapsed() >= WHILE, "{:?}", returned.elapsed());
    all_are_by(&pool, "main").await;
    let metrics = pool.metrics().await;
    for reason in ["state", "fail-back"] {
        let series = changes(reason);
        let grown = metrics.series(&series) - before.series(&series);
        assert_eq!(grown, 1.0, "{reason}: {metrics:?}");
    }
}

/// Case 13.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn least_loaded_avoids_who_is_slow() {
    const ASKED: usize = 300;
    let [slow, one, two] = ["slow", "one", "two"].map(FakePrometheus::start);
    slow.set(|state| state.delay = Duration::from_millis(500));
    let pool = Pool::start(&[&slow, &one, &two], &with("strategy: least-loaded")).await;
    for fake in [&slow, &one, &two] {
        pool.is(fake.id(), "healthy").await;
    }
    let mut asking = JoinSet::new();
    for _ in 0..6 {
        let query = pool.query;
        asking.spawn(async move {
            for _ in 0..ASKED / 6 {
                scraper::page(query, "/api/v1/query?query=up")
                    .await
                    .expect(200);
            }
        });
    }
    asking.join_all().await;
    let counts = [&slow, &one, &two].map(|fake| fake.journal().queries().len());
    assert_eq!(counts.iter().sum::<usize>(), ASKED);
    // A fair share is a third.
    assert!((1..ASKED / 10).contains(&counts[0]), "{counts:?}");
}
