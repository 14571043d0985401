//! Of two by chance the one with less to do (the power of two choices): where everybody took the one with
//! the least, all would run to it at once.
//!
//! What a backend has to do is what is under way there, times how long it takes, for its weight. Of one
//! that has not answered yet it is assumed that it is as quick as the quickest.

use std::sync::{Mutex, PoisonError};

use super::lineup::{Lineup, bring_forward, of_first_rank};
use super::{Candidate, Score};

/// One request in so many goes to the other of the two: how quick a backend is, one learns by asking it,
/// and one that was slow once would never be asked again.
const TRIAL: usize = 50;

#[derive(Debug)]
pub(super) struct LeastLoaded(Mutex<fastrand::Rng>);

impl LeastLoaded {
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self(Mutex::new(rng))
    }

    pub(super) fn lineup(&self, mut row: Vec<usize>, candidates: &[Candidate]) -> Lineup {
        let loads = loads(candidates);
        row.sort_by(|a, b| {
            let rank = |i: &usize| candidates[*i].rank();
            let by_load = loads[*a].total_cmp(&loads[*b]);
            rank(a).cmp(&rank(b)).then(by_load).then(a.cmp(b))
        });
        let group = of_first_rank(&row, candidates);
        if group > 1 {
            let place = self.choose(&row[..group], &loads);
            bring_forward(&mut row, place);
        }
        Lineup::by_rank(row, candidates, "least-loaded")
    }

    /// One of at least two that stand in the order of their load.
    fn choose(&self, row: &[usize], loads: &[f64]) -> usize {
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = rng.usize(..row.len());
        let other = (one + rng.usize(1..row.len())) % row.len();
        let trial = rng.usize(..TRIAL) == 0;
        drop(rng);
        // Of two that are alike chance has already chosen.
        match loads[row[one]].total_cmp(&loads[row[other]]) {
            std::cmp::Ordering::Equal => one,
            _ if trial => one.max(other),
            _ => one.min(other),
        }
    }
}

/// Seconds of work, of each.
fn loads(candidates: &[Candidate]) -> Vec<f64> {
    let seconds = |c: &Candidate| c.latency.map(|latency| latency.as_secs_f64());
    let quickest = candidates.iter().filter_map(seconds).min_by(f64::total_cmp);
    let quickest = quickest.unwrap_or(1.0);
    let load = |candidate: &Candidate| {
        // Far below what a float holds exactly: requests to one backend are bounded.
        let under_way = candidate.under_way.saturating_add(1) as f64;
        under_way * seconds(candidate).unwrap_or(quickest) / f64::from(candidate.weight.max(1))
    };
    candidates.iter().map(load).collect()
}

pub(super) fn scores(candidates: &[Candidate]) -> Vec<Score> {
    let score = |(candidate, load): (&Candidate, f64)| {
        let latency = match candidate.latency {
            Some(latency) => format!("{:.1} ms until it answers", latency.as_secs_f64() * 1e3),
            None => "no answer yet".to_owned(),
        };
        Score {
            value: Some(load),
            words: format!(
                "{} under way, {latency}, weight {}",
                candidate.under_way, candidate.weight
            ),
            eligible: true,
        }
    };
    candidates
        .iter()
        .zip(loads(candidates))
        .map(score)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::super::Chooser;
    use super::super::lab::candidates;
    use super::*;
    use crate::config::query::Strategy;

    fn shares(pool: &[Candidate]) -> Vec<usize> {
        let chooser = Chooser::seeded(&Strategy::LeastLoaded, 7);
        let mut counts = vec![0; pool.len()];
        for _ in 0..1000 {
            counts[chooser.order_for(None, pool, Instant::now()).indices[0]] += 1;
        }
        counts
    }

    /// Case 13.
    #[test]
    fn a_slow_one_is_avoided_and_yet_not_forgotten() {
        let mut pool = candidates(["slow", "quick"]);
        pool[0].latency = Some(Duration::from_secs(3));
        pool[1].latency = Some(Duration::from_millis(10));
        let slow = shares(&pool)[0];
        assert!((5..50).contains(&slow), "{slow} of 1000");
        // Until the quick one has more than enough to do.
        pool[1].under_way = 400;
        assert!(shares(&pool)[0] > 900);
    }

    /// Case 13.
    #[test]
    fn of_three_the_slowest_is_never_chosen_over_another() {
        let mut pool = candidates(["slow", "b", "c"]);
        pool[0].latency = Some(Duration::from_secs(3));
        pool[1].latency = Some(Duration::from_millis(10));
        let shares = shares(&pool);
        assert!(shares[0] < 50, "{shares:?}");
        assert!(shares[1] > 300 && shares[2] > 300, "{shares:?}");
    }

    #[test]
    fn what_is_alike_shares_alike_and_what_is_heavier_has_more() {
        let mut pool = candidates(["a", "b", "c", "d"]);
        assert!(shares(&pool).iter().all(|count| (180..320).contains(count)));
        pool[3].weight = 4;
        let shares = shares(&pool);
        assert!(shares[3] > shares[0] + shares[1], "{shares:?}");
    }

    #[test]
    fn the_rest_is_by_load() {
        let mut pool = candidates(["a", "b", "c"]);
        for (candidate, under_way) in pool.iter_mut().zip([5, 1, 3]) {
            candidate.under_way = under_way;
        }
        let chooser = Chooser::seeded(&Strategy::LeastLoaded, 7);
        for _ in 0..100 {
            let names = chooser.names(None, &pool, Instant::now());
            let mut rest: Vec<&str> = ["b", "c", "a"].into();
            rest.retain(|name| *name != names[0]);
            assert_eq!(names[1..], rest);
        }
    }

    #[test]
    fn it_says_what_it_compares() {
        let mut pool = candidates(["a"]);
        pool[0].latency = Some(Duration::from_millis(20));
        pool[0].under_way = 2;
        let score = &scores(&pool)[0];
        assert_eq!(
            score.words,
            "2 under way, 20.0 ms until it answers, weight 1"
        );
        assert!((score.value.unwrap() - 0.06).abs() < 1e-9);
    }
}
