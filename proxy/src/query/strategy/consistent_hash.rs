//! The same for the same key, by rendezvous hashing: each backend is at some distance from each key, and
//! the nearest is the first. One that goes takes only its own keys along, and one that comes takes its
//! share of everybody's. Nothing is remembered, so several proxies agree, and so does one after a restart.

use ring::digest::{Context, SHA256};

use super::Candidate;
use super::lineup::Lineup;
use super::random::{Random, race};

#[derive(Debug)]
pub(super) struct ConsistentHash {
    /// For callers who have no key.
    random: Random,
}

impl ConsistentHash {
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self {
            random: Random::new(rng),
        }
    }

    pub(super) fn lineup(
        &self,
        mut row: Vec<usize>,
        candidates: &[Candidate],
        key: Option<&[u8]>,
    ) -> Lineup {
        let Some(key) = key else {
            let mut lineup = self.random.lineup(row, candidates);
            lineup.reason = "no-key";
            return lineup;
        };
        let mut distances = vec![0.0; candidates.len()];
        for i in &row {
            distances[*i] = distance(key, &candidates[*i]);
        }
        row.sort_by(|a, b| {
            let rank = |i: &usize| candidates[*i].rank();
            let nearest = distances[*a].total_cmp(&distances[*b]);
            rank(a).cmp(&rank(b)).then(nearest).then(a.cmp(b))
        });
        Lineup::by_rank(row, candidates, "consistent-hash")
    }
}

/// How far a key is from a backend, by the backend's name and weight alone. The nearest one wins, each as
/// often as its weight says.
pub(crate) fn distance(key: &[u8], candidate: &Candidate) -> f64 {
    let mut hash = Context::new(&SHA256);
    hash.update(&(candidate.name.len() as u64).to_be_bytes());
    hash.update(candidate.name.as_bytes());
    hash.update(key);
    let digest = hash.finish();
    let first = digest.as_ref().iter().take(8);
    let number = first.fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    // As many bits as a float between 0 and 1 has.
    let chance = (number >> 11) as f64 / (1_u64 << 53) as f64;
    race(chance, candidate.weight)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::lab::{candidate, candidates};
    use super::super::{Chooser, Tier};
    use super::*;
    use crate::config::query::Strategy;

    fn nearest(pool: &[Candidate]) -> Vec<String> {
        let chooser = Chooser::new(&Strategy::ConsistentHash);
        let first = |key: u32| {
            let key = key.to_be_bytes();
            chooser
                .names(Some(&key), pool, Instant::now())
                .swap_remove(0)
        };
        (0..10_000).map(first).collect()
    }

    fn count(before: &[String], after: &[String], moved: impl Fn(&str, &str) -> bool) -> usize {
        let pairs = before.iter().zip(after);
        pairs.filter(|(b, a)| moved(b, a)).count()
    }

    /// Case 38.
    #[test]
    fn a_fourth_takes_a_quarter_of_the_keys_and_no_other_key_moves() {
        let mut pool = candidates(["a", "b", "c"]);
        let before = nearest(&pool);
        for name in ["a", "b", "c"] {
            let share = before.iter().filter(|first| *first == name).count();
            assert!((3133..3533).contains(&share), "{name} has {share}");
        }
        pool.insert(0, candidate("d"));
        let after = nearest(&pool);
        let moved = count(&before, &after, |b, a| b != a);
        assert!((2300..2700).contains(&moved), "{moved} of 10000");
        assert_eq!(count(&before, &after, |b, a| b != a && a != "d"), 0);
    }

    /// Case 36.
    #[test]
    fn one_that_dies_takes_only_its_own_keys_along_and_gets_them_back() {
        let mut pool = candidates(["a", "b", "c"]);
        let before = nearest(&pool);
        pool[1].tier = Tier::Out;
        let after = nearest(&pool);
        assert_eq!(count(&before, &after, |b, a| b != "b" && b != a), 0);
        let to = |name: &str| count(&before, &after, |b, a| b == "b" && a == name);
        assert!(to("a") > 1400 && to("c") > 1400);
        assert_eq!(to("b"), 0);
        pool[1].tier = Tier::Good;
        assert_eq!(nearest(&pool), before);
    }

    #[test]
    fn weights_are_shares() {
        let mut pool = candidates(["a", "b"]);
        pool[1].weight = 3;
        let b = nearest(&pool).iter().filter(|first| *first == "b").count();
        assert!((7300..7700).contains(&b), "{b} of 10000");
    }

    #[test]
    fn without_a_key_it_is_by_chance_and_says_so() {
        let pool = candidates(["a", "b"]);
        let chooser = Chooser::seeded(&Strategy::ConsistentHash, 3);
        let orders = (0..200).map(|_| chooser.order_for(None, &pool, Instant::now()));
        let mut firsts = [0; 2];
        for order in orders {
            assert_eq!(order.reason, "no-key");
            firsts[order.indices[0]] += 1;
        }
        assert!(firsts.iter().all(|count| *count > 60), "{firsts:?}");
    }

    /// Another release, or another proxy beside this one, must not move anybody.
    #[test]
    fn where_a_key_belongs_is_for_ever() {
        let pool = candidates(["a", "b", "c"]);
        let firsts: String = nearest(&pool)[..16].concat();
        assert_eq!(firsts, "abbaacaacccabcab");
    }
}
