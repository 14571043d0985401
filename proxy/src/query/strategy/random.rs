//! By chance, by weight, and in the same way whoever comes after.

use std::sync::{Mutex, PoisonError};

use super::Candidate;
use super::lineup::Lineup;

#[derive(Debug)]
pub(super) struct Random(Mutex<fastrand::Rng>);

impl Random {
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self(Mutex::new(rng))
    }

    pub(super) fn lineup(&self, mut row: Vec<usize>, candidates: &[Candidate]) -> Lineup {
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut drawn = vec![0.0; candidates.len()];
        for i in &row {
            drawn[*i] = race(rng.f64(), candidates[*i].weight);
        }
        drop(rng);
        row.sort_by(|a, b| {
            let rank = |i: &usize| candidates[*i].rank();
            let drawn = |i: &usize| drawn[*i];
            rank(a).cmp(&rank(b)).then(drawn(a).total_cmp(&drawn(b)))
        });
        Lineup::by_rank(row, candidates, "random")
    }
}

/// Makes of a number by chance, from 0 to less than 1, the time a racer takes that is so many times as fast
/// as another: the first one home is each of them as often as its weight says, and so is the second of
/// those that are left.
pub(super) fn race(chance: f64, weight: u32) -> f64 {
    -(1.0 - chance).ln() / f64::from(weight.max(1))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::Chooser;
    use super::super::lab::candidates;
    use crate::config::query::Strategy;

    /// Case 11.
    #[test]
    fn each_comes_first_and_second_as_often_as_its_weight_says() {
        let mut pool = candidates(["a", "b", "c", "d"]);
        for (candidate, weight) in pool.iter_mut().zip([1, 2, 3, 4]) {
            candidate.weight = weight;
        }
        let chooser = Chooser::seeded(&Strategy::Random, 42);
        let now = Instant::now();
        let (mut first, mut second) = ([0_f64; 4], [0_f64; 4]);
        for _ in 0..10_000 {
            let order = chooser.order_for(None, &pool, now);
            first[order.indices[0]] += 1.0;
            if order.indices[0] == 3 {
                second[order.indices[1]] += 1.0;
            }
        }
        // 99.9 % of all fair ones are below: 16.27 with three degrees of freedom, 13.82 with two.
        assert!(
            chi_square(&first, &[0.1, 0.2, 0.3, 0.4]) < 16.27,
            "{first:?}"
        );
        let shares = [1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0];
        assert!(chi_square(&second[..3], &shares) < 13.82, "{second:?}");
    }

    /// Case 11: the test above would notice.
    #[test]
    fn chi_square_tells_the_fair_from_the_unfair() {
        assert!(chi_square(&[2500.0; 4], &[0.25; 4]) < 0.001);
        assert!(chi_square(&[2600.0, 2400.0, 2600.0, 2400.0], &[0.25; 4]) > 15.0);
    }

    fn chi_square(seen: &[f64], shares: &[f64]) -> f64 {
        let all: f64 = seen.iter().sum();
        let one = |(seen, share): (&f64, &f64)| (seen - share * all).powi(2) / (share * all);
        seen.iter().zip(shares).map(one).sum()
    }

    #[test]
    fn priority_goes_before_chance() {
        let mut pool = candidates(["a", "b", "c"]);
        pool[0].priority = 1;
        let chooser = Chooser::seeded(&Strategy::Random, 1);
        for _ in 0..100 {
            let order = chooser.order_for(None, &pool, Instant::now());
            assert_eq!((order.indices[2], order.equals), (0, 2));
        }
    }
}
