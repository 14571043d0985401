//! One after the other, by weight, as evenly as nginx does it: with weights 5, 1 and 1 it is
//! a a b a c a a, never five times the same and then the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Candidate;
use super::lineup::{Lineup, of_first_rank};

/// How far each has come. In one round each gains its weight, and who is next loses what all gained.
#[derive(Debug, Default)]
pub(super) struct RoundRobin(Mutex<HashMap<Arc<str>, i64>>);

impl RoundRobin {
    /// As far as they have come.
    pub(super) fn copy(&self) -> Self {
        let come = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Self(Mutex::new(come.clone()))
    }

    pub(super) fn lineup(&self, mut row: Vec<usize>, candidates: &[Candidate]) -> Lineup {
        row.sort_by_key(|i| (candidates[*i].rank(), *i));
        let round = of_first_rank(&row, candidates);
        self.turn(&mut row[..round], candidates);
        Lineup::by_rank(row, candidates, "round-robin")
    }

    /// Takes a turn of those in the row, and leaves them in the order of the next turns.
    fn turn(&self, row: &mut [usize], candidates: &[Candidate]) {
        let mut come = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gained = 0;
        let mut places = vec![0; candidates.len()];
        for i in &*row {
            let candidate = &candidates[*i];
            let weight = i64::from(candidate.weight.max(1));
            gained += weight;
            let entry = come.entry(Arc::clone(&candidate.name)).or_default();
            *entry += weight;
            places[*i] = *entry;
        }
        // Who is not among them starts anew when it comes back.
        if come.len() > row.len() {
            let is_here = |name: &Arc<str>| row.iter().any(|i| candidates[*i].name == *name);
            come.retain(|name, _| is_here(name));
        }
        row.sort_by_key(|i| (std::cmp::Reverse(places[*i]), *i));
        if let Some(entry) = row
            .first()
            .and_then(|first| come.get_mut(&candidates[*first].name))
        {
            *entry -= gained;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::lab::candidates;
    use super::super::{Chooser, Tier};
    use crate::config::query::Strategy;

    #[test]
    fn turns_are_as_even_as_their_weights_allow() {
        let mut pool = candidates(["a", "b", "c"]);
        pool[0].weight = 5;
        let chooser = Chooser::new(&Strategy::RoundRobin);
        let now = Instant::now();
        let turns: String = (0..14).map(|_| chooser.first(&pool, now)).collect();
        assert_eq!(turns, "aabacaaaabacaa");
    }

    #[test]
    fn who_comes_and_goes_gets_its_turns_and_no_more() {
        let mut pool = candidates(["a", "b", "c"]);
        let chooser = Chooser::new(&Strategy::RoundRobin);
        let now = Instant::now();
        assert_eq!(chooser.names(None, &pool, now), ["a", "b", "c"]);
        assert_eq!(chooser.names(None, &pool, now)[0], "b");
        pool[2].tier = Tier::Out;
        let turns: String = (0..40).map(|_| chooser.first(&pool, now)).collect();
        assert_eq!(turns.matches('a').count(), 20, "{turns}");
        pool[2].tier = Tier::Good;
        let turns: String = (0..30).map(|_| chooser.first(&pool, now)).collect();
        for name in ["a", "b", "c"] {
            assert_eq!(turns.matches(name).count(), 10, "{turns}");
            assert!(!turns.contains(&name.repeat(3)), "{turns}");
        }
    }
}
