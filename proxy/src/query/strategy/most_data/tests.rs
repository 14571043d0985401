use std::time::Duration;

use proptest::prelude::*;

use super::super::lab::{candidate, candidates, times, with_history};
use super::super::{Chooser, Order, Way};
use super::*;
use crate::config::query::Strategy;

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

fn chooser() -> Chooser {
    Chooser::new(&Strategy::MostData(Rule::default()))
}

fn comparing(metric: DataMetric) -> Chooser {
    let rule = Rule {
        metric,
        ..Rule::default()
    };
    Chooser::new(&Strategy::MostData(rule))
}

fn first(chooser: &Chooser, pool: &[Candidate], now: Instant) -> String {
    chooser.check(pool, Occasion::Interval, now);
    let first = chooser.first(pool, now);
    assert_eq!(chooser.primary().as_deref(), Some(&*first));
    first
}

/// Case 7, M2.
#[test]
fn a_restart_does_not_make_less_of_what_is_stored() {
    let at = times();
    let mut pool = [with_history("fresh", 60.0), with_history("restarted", HOUR)];
    pool[0].data.ingested_samples = Some(50_979.0);
    pool[1].data.ingested_samples = Some(12.0);
    assert_eq!(first(&chooser(), &pool, at(0)), "restarted");
    // By mpp's own measure it is the other way round.
    let mpp = comparing(DataMetric::IngestedSamples);
    assert_eq!(first(&mpp, &pool, at(0)), "fresh");
}

/// Case 8, M2.
#[test]
fn near_equals_do_not_take_turns() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let chooser = chooser();
        let at = times();
        let mut changes = 0;
        for check in 0..100 {
            let mut pool = [0, 1].map(|i| {
                let noise = 1.0 + (rng.f64() - 0.5) * 0.06;
                with_history(["a", "b"][i], 15.0 * DAY * noise)
            });
            for candidate in &mut pool {
                candidate.data.stored_samples = Some(1e9 * (1.0 + rng.f64()));
                candidate.data.head_series = Some(1e5 * (1.0 + rng.f64()));
            }
            let change = chooser.check(&pool, Occasion::Interval, at(10 * check));
            changes += usize::from(change.is_some());
        }
        assert_eq!(changes, 1, "the first choice, and no other; seed {seed}");
    }
}

/// Case 8: noise that goes beyond what is held to be noise, but not at three checks in a row.
#[test]
fn who_is_better_now_and_then_does_not_take_over() {
    let chooser = chooser();
    let at = times();
    let pool = |b: f64| [with_history("a", DAY), with_history("b", b)];
    assert_eq!(first(&chooser, &pool(DAY), at(0)), "a");
    for i in 1..100 {
        let b = if i % 3 == 0 { DAY } else { 2.0 * DAY };
        assert_eq!(first(&chooser, &pool(b), at(10 * i)), "a");
        // Looks in between are no checks.
        assert_eq!(
            chooser.check(&pool(b), Occasion::Event, at(10 * i + 1)),
            None
        );
    }
}

/// Case 8: it has to be the same one in a row.
#[test]
fn two_who_are_better_in_turns_do_not_take_over() {
    let chooser = chooser();
    let at = times();
    let pool = |b: f64, c: f64| {
        let all = [("a", DAY), ("b", b), ("c", c)];
        all.map(|(name, history)| with_history(name, history))
    };
    assert_eq!(first(&chooser, &pool(DAY, DAY), at(0)), "a");
    for i in 1..50 {
        let now = if i % 2 == 0 {
            pool(2.0 * DAY, DAY)
        } else {
            pool(DAY, 2.0 * DAY)
        };
        assert_eq!(first(&chooser, &now, at(10 * i)), "a");
    }
}

#[test]
fn who_is_better_at_three_checks_in_a_row_takes_over() {
    let chooser = chooser();
    let at = times();
    let pool = |b: f64| [with_history("a", DAY), with_history("b", b)];
    assert_eq!(first(&chooser, &pool(DAY), at(0)), "a");
    let better = pool(1.06 * DAY);
    assert_eq!(first(&chooser, &better, at(10)), "a");
    assert_eq!(first(&chooser, &better, at(20)), "a");
    let change = chooser.check(&better, Occasion::Interval, at(30)).unwrap();
    assert_eq!(change.from.as_deref(), Some("a"));
    assert_eq!((change.to.as_deref(), change.reason), (Some("b"), "data"));
}

/// Case 9.
#[test]
fn an_empty_one_does_not_win() {
    for sentinel in [9.223_372_036_854_776e15, -9.223_372_036_854_776e15] {
        for metric in [
            DataMetric::Auto,
            DataMetric::History,
            DataMetric::StoredSamples,
        ] {
            let mut pool = [with_history("empty", 0.0), with_history("full", 60.0)];
            pool[0].data.oldest = Some(sentinel);
            pool[0].data.stored_samples = Some(sentinel * 1e3);
            pool[1].data.stored_samples = Some(1.0);
            let at = times();
            assert_eq!(
                first(&comparing(metric), &pool, at(0)),
                "full",
                "{metric:?}"
            );
        }
    }
}

#[test]
fn a_worse_state_is_left_at_once_whatever_it_has() {
    let chooser = chooser();
    let at = times();
    let mut pool = [
        with_history("long", 15.0 * DAY),
        with_history("short", 60.0),
    ];
    assert_eq!(first(&chooser, &pool, at(0)), "long");
    for tier in [Tier::Poor, Tier::Raw, Tier::Out] {
        pool[0].tier = tier;
        assert_eq!(
            chooser.first(&pool, at(1)),
            "short",
            "before anybody has looked"
        );
        let change = chooser.check(&pool, Occasion::Event, at(1)).unwrap();
        assert_eq!(
            (change.to.as_deref(), change.reason),
            (Some("short"), "state")
        );
        // It comes back, and has to be better for a while.
        pool[0].tier = Tier::Good;
        assert_eq!(chooser.check(&pool, Occasion::Event, at(2)), None);
        assert_eq!(first(&chooser, &pool, at(10)), "short");
        assert_eq!(first(&chooser, &pool, at(20)), "short");
        assert_eq!(first(&chooser, &pool, at(30)), "long");
    }
}

#[test]
fn while_they_are_still_being_found_nobody_holds_on_to_the_first_that_answered() {
    let chooser = chooser();
    let at = times();
    let mut pool = candidates(["a", "b"]);
    pool[0].tier = Tier::Raw;
    pool[1].tier = Tier::Raw;
    assert_eq!(first(&chooser, &pool, at(0)), "a");
    pool[1] = with_history("b", 60.0);
    let change = chooser.check(&pool, Occasion::Event, at(1)).unwrap();
    assert_eq!((change.to.as_deref(), change.reason), (Some("b"), "state"));
    pool[0] = with_history("a", DAY);
    let change = chooser.check(&pool, Occasion::Event, at(2)).unwrap();
    assert_eq!((change.to.as_deref(), change.reason), (Some("a"), "data"));
    // Their data may come after their state.
    pool[0] = candidate("a");
    assert_eq!(first(&chooser, &pool, at(3)), "b");
    pool[0] = with_history("a", DAY);
    assert_eq!(first(&chooser, &pool, at(4)), "a");
    // From the next check on somebody holds on.
    assert_eq!(chooser.check(&pool, Occasion::Interval, at(10)), None);
    pool[1] = with_history("b", 10.0 * DAY);
    assert_eq!(chooser.check(&pool, Occasion::Event, at(11)), None);
}

#[test]
fn what_is_unknown_loses_and_nothing_at_all_goes_by_priority_and_name() {
    let at = times();
    let mut pool = candidates(["c", "b", "a"]);
    assert_eq!(first(&chooser(), &pool, at(0)), "a");
    pool[2].priority = 1;
    assert_eq!(first(&chooser(), &pool, at(0)), "b");
    assert_eq!(chooser().names(None, &pool, at(0)), ["b", "c", "a"]);
    pool[0] = with_history("c", 0.0);
    assert_eq!(first(&chooser(), &pool, at(0)), "c");
}

#[test]
fn of_equals_who_has_more_in_blocks_and_then_in_memory() {
    let at = times();
    let mut pool = ["a", "b", "c"].map(|name| with_history(name, DAY));
    pool[1].data.head_series = Some(100.0);
    assert_eq!(first(&chooser(), &pool, at(0)), "b");
    pool[2].data.stored_samples = Some(100.0);
    assert_eq!(first(&chooser(), &pool, at(0)), "c");
    pool[0].data.stored_samples = Some(99.0);
    pool[0].data.head_series = Some(1.0);
    assert_eq!(first(&chooser(), &pool, at(0)), "a", "99 is as many as 100");
}

#[test]
fn a_detail_counts_when_it_has_lasted_longer_than_a_compaction() {
    let chooser = chooser();
    let at = times();
    let mut pool = ["a", "b"].map(|name| with_history(name, 15.0 * DAY));
    assert_eq!(first(&chooser, &pool, at(0)), "a");
    pool[0].data.stored_samples = Some(1e6);
    pool[1].data.stored_samples = Some(2e6);
    for check in 1..=90 {
        assert_eq!(first(&chooser, &pool, at(10 * check)), "a", "{check}");
    }
    assert_eq!(first(&chooser, &pool, at(910)), "b");
    // Asked for by name it is no detail.
    let chooser = comparing(DataMetric::StoredSamples);
    assert_eq!(first(&chooser, &pool, at(0)), "b");
    pool[0].data.stored_samples = Some(3e6);
    let firsts: String = (1..=3)
        .map(|i| first(&chooser, &pool, at(10 * i)))
        .collect();
    assert_eq!(firsts, "bba");
}

#[test]
fn a_lower_priority_takes_over_after_the_same_while() {
    let chooser = chooser();
    let at = times();
    let mut pool = [with_history("near", DAY), with_history("far", 9.0 * DAY)];
    pool[1].priority = 1;
    assert_eq!(first(&chooser, &pool, at(0)), "near");
    pool[0].tier = Tier::Out;
    assert_eq!(first(&chooser, &pool, at(10)), "far");
    pool[0].tier = Tier::Good;
    let firsts = (2..=4).map(|i| first(&chooser, &pool, at(10 * i)));
    assert_eq!(firsts.collect::<Vec<_>>(), ["far", "far", "near"]);
}

/// M2: mpp's own measure, with what ties and zeroes mean there.
#[test]
fn of_ingested_samples_the_first_as_written_and_nothing_is_nothing() {
    let at = times();
    let mut pool = candidates(["b", "a", "none"]);
    pool[0].data.ingested_samples = Some(7.0);
    pool[1].data.ingested_samples = Some(7.0);
    pool[2].data.ingested_samples = Some(0.0);
    let chooser = comparing(DataMetric::IngestedSamples);
    assert_eq!(first(&chooser, &pool, at(0)), "b");
    assert_eq!(chooser.names(None, &pool, at(0)), ["b", "a", "none"]);
    assert_eq!(chooser.scores(&pool, at(0))[2].value, None);
}

#[test]
fn who_is_as_good_as_the_first_is_beside_it() {
    let at = times();
    let pool = [
        with_history("near", 0.97 * DAY),
        with_history("first", DAY),
        with_history("far", 0.5 * DAY),
        candidate("unknown"),
    ];
    let chooser = chooser();
    let order = chooser.order_for(None, &pool, at(0));
    assert_eq!(order.indices, [1, 0, 2, 3]);
    assert_eq!((order.equals, order.settled), (2, true));
    // One that has much more and is not the first yet is not beside it.
    chooser.check(&pool, Occasion::Interval, at(0));
    let mut pool = pool.to_vec();
    pool.push(with_history("newcomer", 10.0 * DAY));
    let Order {
        indices, equals, ..
    } = chooser.order_for(None, &pool, at(1));
    let first = chooser.primary().unwrap();
    assert_eq!(pool[indices[0]].name, first);
    assert_eq!(equals, 2);
    assert_eq!(indices[2], 4);
}

#[test]
fn it_says_what_it_compares() {
    let at = times();
    let mut pool = [with_history("a", DAY), candidate("b")];
    pool[0].data.stored_samples = Some(12.0);
    let scores = chooser().scores(&pool, at(0));
    assert_eq!(scores[0].value, Some(DAY));
    assert_eq!(
        scores[0].words,
        "1day of history, 12 stored samples, unknown series"
    );
    assert_eq!(scores[1].value, None);
    assert!(scores.iter().all(|score| score.eligible));
}

/// What is remembered goes with those it is of.
#[test]
fn nothing_stays_of_who_has_gone() {
    let chooser = chooser();
    let at = times();
    let pool = |names: &[u32]| -> Vec<Candidate> {
        let one = |i: &u32| with_history(&i.to_string(), DAY * f64::from(*i));
        names.iter().map(one).collect()
    };
    first(&chooser, &pool(&[1]), at(0));
    chooser.check(&pool(&[1, 2, 3]), Occasion::Interval, at(10));
    let Way::MostData(way) = &chooser.0 else {
        panic!("another strategy");
    };
    assert!(way.lock().waits_for() > 0);
    let change = chooser.check(&pool(&[3]), Occasion::Event, at(11)).unwrap();
    assert_eq!((change.to.as_deref(), change.reason), (Some("3"), "gone"));
    assert_eq!(way.lock().waits_for(), 0);
    let change = chooser.check(&[], Occasion::Event, at(12)).unwrap();
    assert_eq!((change.to, change.reason), (None, "gone"));
    assert_eq!(chooser.check(&[], Occasion::Event, at(13)), None);
}

proptest! {
    /// Whatever backends say, when nothing changes any more, one is the first and stays it.
    #[test]
    fn it_comes_to_rest(
        before in proptest::collection::vec((0_u8..8, 0_u8..8, 0_u8..8), 1..6),
        after in proptest::collection::vec((0_u8..8, 0_u8..8, 0_u8..8), 1..6),
    ) {
        let pool = |amounts: &[(u8, u8, u8)]| -> Vec<Candidate> {
            let one = |(i, (history, stored, head)): (usize, &(u8, u8, u8))| {
                let near = |amount: u8| Some(100.0 + 2.0 * f64::from(amount));
                let mut candidate = with_history(&i.to_string(), near(*history).unwrap());
                candidate.data.stored_samples = near(*stored);
                candidate.data.head_series = near(*head);
                candidate
            };
            amounts.iter().enumerate().map(one).collect()
        };
        let chooser = chooser();
        let start = Instant::now();
        let step = Duration::from_secs(1000);
        let mut now = start;
        for _ in 0..5 {
            chooser.check(&pool(&before), Occasion::Interval, now);
            now += step;
        }
        let mut changes = Vec::new();
        for _ in 0..40 {
            let change = chooser.check(&pool(&after), Occasion::Interval, now);
            changes.push(change.is_some());
            now += step;
        }
        prop_assert!(changes[20..].iter().all(|changed| !changed), "{changes:?}");
    }
}
