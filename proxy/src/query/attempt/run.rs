//! A request on its way: one backend after the other, until one has answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::Either;
use http::Response;
use tokio::time::Instant;

use super::budget::{Budget, Loan};
use super::counted::{Counts, Visit};
use super::course::{Course, Next};
use super::hedge::{self, Hedging, Race, Trying};
use super::once::{Inquiry, Lost, Outcome};
use super::order::Order;
use super::stream::QueryBody;
use super::words::one_line;
use crate::config::query::BACKEND_REQUESTS;
use crate::query::backend::Backend;
use crate::query::refusal::Refusal;

/// An answer of a backend.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) response: Response<QueryBody>,
    pub(crate) by: Arc<Backend>,
    /// How many backends were asked.
    pub(crate) attempts: usize,
    /// `first`, `retry` or `hedge`.
    pub(crate) reason: &'static str,
}

/// No backend has an answer.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    /// How many backends were asked.
    pub(crate) attempts: usize,
    /// The last of them.
    pub(crate) last: Option<Arc<str>>,
}

/// A request on its way. Dropping it cancels what is under way.
pub(super) struct Run<'a> {
    pub(super) inquiry: &'a Inquiry<'a>,
    pub(super) order: Order<'a>,
    pub(super) course: Course,
    pub(super) retries: &'a Budget,
    /// What the retry that is under way costs, unless it is answered.
    pub(super) loan: Option<Loan<'a>>,
    /// Nothing, where nobody else is asked early.
    pub(super) hedging: Option<&'a Hedging>,
    pub(super) counts: &'a Counts,
    /// How long it may take in all, for people.
    pub(super) granted: Duration,
    /// Who failed, and why: the word in metrics and those for people.
    pub(super) failed: Vec<(Arc<str>, &'static str, String)>,
    /// Who was asked last.
    pub(super) last: Option<Arc<str>>,
    /// How whoever is asked now came to it.
    pub(super) reason: &'static str,
}

impl<'a> Run<'a> {
    pub(super) async fn until_answered(mut self) -> Result<Answered, Refused> {
        let Some(first) = self.next().await else {
            let refusal = self.nobody();
            return Err(self.refused(refusal));
        };
        let mut outcome = self.first(first).await;
        loop {
            let mut lost = match outcome {
                Outcome::Answer(response, by) => {
                    self.owes_nothing();
                    return Ok(self.answered(response, by));
                }
                Outcome::Lost(lost) => lost,
            };
            self.note(&mut lost);
            let Some(next) = self.after(&mut lost).await else {
                return self.over(lost);
            };
            self.reason = "retry";
            outcome = self.trying(next, &AtomicBool::new(false)).await;
        }
    }

    /// Asks the first backend, and another one beside it if it takes its time.
    async fn first(&mut self, visit: Visit) -> Outcome {
        let (begun, started) = (AtomicBool::new(false), Instant::now());
        let first = self.trying(visit, &begun);
        let Some(hedging) = self.hedging else {
            return first.await;
        };
        let patience = hedging.patience(self.inquiry.latencies);
        let first = match hedge::wait(first, &begun, patience).await {
            Either::Left(outcome) => return outcome,
            Either::Right(first) => first,
        };
        let possible = self.course.may_repeat() && !self.order.is_over();
        if !possible || !hedging.budget().spend() {
            return first.await;
        }
        let Some(second) = self.order.next() else {
            return first.await;
        };
        let unheard = AtomicBool::new(false);
        let second = self.trying(second, &unheard);
        match hedge::race(first, second, self.counts).await {
            Race::Won { outcome, by_second } => {
                if by_second {
                    self.reason = "hedge";
                }
                // It would have taken longer than this; without it slow answers would be unheard of.
                if by_second && !begun.load(Ordering::Relaxed) {
                    self.inquiry.latencies.add(started.elapsed());
                }
                outcome
            }
            Race::Lost(mut one, other) => {
                self.note(&mut one);
                Outcome::Lost(other)
            }
        }
    }

    /// Sends it there; waiting for what comes of it is up to whoever gets this.
    fn trying<'b>(&mut self, visit: Visit, begun: &'b AtomicBool) -> Trying<'b>
    where
        'a: 'b,
    {
        self.course.sent();
        self.last = Some(Arc::clone(&visit.backend.name));
        let replaceable = self.course.may_repeat() && !self.order.is_over();
        Box::pin(self.inquiry.ask(visit, replaceable, begun))
    }

    fn note(&mut self, lost: &mut Lost) {
        let words = std::mem::take(&mut lost.words);
        tracing::debug!(backend = %lost.by.name, reason = lost.reason, "no answer: {words}");
        if lost.link {
            self.order.away.add(Arc::clone(&lost.by));
        }
        self.failed
            .push((Arc::clone(&lost.by.name), lost.reason, words));
    }

    /// Who is asked after one has failed, if anybody may be.
    async fn after(&mut self, lost: &mut Lost) -> Option<Visit> {
        if Instant::now() >= self.inquiry.until {
            return None;
        }
        let others = !self.order.is_over() || self.order.away.may_return();
        let afforded = || {
            // The last one is paid for before the next is lent anything.
            self.loan = None;
            self.loan = self.retries.lend();
            self.loan.is_some()
        };
        match self.course.lost(lost.loss, others, afforded) {
            Next::Over => return None,
            Next::Denied => {
                let denied = &self.counts.metrics.retries_denied;
                denied.with_label_values(&[&*self.counts.pool]).inc();
                return None;
            }
            Next::Again => {}
        }
        let Some(next) = self.next().await else {
            // Nobody was asked, after all.
            self.owes_nothing();
            return None;
        };
        // Its connection is free before the next is taken.
        lost.answer = None;
        self.counts.retried(&lost.by.name, lost.reason);
        Some(next)
    }

    fn owes_nothing(&mut self) {
        if let Some(loan) = self.loan.take() {
            loan.answered();
        }
    }

    /// The next to be asked; when nobody is left who can be, the first of those whose tunnel is away that is
    /// back.
    async fn next(&mut self) -> Option<Visit> {
        if let Some(visit) = self.order.next() {
            return Some(visit);
        }
        let (until, waiting) = (self.inquiry.until, &self.counts.metrics.waiting);
        let back = self.order.away.returned(until, waiting).await?;
        self.order.again(back);
        self.order.next()
    }

    fn answered(self, response: Response<QueryBody>, by: Arc<Backend>) -> Answered {
        Answered {
            response,
            by,
            attempts: self.course.tried(),
            reason: self.reason,
        }
    }

    /// Nobody else may be asked: what the last one said, whatever it is, or why nobody said anything.
    fn over(self, lost: Lost) -> Result<Answered, Refused> {
        if let Some(response) = lost.answer {
            return Ok(self.answered(response, lost.by));
        }
        let all_busy = self.failed.iter().all(|(_, reason, _)| *reason == "busy");
        let refusal = if Instant::now() >= self.inquiry.until {
            Refusal::Deadline(self.granted)
        } else if all_busy {
            // Of those who were asked only a client says so.
            Refusal::Busy {
                limit: "scrapes_per_client",
                words: self.words(),
            }
        } else {
            Refusal::Failed(self.words())
        };
        Err(self.refused(refusal))
    }

    fn words(&self) -> String {
        let failed = self.failed.iter();
        let failed = failed.map(|(name, _, words)| (name.to_string(), words.clone()));
        let busy = self.order.busy().iter();
        let busy = busy.map(|backend| (backend.name.to_string(), "busy".to_owned()));
        let asked = |backend: &&Arc<Backend>| {
            let mut failed = self.failed.iter();
            failed.any(|(name, ..)| *name == backend.name)
        };
        let away = self.order.away.backends().iter();
        let away = away.filter(|backend| !asked(backend)).map(|backend| {
            // It may be back by now, too late.
            let why = backend.unlinked();
            let why = why.unwrap_or_else(|| "its tunnel was away".to_owned());
            (backend.name.to_string(), why)
        });
        one_line(&failed.chain(busy).chain(away).collect::<Vec<_>>())
    }

    /// There was nobody to ask.
    fn nobody(&self) -> Refusal {
        let pool = &self.counts.pool;
        let is_away = !self.order.away.backends().is_empty();
        match self.order.busy() {
            [] if is_away && Instant::now() >= self.inquiry.until => {
                Refusal::Deadline(self.granted)
            }
            [] if is_away => Refusal::Failed(self.words()),
            [] => Refusal::Nobody(pool.to_string()),
            _ => Refusal::Busy {
                limit: BACKEND_REQUESTS,
                words: format!(
                    "every backend of pool {pool} has {} requests under way (the pool's \
                     {BACKEND_REQUESTS})",
                    self.order.most()
                ),
            },
        }
    }

    fn refused(self, refusal: Refusal) -> Refused {
        Refused {
            refusal,
            attempts: self.course.tried(),
            last: self.last,
        }
    }
}
