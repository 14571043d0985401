//! What extra requests may cost: so many per request in the long run, and a few at once.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A bucket of tokens: a request puts a part of one in, an extra request takes a whole one out. When
/// everything fails, the backends are asked little more than they would be without us.
///
/// A retry is lent its token, and whoever is answered gives it back: one backend that dies under a
/// hundred requests costs nothing as long as another one answers them. It is failure that is bounded, as
/// by gRPC's retry throttling (gRFC A6).
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
        let mut tokens = self.tokens();
        *tokens = (*tokens + self.per_request).min(self.most);
    }

    /// Whether there is enough for an extra one, which is paid for then.
    pub(super) fn spend(&self) -> bool {
        let mut tokens = self.tokens();
        let enough = *tokens >= 1.0;
        if enough {
            *tokens -= 1.0;
        }
        enough
    }

    /// Whether there is enough for an extra one, which is paid for unless it is answered. Those that are
    /// under way together may come to more than there is: what is owed is earned before the next.
    pub(super) fn lend(&self) -> Option<Loan<'_>> {
        let enough = *self.tokens() >= 1.0;
        // Not made where there is not: it would be paid for as it is dropped.
        enough.then(|| Loan(Some(self)))
    }

    fn tokens(&self) -> MutexGuard<'_, f64> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An extra request under way. Dropped, it has failed, or nobody waits for it any more: it is paid for.
#[derive(Debug)]
pub(super) struct Loan<'a>(Option<&'a Budget>);

impl Loan<'_> {
    /// It was answered, and costs nothing.
    pub(super) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(budget) = self.0 {
            *budget.tokens() -= 1.0;
        }
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

    /// A backend dies under a hundred requests: all of them are somebody else's now.
    #[test]
    fn who_is_answered_pays_nothing_however_many_they_are() {
        let budget = Budget::new(0.2, 1.0, 100.0);
        for _ in 0..3 {
            let lent: Vec<_> = (0..100).map(|_| budget.lend().unwrap()).collect();
            lent.into_iter().for_each(Loan::answered);
        }
        drop(budget.lend().unwrap());
        assert!(budget.lend().is_none());
    }

    #[test]
    fn what_failed_at_once_is_owed_and_earned_before_the_next() {
        let budget = Budget::new(0.5, 1.0, 100.0);
        let lent: Vec<_> = (0..10).map(|_| budget.lend().unwrap()).collect();
        drop(lent);
        for _ in 0..19 {
            budget.earn();
            assert!(budget.lend().is_none());
        }
        budget.earn();
        assert!(budget.lend().is_some());
    }

    proptest! {
        /// However many are under way at once.
        #[test]
        fn what_fails_is_no_more_than_the_share_and_those_under_way(
            per_request in 0.0..1.0f64,
            steps in proptest::collection::vec((0u8..4, any::<bool>()), 0..400),
        ) {
            let budget = Budget::new(per_request, 3.0, 20.0);
            let (mut earned, mut failed) = (0.0, 0.0);
            let mut lent = Vec::new();
            let mut most = 0;
            for (step, answered) in steps {
                match step {
                    0 | 1 => lent.extend(budget.lend()),
                    2 => {
                        budget.earn();
                        earned += per_request;
                    }
                    _ => if let Some(loan) = lent.pop() {
                        match answered {
                            true => loan.answered(),
                            false => {
                                drop(loan);
                                failed += 1.0;
                            }
                        }
                    },
                }
                most = most.max(lent.len());
                prop_assert!(failed <= 3.0 + earned + most as f64 + 1e-6);
            }
        }

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
