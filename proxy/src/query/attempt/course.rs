//! The course of one request among its backends: whether another may be asked.

use crate::query::asked::Class;

/// What a failed try means for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next backend is asked.
    Again,
    /// This was the last try.
    Over,
    /// Another try would be possible, but too many requests are sent twice already.
    Denied,
}

/// How a try was lost, as far as that decides what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Another backend may do better.
    Failed,
    /// One other backend may do better.
    FailedOnce,
    /// It was not begun there, so that it is not sent twice if another is asked.
    Unbegun,
}

/// How far a request has come. What may not be repeated is sent once, whatever becomes of it.
#[derive(Debug)]
pub(super) struct Course {
    repeatable: bool,
    most: usize,
    tried: usize,
    /// One retry was for an error that allows one.
    once: bool,
}

impl Course {
    /// Of a request that was just read; `most` tries, the first included.
    pub(super) fn new(class: &Class, most: usize) -> Self {
        Self {
            repeatable: class.retry,
            most: most.max(1),
            tried: 0,
            once: false,
        }
    }

    /// It is sent.
    pub(super) fn sent(&mut self) {
        self.tried += 1;
    }

    /// How often it was sent.
    pub(super) fn tried(&self) -> usize {
        self.tried
    }

    /// Whether it may be sent once more, all else being well.
    pub(super) fn may_repeat(&self) -> bool {
        self.repeatable && self.tried < self.most
    }

    /// What follows when a try was lost, `others` are left and there is time. A retry has to be
    /// `afforded`, unless nothing was begun.
    pub(super) fn lost(
        &mut self,
        loss: Loss,
        others: bool,
        afforded: impl FnOnce() -> bool,
    ) -> Next {
        match loss {
            Loss::FailedOnce if self.once => return Next::Over,
            _ if !others || !self.may_repeat() => return Next::Over,
            Loss::Unbegun => return Next::Again,
            Loss::FailedOnce => self.once = true,
            Loss::Failed => {}
        }
        match afforded() {
            true => Next::Again,
            false => Next::Denied,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::budget::Budget;
    use super::*;
    use crate::query::asked::Kind;

    fn class(retry: bool) -> Class {
        Class {
            kind: Kind::Read,
            retry,
            hedge: retry,
            hold: retry,
            deadline: true,
        }
    }

    fn plenty() -> Budget {
        Budget::new(0.2, 1000.0, 1000.0)
    }

    /// Whoever asks for what one backend does not have takes nobody's retries.
    #[test]
    fn what_was_not_begun_costs_nothing() {
        let budget = Budget::new(0.2, 1.0, 1.0);
        for _ in 0..10 {
            let mut course = Course::new(&class(true), 2);
            course.sent();
            assert_eq!(
                course.lost(Loss::Unbegun, true, || budget.spend()),
                Next::Again
            );
            course.sent();
            assert_eq!(
                course.lost(Loss::Unbegun, true, || budget.spend()),
                Next::Over
            );
        }
        let mut course = Course::new(&class(true), 2);
        course.sent();
        assert_eq!(
            course.lost(Loss::Failed, true, || budget.spend()),
            Next::Again
        );
        let mut course = Course::new(&class(true), 2);
        course.sent();
        assert_eq!(
            course.lost(Loss::Failed, true, || budget.spend()),
            Next::Denied
        );
        let mut course = Course::new(&class(false), 2);
        course.sent();
        assert_eq!(
            course.lost(Loss::Unbegun, true, || budget.spend()),
            Next::Over
        );
    }

    #[test]
    fn another_is_asked_as_long_as_tries_and_backends_last() {
        let mut course = Course::new(&class(true), 3);
        for _ in 0..2 {
            course.sent();
            assert_eq!(
                course.lost(Loss::Failed, true, || plenty().spend()),
                Next::Again
            );
        }
        course.sent();
        assert_eq!(
            course.lost(Loss::Failed, true, || plenty().spend()),
            Next::Over
        );
        let mut course = Course::new(&class(true), 3);
        course.sent();
        assert_eq!(
            course.lost(Loss::Failed, false, || plenty().spend()),
            Next::Over
        );
    }

    /// An internal error may be the query's own doing.
    #[test]
    fn one_retry_for_an_internal_error() {
        let mut course = Course::new(&class(true), 9);
        course.sent();
        assert_eq!(
            course.lost(Loss::FailedOnce, true, || plenty().spend()),
            Next::Again
        );
        course.sent();
        assert_eq!(
            course.lost(Loss::Failed, true, || plenty().spend()),
            Next::Again
        );
        course.sent();
        assert_eq!(
            course.lost(Loss::FailedOnce, true, || plenty().spend()),
            Next::Over
        );
    }

    #[test]
    fn a_retry_that_nobody_could_answer_costs_nothing() {
        let budget = Budget::new(0.0, 1.0, 1.0);
        let mut course = Course::new(&class(true), 3);
        course.sent();
        assert_eq!(
            course.lost(Loss::Failed, false, || budget.spend()),
            Next::Over
        );
        assert_eq!(
            course.lost(Loss::Failed, true, || budget.spend()),
            Next::Again
        );
        course.sent();
        assert_eq!(
            course.lost(Loss::Failed, true, || budget.spend()),
            Next::Denied
        );
    }

    proptest! {
        /// Case 26, the rule alone.
        #[test]
        fn what_may_not_be_repeated_is_sent_once(
            retry: bool,
            most in 0usize..6,
            losses in proptest::collection::vec(
                proptest::sample::select(&[Loss::Failed, Loss::FailedOnce][..]),
                0..20,
            ),
        ) {
            let mut course = Course::new(&class(retry), most);
            let budget = plenty();
            for loss in losses {
                course.sent();
                if course.lost(loss, true, || budget.spend()) != Next::Again {
                    break;
                }
            }
            let at_most = if retry { most.max(1) } else { 1 };
            prop_assert!(course.tried() <= at_most);
        }
    }
}
