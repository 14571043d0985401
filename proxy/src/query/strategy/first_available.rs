//! The first by priority and then as written, as long as it can be asked. One that has returned has to
//! stay for a while before it is the first again, so that one that comes and goes takes nobody along.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::lineup::{Lineup, bring_forward};
use super::{Candidate, Change, Score, Tier};

/// One first for everybody.
#[derive(Debug)]
pub(super) struct FirstAvailable {
    fail_back: Duration,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    primary: Option<Arc<str>>,
    /// Of those that were there at the last look.
    stays: HashMap<Arc<str>, Stay>,
}

/// How long a backend has been good.
#[derive(Debug, Clone, Copy)]
struct Stay {
    since: Option<Instant>,
    /// It was gone, or came later than the others.
    returned: bool,
}

impl FirstAvailable {
    pub(super) fn new(fail_back: Duration) -> Self {
        Self {
            fail_back,
            memory: Mutex::default(),
        }
    }

    pub(super) fn primary(&self) -> Option<Arc<str>> {
        self.lock().primary.clone()
    }

    pub(super) fn check(&self, candidates: &[Candidate], now: Instant) -> Option<Change> {
        let mut memory = self.lock();
        memory.look(candidates, now);
        let stays = |i: usize| memory.has_stayed(&candidates[i], self.fail_back, now);
        let best = candidates.iter().map(|c| c.tier).min();
        let row = (0..candidates.len()).filter(|i| Some(candidates[*i].tier) == best);
        let place = |i: usize| (candidates[i].priority, i);
        let current = memory.primary.as_ref().map(|name| {
            let fit = |i: &usize| candidates[*i].name == *name;
            (
                row.clone().find(fit),
                candidates.iter().any(|c| c.name == *name),
            )
        });
        let (to, reason) = match current {
            Some((Some(current), _)) => {
                let back = row.filter(|i| stays(*i)).map(place).min();
                let back = back.filter(|back| *back < place(current))?;
                (Some(back.1), "fail-back")
            }
            current => {
                let next = row.min_by_key(|i| (!stays(*i), place(*i)));
                let reason = match current {
                    None => "first",
                    Some((_, true)) => "state",
                    Some((_, false)) => "gone",
                };
                (next, reason)
            }
        };
        let to = to.map(|i| Arc::clone(&candidates[i].name));
        if to == memory.primary {
            return None;
        }
        let from = std::mem::replace(&mut memory.primary, to.clone());
        Some(Change { from, to, reason })
    }

    pub(super) fn lineup(
        &self,
        mut row: Vec<usize>,
        candidates: &[Candidate],
        now: Instant,
    ) -> Lineup {
        let memory = self.lock();
        row.sort_by_cached_key(|i| {
            let candidate = &candidates[*i];
            let stays = memory.has_stayed(candidate, self.fail_back, now);
            (candidate.tier, !stays, candidate.priority, *i)
        });
        let primary = row.iter().position(|i| {
            let candidate = &candidates[*i];
            memory.primary.as_ref() == Some(&candidate.name)
                && candidate.tier == candidates[row[0]].tier
        });
        drop(memory);
        if let Some(place) = primary {
            bring_forward(&mut row, place);
        }
        let like_first =
            |first: usize, other: usize| candidates[first].rank() == candidates[other].rank();
        Lineup::gathered(row, like_first, "first-available")
    }

    pub(super) fn scores(&self, candidates: &[Candidate], now: Instant) -> Vec<Score> {
        let memory = self.lock();
        let score = |(i, candidate): (usize, &Candidate)| {
            let mut words = format!(
                "priority {}, number {} as written",
                candidate.priority,
                i + 1
            );
            if let Some(left) = memory.left(candidate, self.fail_back, now) {
                let seconds = Duration::from_secs(left.as_secs() + 1);
                words.push_str(", has returned and has to stay for another ");
                words.push_str(&humantime::format_duration(seconds).to_string());
            }
            Score {
                value: None,
                words,
                eligible: true,
            }
        };
        candidates.iter().enumerate().map(score).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn look(&mut self, candidates: &[Candidate], now: Instant) {
        // Those that are there from the beginning have not been away.
        let opened = self.primary.is_some();
        let before = std::mem::take(&mut self.stays);
        for candidate in candidates {
            let mut stay = before.get(&candidate.name).copied().unwrap_or(Stay {
                since: None,
                returned: opened,
            });
            if candidate.tier == Tier::Good {
                stay.since = stay.since.or(Some(now));
            } else {
                stay.returned |= stay.since.take().is_some();
            }
            self.stays.insert(Arc::clone(&candidate.name), stay);
        }
    }

    fn has_stayed(&self, candidate: &Candidate, fail_back: Duration, now: Instant) -> bool {
        self.stays.get(&candidate.name).is_some_and(|stay| {
            let long = |since| now.saturating_duration_since(since) >= fail_back;
            stay.since
                .is_some_and(|since| !stay.returned || long(since))
        })
    }

    /// How long it has to stay until it may be the first again.
    fn left(&self, candidate: &Candidate, fail_back: Duration, now: Instant) -> Option<Duration> {
        let stay = self.stays.get(&candidate.name).filter(|s| s.returned)?;
        let left = fail_back.checked_sub(now.saturating_duration_since(stay.since?))?;
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lab::{candidate, candidates, times};
    use super::super::{Chooser, Occasion, Way};
    use super::*;
    use crate::config::query::Strategy;

    fn chooser() -> Chooser {
        let fail_back = Duration::from_secs(60);
        Chooser::new(&Strategy::FirstAvailable { fail_back })
    }

    fn to(change: Option<Change>) -> (String, &'static str) {
        let change = change.expect("another one is first");
        (
            String::from(&*change.to.expect("there is one")),
            change.reason,
        )
    }

    /// Case 12.
    #[test]
    fn it_fails_over_at_once_and_back_after_a_while() {
        let chooser = chooser();
        let at = times();
        let mut pool = candidates(["a", "b", "c"]);
        let look = |pool: &[Candidate], seconds| chooser.check(pool, Occasion::Event, at(seconds));
        assert_eq!(to(look(&pool, 0)), ("a".to_owned(), "first"));
        assert_eq!(chooser.names(None, &pool, at(0)), ["a", "b", "c"]);
        pool[0].tier = Tier::Out;
        // Nobody has to wait for the next look.
        assert_eq!(chooser.names(None, &pool, at(1)), ["b", "c"]);
        assert_eq!(to(look(&pool, 1)), ("b".to_owned(), "state"));
        pool[0].tier = Tier::Good;
        assert_eq!(look(&pool, 10), None);
        assert_eq!(chooser.names(None, &pool, at(10))[0], "b");
        let words = &chooser.scores(&pool, at(20))[0].words;
        assert!(words.contains("for another 51s"), "{words}");
        assert_eq!(look(&pool, 69), None);
        assert_eq!(to(look(&pool, 70)), ("a".to_owned(), "fail-back"));
        assert_eq!(chooser.names(None, &pool, at(70)), ["a", "b", "c"]);
        assert!(!chooser.scores(&pool, at(70))[0].words.contains("another"));
    }

    /// Case 12.
    #[test]
    fn one_that_comes_and_goes_never_becomes_the_first_again() {
        let chooser = chooser();
        let at = times();
        let mut pool = candidates(["a", "b"]);
        chooser.check(&pool, Occasion::Event, at(0));
        let mut changes = 0;
        for i in 1..100 {
            pool[0].tier = if i % 2 == 0 { Tier::Good } else { Tier::Out };
            changes += usize::from(chooser.check(&pool, Occasion::Event, at(50 * i)).is_some());
        }
        assert_eq!(changes, 1);
        assert_eq!(chooser.primary().as_deref(), Some("b"));
    }

    #[test]
    fn at_the_beginning_nobody_has_to_wait() {
        let chooser = chooser();
        let at = times();
        let mut pool = candidates(["a", "b"]);
        pool[0].tier = Tier::Raw;
        pool[1].tier = Tier::Raw;
        chooser.check(&pool, Occasion::Interval, at(0));
        pool[1].tier = Tier::Good;
        assert_eq!(to(chooser.check(&pool, Occasion::Event, at(1))).0, "b");
        pool[0].tier = Tier::Good;
        assert_eq!(to(chooser.check(&pool, Occasion::Event, at(2))).0, "a");
    }

    #[test]
    fn nobody_gives_way_to_one_that_is_written_later() {
        let chooser = chooser();
        let at = times();
        let mut pool = candidates(["a", "b"]);
        pool[1].tier = Tier::Raw;
        chooser.check(&pool, Occasion::Event, at(0));
        pool[0].tier = Tier::Out;
        assert_eq!(to(chooser.check(&pool, Occasion::Event, at(1))).0, "b");
        pool[0].tier = Tier::Good;
        assert_eq!(to(chooser.check(&pool, Occasion::Event, at(2))).0, "a");
        // It has returned, and this one has never been away.
        pool[1].tier = Tier::Good;
        assert_eq!(chooser.check(&pool, Occasion::Event, at(3)), None);
        assert_eq!(chooser.names(None, &pool, at(3)), ["a", "b"]);
    }

    #[test]
    fn who_comes_later_has_to_stay_first() {
        let chooser = chooser();
        let at = times();
        let mut pool = candidates(["b"]);
        chooser.check(&pool, Occasion::Event, at(0));
        pool.insert(0, candidate("a"));
        assert_eq!(chooser.names(None, &pool, at(1)), ["b", "a"]);
        assert_eq!(chooser.check(&pool, Occasion::Event, at(1)), None);
        assert_eq!(to(chooser.check(&pool, Occasion::Event, at(61))).0, "a");
        // One that is gone from the list is not remembered.
        pool.remove(0);
        assert_eq!(
            to(chooser.check(&pool, Occasion::Event, at(62))),
            ("b".to_owned(), "gone")
        );
        let Way::FirstAvailable(way) = &chooser.0 else {
            panic!("another strategy");
        };
        assert_eq!(way.lock().stays.len(), 1);
        assert_eq!(
            chooser.check(&[], Occasion::Event, at(63)).unwrap().to,
            None
        );
        assert!(way.lock().stays.is_empty());
    }

    #[test]
    fn priority_goes_before_place_and_who_has_not_just_returned_before_who_has() {
        let chooser = chooser();
        let at = times();
        let mut pool = candidates(["a", "b", "c"]);
        pool[0].priority = 2;
        chooser.check(&pool, Occasion::Event, at(0));
        assert_eq!(chooser.names(None, &pool, at(0)), ["b", "c", "a"]);
        pool[2].tier = Tier::Out;
        chooser.check(&pool, Occasion::Event, at(1));
        pool[2].tier = Tier::Good;
        chooser.check(&pool, Occasion::Event, at(2));
        pool[1].tier = Tier::Out;
        assert_eq!(to(chooser.check(&pool, Occasion::Event, at(3))).0, "a");
        assert_eq!(chooser.names(None, &pool, at(3)), ["a", "c"]);
        assert_eq!(to(chooser.check(&pool, Occasion::Interval, at(62))).0, "c");
    }
}
