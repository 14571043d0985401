//! Asking a second backend before the first has answered: slow answers become rare for a few requests
//! more. Only for what is cheap and may be sent to two; off unless it is configured.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::time::{Instant, sleep};

use super::budget::Budget;
use super::counted::Counts;
use super::latency::Latencies;
use super::once::Outcome;
use crate::config::query::Hedge;

/// Hedges at once after a quiet time.
const START: f64 = 1.0;
const MOST: f64 = 10.0;

/// When a pool asks a second backend, and how often it may.
#[derive(Debug)]
pub(super) struct Hedging {
    hedge: Hedge,
    budget: Budget,
}

impl Hedging {
    pub(super) fn new(hedge: &Hedge) -> Self {
        Self {
            hedge: hedge.clone(),
            budget: Budget::new(hedge.budget, START, MOST),
        }
    }

    /// A request has come that may be hedged: how long its first backend is left alone.
    pub(super) fn patience(&self, latencies: &Latencies) -> Duration {
        self.budget.earn();
        let Hedge { min, max, .. } = self.hedge;
        // What is not known yet is taken as slow.
        let usual = latencies.quantile(self.hedge.quantile).unwrap_or(max);
        usual.max(min).min(max)
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }
}

/// A try that is under way.
pub(super) type Trying<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Waits for a try; when that takes longer than `patience` without an answer having begun.
pub(super) async fn wait<'a>(
    first: Trying<'a>,
    begun: &AtomicBool,
    patience: Duration,
) -> Either<Outcome, Trying<'a>> {
    match select(first, Box::pin(sleep(patience))).await {
        Either::Left((outcome, _)) => Either::Left(outcome),
        Either::Right(((), first)) if begun.load(Ordering::Relaxed) => Either::Left(first.await),
        Either::Right(((), first)) => Either::Right(first),
    }
}

/// What came of two tries: the first good answer, or both failures in the order in which they came.
pub(super) enum Race {
    Won {
        outcome: Outcome,
        by_second: bool,
    },
    Lost(Outcome, Outcome),
}

/// The first good answer of two wins, and the other try is cancelled. When one fails the other goes on.
pub(super) async fn race(
    first: Trying<'_>,
    second: Trying<'_>,
    counts: &Counts,
) -> Race {
    let (outcome, other, by_second) = match select(first, second).await {
        Either::Left((outcome, second)) => (outcome, second, false),
        Either::Right((outcome, first)) => (outcome, first, true),
    };
    let race = match outcome {
        Outcome::Answer(_) => Race::Won { outcome, by_second },
        Outcome::Lost(_) => match other.await {
            won @ Outcome::Answer(_) => Race::Won {
                outcome: won,
                by_second: !by_second,
            },
            lost @ Outcome::Lost(_) => Race::Lost(outcome, lost),
        },
    };
    let result = match &race {
        Race::Won { by_second: true, .. } => "second",
        Race::Won { .. } => "first",
        Race::Lost(..) => "both-failed",
    };
    let hedges = &counts.metrics.hedges;
    hedges.with_label_values(&[&*counts.pool, result]).inc();
    race
}
