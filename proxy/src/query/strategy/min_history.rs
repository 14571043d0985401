//! Who goes back far enough is first; of those, who has most.
//!
//! mpp asked for one sample at that time, so that a hole of some minutes just there made a server unfit,
//! and one with holes everywhere else fit; and when nobody was fit it went on with whoever had been.
//! Here the oldest sample counts, and when nobody goes back far enough they are asked as by
//! [`most_data`](super::most_data).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::lineup::Lineup;
use super::most_data::{MostData, goes_back};
use super::{Candidate, Change, Occasion, Score};
use crate::config::query::MostData as Rule;

#[derive(Debug)]
pub(super) struct MinHistory {
    /// Seconds.
    least: f64,
    most: MostData,
}

impl MinHistory {
    pub(super) fn new(least: Duration, rule: &Rule) -> Self {
        Self {
            least: least.as_secs_f64(),
            most: MostData::new(rule),
        }
    }

    pub(super) fn check(
        &self,
        candidates: &[Candidate],
        occasion: Occasion,
        now: Instant,
    ) -> Option<Change> {
        self.most.check(Some(self.least), candidates, occasion, now)
    }

    pub(super) fn lineup(&self, row: Vec<usize>, candidates: &[Candidate]) -> Lineup {
        let mut lineup = self.most.lineup(Some(self.least), row, candidates);
        let first = lineup.indices.first();
        let fit = first.is_some_and(|i| goes_back(&candidates[*i], Some(self.least)));
        lineup.reason = if fit { "min-history" } else { "too-short" };
        lineup
    }

    pub(super) fn scores(&self, candidates: &[Candidate]) -> Vec<Score> {
        self.most.scores(Some(self.least), candidates)
    }

    pub(super) fn primary(&self) -> Option<Arc<str>> {
        self.most.primary()
    }
}

#[cfg(test)]
mod tests {
    use super::super::lab::{candidate, times, with_history};
    use super::super::{Chooser, Tier};
    use super::*;
    use crate::config::query::Strategy;

    const DAY: f64 = 86_400.0;

    fn chooser() -> Chooser {
        let day = Duration::from_secs(86_400);
        Chooser::new(&Strategy::MinHistory(day, Rule::default()))
    }

    fn eligible(chooser: &Chooser, pool: &[Candidate], now: Instant) -> usize {
        let scores = chooser.scores(pool, now);
        scores.iter().filter(|score| score.eligible).count()
    }

    /// Case 10. A hole is nothing that could be seen here: what counts is the oldest sample.
    #[test]
    fn who_goes_back_far_enough_is_before_who_does_not() {
        let chooser = chooser();
        let at = times();
        let mut pool = vec![
            with_history("short", DAY - 600.0),
            with_history("enough", DAY),
            with_history("long", 15.0 * DAY),
            candidate("unknown"),
        ];
        // Not even a lower priority comes before it.
        pool[0].priority = 0;
        pool[1].priority = 1;
        pool[2].priority = 1;
        let change = chooser.check(&pool, Occasion::Interval, at(0)).unwrap();
        assert_eq!(change.to.as_deref(), Some("long"));
        let order = chooser.order_for(None, &pool, at(0));
        assert_eq!(order.indices, [2, 1, 0, 3]);
        assert_eq!((order.equals, order.reason), (2, "min-history"));
        assert_eq!(eligible(&chooser, &pool, at(0)), 2);
    }

    /// Case 10, M10.
    #[test]
    fn when_nobody_goes_back_far_enough_who_has_most_is_first() {
        let chooser = chooser();
        let at = times();
        let pool = [
            with_history("minute", 60.0),
            with_history("hour", 3600.0),
            candidate("unknown"),
        ];
        let change = chooser.check(&pool, Occasion::Interval, at(0)).unwrap();
        assert_eq!(change.to.as_deref(), Some("hour"));
        let order = chooser.order_for(None, &pool, at(0));
        assert_eq!(order.indices, [1, 0, 2]);
        assert_eq!((order.equals, order.reason), (1, "too-short"));
        assert_eq!(eligible(&chooser, &pool, at(0)), 0);
    }

    #[test]
    fn who_has_lost_its_history_is_left_at_once() {
        let chooser = chooser();
        let at = times();
        let mut pool = [with_history("a", 3.0 * DAY), with_history("b", 2.0 * DAY)];
        chooser.check(&pool, Occasion::Interval, at(0)).unwrap();
        assert_eq!(chooser.primary().as_deref(), Some("a"));
        pool[0] = with_history("a", 60.0);
        assert_eq!(chooser.first(&pool, at(1)), "b");
        let change = chooser.check(&pool, Occasion::Event, at(1)).unwrap();
        assert_eq!(
            (change.to.as_deref(), change.reason),
            (Some("b"), "history")
        );
        // And when it cannot be asked, the short one is better than none.
        pool[1].tier = Tier::Out;
        assert_eq!(chooser.first(&pool, at(2)), "a");
    }

    #[test]
    fn among_those_who_go_back_far_enough_nobody_takes_over_for_a_little() {
        let chooser = chooser();
        let at = times();
        let mut pool = [with_history("a", 3.0 * DAY), with_history("b", 3.0 * DAY)];
        chooser.check(&pool, Occasion::Interval, at(0)).unwrap();
        pool[1] = with_history("b", 3.1 * DAY);
        for i in 1..20 {
            assert_eq!(chooser.check(&pool, Occasion::Interval, at(10 * i)), None);
        }
        assert_eq!(chooser.first(&pool, at(200)), "a");
    }
}
