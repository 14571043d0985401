//! What extra requests may cost: so many per request in the long run, and a few at once.

use std::sync::{Mutex, PoisonError};

/// A bucket of tokens: a request puts a part of one in, an extra request takes a whole one out. When
/// everything fails, the backends are asked little more than they would be without us.
#[derive(Debug)]
pub(super) struct Budget {
    tokens: Mutex<f64>,
    per_request: f64,
    most: f64,
}

impl Budget {
    /// Begins with `start` tokens and never holds more than `most`.
    pub(super) fn new(per_request: f64, start: f64, most: f64) -> Self {
        Self {
            tokens: Mutex::new(start),
            per_request,
            most,
        }
    }

    /// A request has come.
    pub(super) fn earn(&self) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        *tokens = (*tokens + self.per_request).min(self.most);
    }

    /// Whether there is enough for an extra one, which is paid for then.
    pub(super) fn spend(&self) -> bool {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = *tokens >= 1.0;
        if enough {
            *tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Case 31, the sum alone.
    #[test]
    fn in_the_long_run_a_fifth_more_is_sent() {
        let budget = Budget::new(0.2, 10.0, 100.0);
        let mut sent = 0;
        for _ in 0..10_000 {
            budget.earn();
            sent += 1;
            // Everybody tries twice more.
            sent += usize::from(budget.spend()) + usize::from(budget.spend());
        }
        assert!((12_009..=12_010).contains(&sent), "{sent}");
    }

    #[test]
    fn after_a_quiet_time_it_holds_what_it_may_and_no_more() {
        let budget = Budget::new(0.2, 10.0, 100.0);
        for _ in 0..10_000 {
            budget.earn();
        }
        let spent = (0..1000).filter(|_| budget.spend()).count();
        assert_eq!(spent, 100);
    }

    proptest! {
        #[test]
        fn it_is_never_overdrawn(
            per_request in 0.0..1.0f64,
            steps in proptest::collection::vec(any::<bool>(), 0..400),
        ) {
            let budget = Budget::new(per_request, 3.0, 20.0);
            let (mut earned, mut spent) = (0.0, 0.0);
            for earns in steps {
                if earns {
                    budget.earn();
                    earned += per_request;
                } else if budget.spend() {
                    spent += 1.0;
                }
                prop_assert!(spent <= 3.0 + earned + 1e-6);
            }
        }
    }
}
