//! Who has most is first, for everybody, until another one has clearly more for a while.
//!
//! mpp compared what a server had ingested since its start, so that one with two weeks of data lost to a
//! fresh one when it was restarted, and two replicas took turns. Here what is stored counts, a share of
//! it is held to be noise, and a better one has to be better at some checks in a row. A server that is in
//! a worse state than another is left at once.
//!
//! Ties go by name, so that several proxies before the same backends agree.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::amount::{self, Amount};
use super::contest::{By, Contest};
use super::lineup::{Lineup, bring_forward};
use super::{Candidate, Change, Occasion, Score, Tier};
use crate::config::query::{DataMetric, MostData as Rule};

/// One first for everybody.
#[derive(Debug)]
pub(super) struct MostData {
    rule: Rule,
    contest: Mutex<Contest>,
}

/// Who comes before whom, whatever they have: a better state, then those that go back far enough.
type Class = (Tier, bool);

impl MostData {
    pub(super) fn new(rule: &Rule) -> Self {
        Self {
            rule: rule.clone(),
            contest: Mutex::default(),
        }
    }

    pub(super) fn primary(&self) -> Option<Arc<str>> {
        self.lock().primary().cloned()
    }

    /// With `least`, who goes back that many seconds is before all others.
    pub(super) fn check(
        &self,
        least: Option<f64>,
        candidates: &[Candidate],
        occasion: Occasion,
        now: Instant,
    ) -> Option<Change> {
        let mut contest = self.lock();
        let class = |i: usize| class(&candidates[i], least);
        let Some(best) = (0..candidates.len()).map(class).min() else {
            return contest.becomes(None, "gone");
        };
        let row = (0..candidates.len()).filter(|i| class(*i) == best);
        let row: Vec<usize> = row.collect();
        let current = contest.primary().map(|name| place_of(name, candidates));
        let change = match current {
            None => self.take_leader(&mut contest, row, candidates, "first"),
            Some(None) => self.take_leader(&mut contest, row, candidates, "gone"),
            Some(Some(i)) if class(i).0 != best.0 => {
                self.take_leader(&mut contest, row, candidates, "state")
            }
            Some(Some(i)) if class(i) != best => {
                self.take_leader(&mut contest, row, candidates, "history")
            }
            Some(Some(i)) => {
                let ahead = self.ahead_of(i, row, candidates);
                self.challenge(&mut contest, ahead, candidates, occasion, now)
            }
        };
        let all_seen = candidates.iter().all(|c| self.is_seen(c));
        contest.looked(occasion, all_seen, self.rule.hold);
        change
    }

    /// Whether one of those who are ahead takes the place of the first.
    fn challenge(
        &self,
        contest: &mut Contest,
        ahead: Option<(Vec<usize>, By)>,
        candidates: &[Candidate],
        occasion: Occasion,
        now: Instant,
    ) -> Option<Change> {
        let Some((mut row, by)) = ahead else {
            contest.holds();
            return None;
        };
        let name = |i: &usize| Arc::clone(&candidates[*i].name);
        let names: Vec<Arc<str>> = row.iter().map(name).collect();
        contest.count(&names, by, occasion, now);
        row.retain(|i| contest.has_won(&candidates[*i].name, self.rule.hold, now));
        if row.is_empty() {
            return None;
        }
        let reason = match by {
            By::Priority => "priority",
            By::Data | By::Detail => "data",
        };
        self.take_leader(contest, row, candidates, reason)
    }

    /// The best of the row is first from now on.
    fn take_leader(
        &self,
        contest: &mut Contest,
        mut row: Vec<usize>,
        candidates: &[Candidate],
        reason: &'static str,
    ) -> Option<Change> {
        keep_lowest_priority(&mut row, candidates);
        for amount in self.amounts() {
            amount::keep_most(&mut row, candidates, *amount, self.rule.hysteresis);
        }
        let leader = row.into_iter().min_by(|a, b| self.tie(*a, *b, candidates));
        contest.becomes(leader.map(|i| Arc::clone(&candidates[i].name)), reason)
    }

    /// Who of the row has clearly more than this one of it, in what is looked at first.
    fn ahead_of(
        &self,
        current: usize,
        mut row: Vec<usize>,
        candidates: &[Candidate],
    ) -> Option<(Vec<usize>, By)> {
        keep_lowest_priority(&mut row, candidates);
        if !row.contains(&current) {
            return Some((row, By::Priority));
        }
        for (step, amount) in self.amounts().iter().enumerate() {
            amount::keep_most(&mut row, candidates, *amount, self.rule.hysteresis);
            if !row.contains(&current) {
                let by = if step == 0 { By::Data } else { By::Detail };
                return Some((row, by));
            }
        }
        None
    }

    /// Whoever has more by however little comes first, but for the primary, which is before them if it is
    /// in as good a state as any.
    pub(super) fn lineup(
        &self,
        least: Option<f64>,
        mut row: Vec<usize>,
        candidates: &[Candidate],
    ) -> Lineup {
        let class = |i: usize| class(&candidates[i], least);
        row.sort_by(|a, b| {
            let (one, other) = (&candidates[*a], &candidates[*b]);
            (class(*a), one.priority)
                .cmp(&(class(*b), other.priority))
                .then_with(|| self.more_first(one, other))
                .then_with(|| self.tie(*a, *b, candidates))
        });
        let contest = self.lock();
        let primary = row.iter().position(|i| {
            contest.primary() == Some(&candidates[*i].name) && class(*i) == class(row[0])
        });
        drop(contest);
        if let Some(place) = primary {
            bring_forward(&mut row, place);
        }
        let like_first = |first: usize, other: usize| {
            let enough = least.is_some() && class(first) == (candidates[first].tier, false);
            class(first) == class(other)
                && candidates[first].priority == candidates[other].priority
                && (enough || self.are_near(&candidates[first], &candidates[other]))
        };
        Lineup::gathered(row, like_first, "most-data")
    }

    /// Whether neither has clearly more of what is looked at first. Details differ for minutes, and a
    /// caller should not change backends for that.
    fn are_near(&self, one: &Candidate, other: &Candidate) -> bool {
        let amount = self.first_amount();
        let (one, other) = (amount.of(one), amount.of(other));
        let noise = self.rule.hysteresis;
        !amount::is_more(one, other, noise) && !amount::is_more(other, one, noise)
    }

    pub(super) fn scores(&self, least: Option<f64>, candidates: &[Candidate]) -> Vec<Score> {
        let score = |candidate: &Candidate| {
            let words = self.amounts().iter().map(|amount| amount.say(candidate));
            Score {
                value: self.first_amount().of(candidate),
                words: words.collect::<Vec<String>>().join(", "),
                eligible: goes_back(candidate, least),
            }
        };
        candidates.iter().map(score).collect()
    }

    /// Whether it has shown what it has, or cannot.
    fn is_seen(&self, candidate: &Candidate) -> bool {
        match candidate.tier {
            Tier::Good | Tier::Poor | Tier::Apart => self.first_amount().of(candidate).is_some(),
            Tier::Raw => false,
            Tier::Out => true,
        }
    }

    fn amounts(&self) -> &'static [Amount] {
        amount::amounts(self.rule.metric)
    }

    fn first_amount(&self) -> Amount {
        // No metric has none.
        self.amounts().first().copied().unwrap_or(Amount::History)
    }

    fn more_first(&self, one: &Candidate, other: &Candidate) -> Ordering {
        // None of them is negative.
        let of = |amount: &Amount, candidate| amount.of(candidate).unwrap_or(-1.0);
        self.amounts()
            .iter()
            .map(|amount| of(amount, other).total_cmp(&of(amount, one)))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// Of equals: mpp takes the one that is written first.
    fn tie(&self, one: usize, other: usize, candidates: &[Candidate]) -> Ordering {
        match self.rule.metric {
            DataMetric::IngestedSamples => one.cmp(&other),
            _ => candidates[one].name.cmp(&candidates[other].name),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Contest> {
        self.contest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn class(candidate: &Candidate, least: Option<f64>) -> Class {
    (candidate.tier, !goes_back(candidate, least))
}

/// Whether it goes back as many seconds as are demanded.
pub(super) fn goes_back(candidate: &Candidate, least: Option<f64>) -> bool {
    let history = || Amount::History.of(candidate);
    least.is_none_or(|least| history().is_some_and(|history| history >= least))
}

fn place_of(name: &str, candidates: &[Candidate]) -> Option<usize> {
    candidates.iter().position(|c| &*c.name == name)
}

fn keep_lowest_priority(row: &mut Vec<usize>, candidates: &[Candidate]) {
    let lowest = row.iter().map(|i| candidates[*i].priority).min();
    row.retain(|i| Some(candidates[*i].priority) == lowest);
}

#[cfg(test)]
mod tests;
