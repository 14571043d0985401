//! What holds for every strategy, whatever backends there are.

use std::num::NonZero;

use proptest::prelude::*;
use proptest::strategy::Strategy as Generate;

use super::lab::{candidate, candidates};
use super::*;
use crate::config::query::{self, MostData as Rule, Strategy};

fn strategies() -> Vec<Strategy> {
    let rule = |metric| Rule {
        metric,
        ..Rule::default()
    };
    let mut all = vec![
        Strategy::MinHistory(Duration::from_secs(100), Rule::default()),
        Strategy::Random,
        Strategy::RoundRobin,
        Strategy::FirstAvailable {
            fail_back: Duration::from_secs(30),
        },
        Strategy::LeastLoaded,
        Strategy::ConsistentHash,
    ];
    all.extend(
        [
            query::DataMetric::Auto,
            query::DataMetric::History,
            query::DataMetric::StoredSamples,
            query::DataMetric::IngestedSamples,
        ]
        .map(|metric| Strategy::MostData(rule(metric))),
    );
    all
}

fn number() -> impl Generate<Value = Option<f64>> {
    prop_oneof![
        Just(None),
        (0.0..200.0).prop_map(Some),
        proptest::num::f64::ANY.prop_map(Some),
    ]
}

prop_compose! {
    fn some_candidate()(
        tier in prop_oneof![Just(Tier::Good), Just(Tier::Poor), Just(Tier::Raw), Just(Tier::Apart), Just(Tier::Out)],
        priority in 0_u32..3,
        weight in prop_oneof![0_u32..5, Just(u32::MAX)],
        (oldest, now, stored, head, ingested) in (number(), number(), number(), number(), number()),
        under_way in prop_oneof![0_usize..5, Just(usize::MAX)],
        latency in proptest::option::of(0_u64..u64::MAX),
    ) -> Candidate {
        Candidate {
            tier,
            priority,
            weight,
            data: Data {
                oldest,
                now,
                stored_samples: stored,
                head_series: head,
                ingested_samples: ingested,
                ..Data::default()
            },
            under_way,
            latency: latency.map(Duration::from_micros),
            ..candidate("")
        }
    }
}

/// Some of them, by name, at each look others.
fn pools() -> impl Generate<Value = Vec<Vec<Candidate>>> {
    let pool = proptest::collection::btree_map(0_u8..10, some_candidate(), 0..10);
    let named = pool.prop_map(|pool| {
        let one = |(name, mut candidate): (u8, Candidate)| {
            candidate.name = name.to_string().into();
            candidate
        };
        pool.into_iter().map(one).collect()
    });
    proptest::collection::vec(named, 1..6)
}

fn holds(order: &Order, pool: &[Candidate]) -> Result<(), TestCaseError> {
    let all_out = pool.iter().all(|c| c.tier == Tier::Out);
    prop_assert_eq!(order.panic, all_out && !pool.is_empty());
    let mut seen = order.indices.clone();
    seen.sort_unstable();
    let expected: Vec<usize> = (0..pool.len())
        .filter(|i| all_out || pool[*i].tier != Tier::Out)
        .collect();
    prop_assert_eq!(seen, expected);
    let tiers: Vec<Tier> = order.indices.iter().map(|i| pool[*i].tier).collect();
    prop_assert!(tiers.is_sorted(), "{:?}", tiers);
    prop_assert_eq!(order.equals == 0, order.indices.is_empty());
    prop_assert!(order.equals <= order.indices.len());
    let equals = &order.indices[..order.equals];
    for pair in equals.windows(2) {
        prop_assert_eq!(pool[pair[0]].rank(), pool[pair[1]].rank());
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_order_has_everybody_who_can_be_asked_once_and_better_states_first(pools in pools()) {
        for strategy in strategies() {
            let chooser = Chooser::seeded(&strategy, 1);
            let mut now = Instant::now();
            for pool in &pools {
                for key in [None, Some(&b"key"[..])] {
                    holds(&chooser.order_for(key, pool, now), pool)?;
                }
                let before = chooser.primary();
                let change = chooser.check(pool, Occasion::Interval, now);
                let after = chooser.primary();
                prop_assert_eq!(before != after, change.is_some());
                if let Some(change) = change {
                    prop_assert_eq!((change.from, change.to), (before, after));
                }
                let order = chooser.order_for(None, pool, now);
                holds(&order, pool)?;
                if order.settled {
                    let first = order.indices.first().map(|i| Arc::clone(&pool[*i].name));
                    prop_assert_eq!(first, chooser.primary());
                }
                prop_assert_eq!(chooser.scores(pool, now).len(), pool.len());
                now += Duration::from_secs(10);
            }
        }
    }
}

#[test]
fn in_a_panic_everybody_is_asked_and_nobody_is_nobody() {
    let mut pool = candidates(["a", "b"]);
    for candidate in &mut pool {
        candidate.tier = Tier::Out;
    }
    for strategy in strategies() {
        let chooser = Chooser::new(&strategy);
        let order = chooser.order_for(None, &pool, Instant::now());
        assert_eq!((order.indices.len(), order.panic), (2, true));
        assert_eq!(order.reason, "panic");
        let order = chooser.order_for(None, &[], Instant::now());
        assert_eq!((order.indices.len(), order.panic), (0, false));
    }
}

/// Ten backends, for people: `cargo test … what_an_order_costs -- --nocapture`.
#[test]
fn what_an_order_costs_is_printed() {
    let pool: Vec<Candidate> = (0..10).map(|i| candidate(&i.to_string())).collect();
    const ROUNDS: NonZero<u32> = NonZero::new(1000).unwrap();
    for strategy in strategies() {
        let chooser = Chooser::seeded(&strategy, 1);
        let began = std::time::Instant::now();
        let mut asked = 0;
        for _ in 0..ROUNDS.get() {
            asked += chooser
                .order_for(Some(b"key"), &pool, Instant::now())
                .indices
                .len();
        }
        assert_eq!(asked, 10_000);
        println!(
            "{strategy:?}: {:?} an order",
            began.elapsed() / ROUNDS.get()
        );
    }
}
