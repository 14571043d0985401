//! Whatever happens to three of a pool, and in whatever order.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{One, answer, failed, secs, well};
use crate::query::standing::*;

/// What may happen to one of three.
#[derive(Debug, Clone)]
enum Event {
    Probed(usize, Probed),
    Answered(usize),
    Failed(usize),
    NotReady(usize, bool),
    Unlinked(usize),
    Later(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let who = 0..3usize;
    let answered = (
        0.0..400.0,
        proptest::option::of(0.0..300.0),
        0.0..10.0,
        0..3000u64,
    );
    let outcome = prop_oneof![
        1 => Just(Probed::Unasked),
        1 => Just(Probed::Stopping),
        1 => Just(Probed::NotReady(Some((1, 3)))),
        1 => Just(Probed::Unlinked(String::new())),
        3 => Just(failed()),
        1 => Just(Probed::Mute(String::new())),
        5 => Just(well(1e6)),
        2 => answered.prop_map(|(uptime, age, targets, took)| {
            let (targets, took) = (Some(targets), Duration::from_millis(took));
            Probed::Ready(Answer { age, targets, took, ..answer(uptime) })
        }),
    ];
    let event = prop_oneof![
        4 => (who.clone(), outcome).prop_map(|(who, outcome)| Event::Probed(who, outcome)),
        1 => who.clone().prop_map(Event::Answered),
        4 => who.clone().prop_map(Event::Failed),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, stopping)| Event::NotReady(who, stopping)),
        1 => who.prop_map(Event::Unlinked),
        1 => (1..60u64).prop_map(Event::Later),
    ];
    proptest::collection::vec(event, 0..120)
}

proptest! {
    /// Whatever happens: never more are left alone than may be, nobody is healthy but by a good probe,
    /// and neither one lost probe nor any number of failed requests takes a healthy one down.
    #[test]
    fn whatever_happens(events in events(), share in 0.0..1.0f64) {
        let peers = Arc::default();
        let mut all = [One::of(&peers), One::of(&peers), One::of(&peers)];
        let mut now = Instant::now();
        for one in &mut all {
            one.rules.max_ejected = share;
            one.rules.consecutive_failures = 2;
        }
        let cap = ((3.0 * share).floor() as usize).min(2);
        let mut lost = [0; 3];
        for event in events {
            for one in &mut all {
                one.now = now;
            }
            let before: Vec<State> = all.iter().map(|one| one.standing.state).collect();
            let mut good = None;
            let mut at_once = None;
            match &event {
                Event::Later(time) => now += secs(*time),
                Event::Answered(who) => all[*who].standing.answered(),
                Event::Failed(who) => drop(all[*who].failed()),
                Event::NotReady(who, stopping) => {
                    at_once = Some(*who);
                    let One { standing, member, now, .. } = &mut all[*who];
                    standing.told_not_ready(*stopping, member, *now);
                }
                Event::Unlinked(who) => {
                    (at_once, lost[*who]) = (Some(*who), 0);
                    let One { standing, member, rules, now } = &mut all[*who];
                    standing.probed(&Probed::Unlinked(String::new()), rules, member, *now);
                }
                Event::Probed(who, outcome) => {
                    lost[*who] = match outcome {
                        Probed::Failed(_) => lost[*who] + 1,
                        Probed::Unasked => lost[*who],
                        _ => 0,
                    };
                    if let Probed::Ready(_) = outcome {
                        good = Some(*who);
                    }
                    if matches!(outcome, Probed::Unlinked(_)) {
                        at_once = Some(*who);
                    }
                    let One { standing, member, rules, now } = &mut all[*who];
                    standing.probed(outcome, rules, member, *now);
                }
            }
            let alone = all.iter().filter(|one| one.standing.is_ejected(now)).count();
            prop_assert!(alone <= cap, "{alone} of 3 are left alone with {share}");
            for (who, one) in all.iter().enumerate() {
                let (was, is) = (before[who], one.standing.state);
                if is == State::Healthy && was != is {
                    prop_assert_eq!(good, Some(who));
                }
                if was == State::Healthy && is == State::Down {
                    prop_assert!(lost[who] >= 2 || at_once == Some(who), "{:?}", event);
                }
                prop_assert!(is == State::Starting || one.standing.replay.is_none());
                prop_assert!(is == State::Healthy || is == State::Degraded || one.standing.ejected_until.is_none());
            }
        }
    }
}
