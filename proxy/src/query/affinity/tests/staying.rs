use std::time::Duration;

use proptest::prelude::*;

use super::super::super::strategy::Occasion;
use super::super::super::strategy::lab::with_history;
use super::*;
use crate::config::query::{MostData, Strategy};

/// Case 35, M3: everybody of these was one and the same to mpp.
#[test]
fn addresses_are_spread_and_stay() {
    let pool = Pool::new(&[source_address()], &Strategy::Random, &["a", "b", "c"]);
    let nobody = HeaderMap::new();
    for address in [
        |i: u32| format!("10.0.{}.{}", i / 250, i % 250),
        |i: u32| format!("2001:db8:0:{i:x}::1"),
    ] {
        let mut counts = [0; 3];
        for i in 0..600 {
            let address = address(i);
            let got = pool.ask(&nobody, Some(&address));
            assert_eq!(got.outcomes, [("source-address", Became::Hit)]);
            assert_eq!(got.order.reason, "source-address");
            counts[got.order.indices[0]] += 1;
            for _ in 0..3 {
                assert_eq!(pool.ask(&nobody, Some(&address)).first, got.first);
            }
        }
        assert!(
            counts.iter().all(|count| (140..260).contains(count)),
            "{counts:?}"
        );
    }
    // A mapped address is the address, and a privacy extension of one network is one caller.
    let first = |address: &str| pool.ask(&nobody, Some(address)).first;
    for i in 0..50 {
        let (plain, mapped) = (format!("192.0.2.{i}"), format!("::ffff:192.0.2.{i}"));
        assert_eq!(first(&plain), first(&mapped));
        assert_eq!(first("2001:db8::1"), first(&format!("2001:db8::{i:x}:1")));
    }
    // A Unix socket has none.
    assert_eq!(
        pool.ask(&nobody, None).outcomes,
        [("source-address", Became::Miss)]
    );
}

#[test]
fn a_field_keeps_a_dashboard_together() {
    let ways = [header("x-dashboard-uid"), header("x-grafana-user")];
    let pool = Pool::new(&ways, &Strategy::RoundRobin, &["a", "b", "c"]);
    let mut seen = std::collections::BTreeSet::new();
    for i in 0..50 {
        let uid = format!("board-{i}");
        let first = pool.ask(&fields(&[("x-dashboard-uid", &uid)]), None).first;
        for _ in 0..5 {
            let both = fields(&[("x-dashboard-uid", &uid), ("x-grafana-user", "ann")]);
            let got = pool.ask(&both, None);
            assert_eq!(
                (got.first, &*got.outcomes),
                (first.clone(), &[("header", Became::Hit)][..])
            );
        }
        seen.insert(first);
    }
    assert_eq!(seen.len(), 3);
    let got = pool.ask(&fields(&[("x-grafana-user", "ann")]), None);
    assert_eq!(
        got.outcomes,
        [("header", Became::Miss), ("header", Became::Hit)]
    );
    let got = pool.ask(&fields(&[("x-grafana-user", "")]), None);
    assert_eq!(got.outcomes, [("header", Became::Miss); 2]);
}

/// Case 36, M4: mpp stayed with the dead.
#[test]
fn whoever_was_with_one_that_dies_is_with_another_at_once() {
    let ways = [cookie(), source_address(), Affinity::Primary];
    for affinity in &ways {
        let affinities = std::slice::from_ref(affinity);
        let mut pool = Pool::new(affinities, &Strategy::RoundRobin, &["a", "b", "c"]);
        let address = Some("192.0.2.1");
        let first = pool.ask(&HeaderMap::new(), address).first;
        let headers = match affinity {
            Affinity::Cookie(_) => fields(&[("cookie", &pool.cookie_of(&first))]),
            _ => HeaderMap::new(),
        };
        let hit = pool.ask(&headers, address);
        assert_eq!((hit.first, hit.outcomes[0].1), (first.clone(), Became::Hit));
        // Degraded, warming, down: as long as others are better.
        for tier in [Tier::Poor, Tier::Raw, Tier::Apart, Tier::Out] {
            pool.tier(&first, tier);
            let got = pool.ask(&headers, address);
            assert_ne!(got.first, first, "{affinity:?} {tier:?}");
            let set = pool.affinities.cookie(&got.wish, &got.first, false);
            assert_eq!(set.is_some(), matches!(affinity, Affinity::Cookie(_)));
            // From now on it is that one.
            let headers = match affinity {
                Affinity::Cookie(_) => fields(&[("cookie", &pool.cookie_of(&got.first))]),
                _ => HeaderMap::new(),
            };
            for _ in 0..5 {
                assert_eq!(pool.ask(&headers, address).first, got.first);
            }
        }
        let broken = pool.ask(&headers, address).outcomes[0].1;
        // Everybody's primary is another by now, and nobody misses the former.
        let expected = match affinity {
            Affinity::Primary => Became::Hit,
            _ => Became::Broken,
        };
        assert_eq!(broken, expected);
    }
}

/// Case 36.
#[test]
fn a_broken_cookie_falls_back_on_the_next_kind() {
    let ways = [cookie(), header("x-grafana-user"), Affinity::Primary];
    let mut pool = Pool::new(&ways, &Strategy::Random, &["a", "b", "c"]);
    let cookie = pool.cookie_of("a");
    pool.tier("a", Tier::Out);
    let got = pool.ask(&fields(&[("cookie", &cookie)]), None);
    let primary = got.first;
    assert_eq!(
        got.outcomes,
        [
            ("cookie", Became::Broken),
            ("header", Became::Miss),
            ("primary", Became::Miss)
        ]
    );
    assert_eq!(pool.affinities.primary().as_deref(), Some(&*primary));
    let got = pool.ask(&HeaderMap::new(), None);
    assert_eq!((got.first, got.order.reason), (primary, "primary"));
    assert_eq!(got.outcomes[2], ("primary", Became::Hit));
}

#[test]
fn in_a_panic_nobody_stays_with_anybody() {
    let ways = [cookie(), source_address(), Affinity::Primary];
    let mut pool = Pool::new(&ways, &Strategy::Random, &["a", "b"]);
    let cookie = fields(&[("cookie", &pool.cookie_of("a"))]);
    pool.tier("a", Tier::Out);
    pool.tier("b", Tier::Out);
    let got = pool.ask(&cookie, Some("192.0.2.1"));
    assert_eq!((got.order.indices.len(), got.order.reason), (2, "panic"));
    assert_eq!(
        got.outcomes,
        [
            ("cookie", Became::Broken),
            ("source-address", Became::Broken)
        ]
    );
}

/// Case 37, M8.
#[test]
fn without_affinity_the_strategy_has_its_way() {
    let pool = Pool::new(&[], &Strategy::RoundRobin, &["a", "b"]);
    let headers = fields(&[("cookie", "adit=1"), ("x-grafana-user", "ann")]);
    let mut firsts = String::new();
    for _ in 0..6 {
        let got = pool.ask(&headers, Some("192.0.2.1"));
        assert_eq!(got.outcomes, []);
        assert_eq!(pool.affinities.cookie(&got.wish, "a", true), None);
        firsts.push_str(&got.first);
    }
    assert_eq!(firsts, "ababab");
    assert_eq!(pool.affinities.primary(), None);
    let mut sent = headers.clone();
    pool.affinities.strip(&mut sent);
    assert_eq!(sent, headers);
}

/// Case 38: Grafana, which keeps no cookies.
#[test]
fn everybody_sees_the_primary_whatever_the_strategy() {
    for strategy in [
        Strategy::default(),
        Strategy::MinHistory(Duration::from_secs(60), MostData::default()),
        Strategy::FirstAvailable {
            fail_back: Duration::from_secs(60),
        },
        Strategy::Random,
        Strategy::RoundRobin,
        Strategy::LeastLoaded,
        Strategy::ConsistentHash,
    ] {
        let mut pool = Pool::new(&[Affinity::Primary], &strategy, &["a", "b", "c"]);
        let first = pool.ask(&HeaderMap::new(), Some("192.0.2.1")).first;
        for i in 0..1000 {
            for candidate in &mut pool.candidates {
                candidate.under_way = fastrand::usize(..100);
            }
            let address = format!("10.1.{}.{}", i / 250, i % 250);
            let got = pool.ask(&HeaderMap::new(), Some(&address));
            assert_eq!(got.first, first, "{strategy:?}");
            assert_eq!(got.outcomes, [("primary", Became::Hit)]);
        }
    }
}

#[test]
fn nobody_stays_with_who_has_much_less() {
    let ways = [cookie(), source_address()];
    let mut pool = Pool::new(&ways, &Strategy::default(), &[]);
    pool.candidates = vec![
        with_history("long", 1e6),
        with_history("replica", 0.99e6),
        with_history("fresh", 60.0),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for i in 0..50 {
        let got = pool.ask(&HeaderMap::new(), Some(&format!("192.0.2.{i}")));
        seen.insert(got.first);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["long", "replica"]);
    let kept = |name| {
        let cookie = fields(&[("cookie", &pool.cookie_of(name))]);
        pool.ask(&cookie, None).outcomes[0].1
    };
    assert_eq!(kept("replica"), Became::Hit);
    assert_eq!(kept("fresh"), Became::Broken);
}

proptest! {
    #[test]
    fn affinity_moves_nobody_past_who_is_better(
        tiers in proptest::collection::vec(0_usize..4, 1..5),
        priorities in proptest::collection::vec(0_u32..2, 4),
        of in 0_usize..4,
        user in ".{0,8}",
    ) {
        let all = [Tier::Good, Tier::Poor, Tier::Raw, Tier::Apart, Tier::Out];
        let ways = [cookie(), header("x-grafana-user"), Affinity::Primary];
        for strategy in [Strategy::default(), Strategy::Random, Strategy::ConsistentHash] {
            let names = &["a", "b", "c", "d"][..tiers.len()];
            let mut pool = Pool::new(&ways, &strategy, names);
            for (i, candidate) in pool.candidates.iter_mut().enumerate() {
                candidate.tier = all[tiers[i]];
                candidate.priority = priorities[i];
            }
            let mut headers = fields(&[("cookie", &pool.cookie_of(["a", "b", "c", "d"][of]))]);
            if let Ok(value) = HeaderValue::from_bytes(user.as_bytes()) {
                headers.insert("x-grafana-user", value);
            }
            let got = pool.ask(&headers, None);
            let mut plain = got.order.indices.clone();
            plain.sort_unstable();
            plain.dedup();
            prop_assert_eq!(plain.len(), got.order.indices.len());
            let ranks = got.order.indices.iter().map(|i| {
                let candidate = &pool.candidates[*i];
                (candidate.tier, candidate.priority)
            });
            prop_assert!(ranks.is_sorted());
        }
    }
}

/// A field may be the one with the password.
#[test]
fn what_a_caller_shows_is_not_shown() {
    let pool = Pool::new(&[header("authorization")], &Strategy::Random, &["a", "b"]);
    let got = pool.ask(&fields(&[("authorization", "Basic secret")]), None);
    assert_eq!(got.outcomes, [("header", Became::Hit)]);
    let debug = format!("{:?}", got.wish);
    assert_eq!(debug, "Wish { backend: None, way: Some(0), .. }");
}

/// Case 12: a strategy that has one first for everybody keeps it itself.
#[test]
fn the_primary_goes_where_the_strategy_says() {
    let strategy = Strategy::FirstAvailable {
        fail_back: Duration::ZERO,
    };
    let mut pool = Pool::new(&[Affinity::Primary], &strategy, &["a", "b"]);
    let mut firsts = String::new();
    for tier in [Tier::Good, Tier::Out, Tier::Good] {
        pool.tier("a", tier);
        let now = Instant::now();
        pool.chooser.check(&pool.candidates, Occasion::Event, now);
        let got = pool.ask(&HeaderMap::new(), None);
        assert_eq!(got.order.reason, "first-available");
        firsts.push_str(&got.first);
    }
    assert_eq!(firsts, "aba");
    assert_eq!(pool.affinities.primary(), None);
}
