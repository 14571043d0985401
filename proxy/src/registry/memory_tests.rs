//! The table of names: sessions and polls coming and going.

use adit_common::registration::Instance;
use adit_common::tunnel::goodbye::{Farewell, Goodbye};
use prometheus::IntGauge;
use tokio::sync::oneshot;

use super::*;
use crate::carrier::Handed;
use crate::registry::Lease;
use crate::registry::tables::MOST_AWAY;

const GRACE: Duration = Duration::from_secs(2);

fn names(list: &[&str]) -> Vec<Name> {
    list.iter().map(|name| name.parse().unwrap()).collect()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn instance(started: u64) -> Instance {
    Instance {
        started,
        ..Instance::now()
    }
}

fn session(started: u64) -> Arc<Session> {
    Session::for_tests(instance(started))
}

fn rules(default: Duplicates) -> Rules {
    Rules {
        default,
        ..Rules::default()
    }
}

fn registry() -> Arc<Registry> {
    let memory = Memory {
        remember: Duration::from_secs(300),
        grace: GRACE,
        startup: Duration::ZERO,
        list: Duration::from_secs(45),
    };
    let count = IntGauge::new("waiting", "For a test.").unwrap();
    Arc::new(Registry::new(memory, Arc::new(Waiting::new(8, 8, count))))
}

fn claim(registry: &Arc<Registry>, session: &Arc<Session>, list: &[&str]) -> usize {
    let claimed = registry.claim(session, &names(list), &Rules::default());
    claimed.unwrap().len()
}

fn holder(registry: &Arc<Registry>, text: &str) -> Option<u64> {
    match registry.find(&name(text)) {
        Found::Here(Carrier::Session(session)) => Some(session.id()),
        _ => None,
    }
}

fn park(registry: &Arc<Registry>, text: &str, from: u8) -> (Arc<Poll>, oneshot::Receiver<Handed>) {
    let mut handed = None;
    let from = Some(IpAddr::from([192, 0, 2, from]));
    let rules = Rules::default();
    let poll = registry.park(&name(text), from, &rules, 8, |poller| {
        let (poll, receiver) = Poll::for_tests(text, poller);
        handed = Some(receiver);
        poll
    });
    (poll, handed.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_name_is_here_then_away_then_forgotten() {
    let registry = registry();
    let session = session(1);
    claim(&registry, &session, &["pi", "nas"]);
    assert_eq!(holder(&registry, "pi"), Some(session.id()));
    registry.release(&session);
    assert!(matches!(registry.find(&name("pi")), Found::Away(_)));
    assert_eq!(registry.sizes(), (0, 2));
    tokio::time::advance(Duration::from_secs(300)).await;
    assert!(matches!(registry.find(&name("pi")), Found::Unknown));
    registry.sweep();
    assert_eq!(registry.sizes(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn asking_for_unknown_names_leaves_nothing() {
    let registry = registry();
    for n in 0..1000 {
        let found = registry.find(&name(&format!("unknown-{n}")));
        assert!(matches!(found, Found::Unknown));
    }
    assert_eq!(registry.sizes(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_left_is_listed_as_long_as_it_may_be_dialling_again() {
    let registry = registry();
    let session = session(1);
    claim(&registry, &session, &["pi"]);
    registry.release(&session);
    assert_eq!(registry.names(), names(&["pi"]));
    tokio::time::advance(Duration::from_secs(45)).await;
    assert!(registry.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_fell_silent_left_when_it_was_heard_last() {
    let registry = registry();
    let session = session(1);
    claim(&registry, &session, &["pi"]);
    tokio::time::advance(Duration::from_secs(60)).await;
    let silent = Duration::from_secs(45);
    session.ending().note(End::Silent(silent));
    registry.release(&session);
    assert!(registry.names().is_empty(), "it is listed no longer");
    let Found::Away(seen) = registry.find(&name("pi")) else {
        panic!("forgotten");
    };
    assert_eq!(seen.elapsed(), silent);
}

#[tokio::test(start_paused = true)]
async fn two_sessions_of_one_instance_share_and_the_newest_serves() {
    for rule in [Duplicates::Replace, Duplicates::Reject] {
        let registry = registry();
        let same = instance(1);
        let (old, new) = (Session::for_tests(same), Session::for_tests(same));
        for session in [&old, &new] {
            let claimed = registry.claim(session, &names(&["pi"]), &rules(rule));
            assert!(claimed.unwrap().is_empty());
        }
        assert_eq!(holder(&registry, "pi"), Some(new.id()));
        registry.release(&new);
        assert_eq!(holder(&registry, "pi"), Some(old.id()));
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_instances_the_one_that_started_later_keeps_the_name() {
    let registry = registry();
    let (older, newer) = (session(1), session(2));
    claim(&registry, &older, &["pi", "nas"]);
    let evicted = registry
        .claim(&newer, &names(&["pi"]), &Rules::default())
        .unwrap();
    assert_eq!(evicted.len(), 1);
    assert_eq!(evicted[0].id(), older.id());
    assert_eq!(holder(&registry, "pi"), Some(newer.id()));
    let none = holder(&registry, "nas");
    assert_eq!(none, None, "a session that lost a name has none");
    let taken = registry
        .claim(&older, &names(&["nas", "pi"]), &Rules::default())
        .unwrap_err();
    assert_eq!(taken.name.as_str(), "pi");
    assert_eq!(holder(&registry, "nas"), None, "all names or none");
}

#[tokio::test(start_paused = true)]
async fn reject_keeps_whoever_came_first_even_a_poll() {
    let registry = registry();
    let reject = rules(Duplicates::Reject);
    let (first, second) = (session(1), session(2));
    registry.claim(&first, &names(&["pi"]), &reject).unwrap();
    let taken = registry
        .claim(&second, &names(&["pi"]), &reject)
        .unwrap_err();
    assert!(taken.by.contains(&first.instance().id.to_string()));
    assert_eq!(holder(&registry, "pi"), Some(first.id()));
    registry.release(&first);
    registry.claim(&second, &names(&["pi"]), &reject).unwrap();
    let (_, _handed) = park(&registry, "nas", 1);
    let taken = registry
        .claim(&second, &names(&["nas"]), &reject)
        .unwrap_err();
    assert!(taken.by.contains("PushProx"), "{taken}");
}

#[tokio::test(start_paused = true)]
async fn replicas_all_serve_the_newest_first() {
    let registry = registry();
    let replicas = rules(Duplicates::Replicas);
    let (one, two) = (session(2), session(1));
    for session in [&one, &two] {
        let evicted = registry.claim(session, &names(&["pi"]), &replicas).unwrap();
        assert!(evicted.is_empty());
    }
    assert_eq!(
        holder(&registry, "pi"),
        Some(two.id()),
        "the newest session"
    );
    registry.release(&two);
    assert_eq!(holder(&registry, "pi"), Some(one.id()));
}

#[tokio::test(start_paused = true)]
async fn a_changed_registration_moves_only_what_changed() {
    let registry = registry();
    let session = session(1);
    claim(&registry, &session, &["a", "b"]);
    claim(&registry, &session, &["b", "c"]);
    assert_eq!(holder(&registry, "a"), None);
    assert_eq!(holder(&registry, "b"), Some(session.id()));
    assert_eq!(registry.sizes(), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_here_once_and_its_name_is_expected_back() {
    let registry = registry();
    let (poll, _handed) = park(&registry, "pi", 1);
    assert_eq!(registry.sizes(), (1, 0));
    let Found::Here(taken) = registry.find(&name("pi")) else {
        panic!("no poll");
    };
    let lease = Lease::new(taken, &registry);
    assert!(matches!(&*lease, Carrier::Poll(taken) if taken.id() == poll.id()));
    assert!(matches!(registry.find(&name("pi")), Found::Away(_)));
    drop(lease);
    assert_eq!(registry.sizes(), (1, 0), "it has carried nothing");
    registry.withdraw(&poll);
    assert_eq!(registry.sizes(), (0, 1));
    let (poll, _handed) = park(&registry, "pi", 1);
    registry.withdraw(&poll);
    registry.withdraw(&poll);
    assert!(matches!(registry.find(&name("pi")), Found::Away(_)));
    assert_eq!(registry.sizes(), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_session_takes_a_name_over_from_polls_and_hands_it_back() {
    let registry = registry();
    let (_, mut handed) = park(&registry, "pi", 1);
    let session = session(1);
    claim(&registry, &session, &["pi"]);
    assert_eq!(holder(&registry, "pi"), Some(session.id()));
    assert!(handed.try_recv().is_err());
    let goodbye = Goodbye::new(Farewell::GoingAway, "moving back");
    session.ending().note(End::Peer(goodbye));
    registry.release(&session);
    let found = registry.find(&name("pi"));
    assert!(matches!(found, Found::Here(Carrier::Poll(_))), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn names_that_left_are_bounded() {
    let registry = registry();
    for n in 0..MOST_AWAY + 1000 {
        let (poll, _handed) = park(&registry, &format!("n{n}"), 1);
        registry.withdraw(&poll);
    }
    assert_eq!(registry.sizes(), (0, MOST_AWAY));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_by_whoever_comes() {
    let registry = registry();
    let pi = name("pi");
    let waiter = registry.waiting().wait(&pi).unwrap();
    let arrival = waiter.arrival();
    tokio::pin!(arrival);
    assert!(!arrival.as_mut().enable());
    let (_, _handed) = park(&registry, "pi", 1);
    assert!(arrival.as_mut().enable());
    let arrival = waiter.arrival();
    tokio::pin!(arrival);
    assert!(!arrival.as_mut().enable());
    claim(&registry, &session(1), &["pi"]);
    assert!(arrival.as_mut().enable());
}

#[tokio::test(start_paused = true)]
async fn whoever_follows_sessions_is_told_of_each_that_comes_changes_or_goes() {
    let registry = registry();
    let mut changes = registry.changes();
    let told = |changes: &mut tokio::sync::watch::Receiver<u64>| {
        let told = changes.has_changed().unwrap();
        changes.mark_unchanged();
        told
    };
    let session = session(1);
    claim(&registry, &session, &["pi"]);
    assert!(told(&mut changes), "it has come");
    assert!(matches!(registry.tunnel(&name("pi")), Tunnel::Here(_)));
    session.offers(Registration::default());
    claim(&registry, &session, &["pi"]);
    assert!(told(&mut changes), "it offers something else");
    let (poll, _handed) = park(&registry, "pi", 1);
    assert!(!told(&mut changes), "polls are no sessions");
    registry.release(&session);
    assert!(told(&mut changes), "it has gone");
    assert!(matches!(registry.tunnel(&name("pi")), Tunnel::Polled));
    registry.release(&session);
    assert!(!told(&mut changes), "it had gone");
    registry.withdraw(&poll);
    tokio::time::advance(GRACE).await;
    assert!(matches!(registry.tunnel(&name("pi")), Tunnel::Nobody));
    assert!(matches!(registry.tunnel(&name("nas")), Tunnel::Nobody));
}
