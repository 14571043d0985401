//! How much may be under way at a target at once, and who waits for it.
//!
//! A [`Turn`] is held by the connection it is for, so that it ends when that does: also of a body
//! that nobody reads any more, whose connection is cut soon after the scrape's deadline. Otherwise one
//! proxy that does not read could keep a target from all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Scrapes that may wait for one serial target: as many as scrape it from all proxies, and more.
/// Whoever comes behind them would not have its turn in time anyway.
const MOST_WAITING: usize = 16;

/// Turns at one target.
#[derive(Debug)]
pub(crate) struct Turns {
    limit: Limit,
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// How many turns there are at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// So many; who comes when there is none is sent away.
    AtOnce(usize),
    /// One after the other; the others wait.
    Serial,
}

/// A turn at a target. Clones are the same; it ends with the last.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Why there is no turn, to follow the target's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoTurn {
    /// All are taken.
    #[error("{0} are under way already, which is what it may cost")]
    Taken(usize),
    /// Too many wait.
    #[error("one is under way and {MOST_WAITING} wait for their turn")]
    Queue,
    /// It did not come in time.
    #[error("others were under way until the deadline")]
    TooLate,
}

impl Turns {
    pub(crate) fn new(limit: Limit) -> Self {
        let count = match limit {
            Limit::AtOnce(count) => count,
            Limit::Serial => 1,
        };
        Self {
            limit,
            // Its maximum is far beyond what a tunnel has streams.
            free: Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
        }
    }

    /// How many there are at a time.
    pub(super) fn limit(&self) -> Limit {
        self.limit
    }

    /// A turn at once.
    pub(super) fn try_take(&self) -> Result<Turn, NoTurn> {
        let permit = Arc::clone(&self.free).try_acquire_owned();
        let count = match self.limit {
            Limit::AtOnce(count) => count,
            Limit::Serial => 1,
        };
        permit.map(Turn::of).map_err(|_| NoTurn::Taken(count))
    }

    /// A turn, at once or, at a serial target, by `deadline`; first come, first served. `waiting`
    /// is one more meanwhile. Dropping the future leaves the queue.
    pub(super) async fn take(&self, deadline: Instant, waiting: &IntGauge) -> Result<Turn, NoTurn> {
        let now = self.try_take();
        if now.is_ok() || self.limit != Limit::Serial {
            return now;
        }
        let _queued = Queued::behind(self, waiting)?;
        let turn = timeout_at(deadline, Arc::clone(&self.free).acquire_owned()).await;
        // It is never closed.
        let turn = turn.ok().and_then(Result::ok);
        turn.map(Turn::of).ok_or(NoTurn::TooLate)
    }
}

impl Turn {
    fn of(permit: OwnedSemaphorePermit) -> Self {
        Self {
            _permit: Arc::new(permit),
        }
    }
}

/// A place in the queue, until it is dropped.
struct Queued<'a> {
    turns: &'a Turns,
    gauge: &'a IntGauge,
}

impl<'a> Queued<'a> {
    fn behind(turns: &'a Turns, gauge: &'a IntGauge) -> Result<Self, NoTurn> {
        let one_more = |count| (count < MOST_WAITING).then_some(count + 1);
        // A count alone, which orders nothing.
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let counted = turns.waiting.fetch_update(set, fetch, one_more);
        counted.map_err(|_| NoTurn::Queue)?;
        gauge.inc();
        Ok(Self { turns, gauge })
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.gauge.dec();
        self.turns.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::{join, join_all};
    use tokio::time::{sleep, timeout};

    use super::*;

    fn gauge() -> IntGauge {
        IntGauge::new("waiting", "Waiting.").unwrap()
    }

    fn after(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn over_the_limit_nobody_waits() {
        let (turns, gauge) = (Turns::new(Limit::AtOnce(2)), gauge());
        let begun = Instant::now();
        let first = turns.take(after(10), &gauge).await.unwrap();
        let second = turns.take(after(10), &gauge).await.unwrap();
        let none = turns.take(after(10), &gauge).await.unwrap_err();
        assert_eq!((none, begun.elapsed()), (NoTurn::Taken(2), Duration::ZERO));
        let clone = first.clone();
        drop(first);
        assert!(turns.take(after(10), &gauge).await.is_err(), "one is left");
        drop(clone);
        turns.take(after(10), &gauge).await.unwrap();
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_serial_target_serves_in_the_order_of_their_coming() {
        let (turns, gauge) = (Turns::new(Limit::Serial), gauge());
        let begun = Instant::now();
        let scrape = async |_| {
            let turn = turns.take(after(60), &gauge).await.unwrap();
            let since = begun.elapsed().as_secs();
            sleep(Duration::from_secs(3)).await;
            drop(turn);
            since
        };
        let all = join_all((0..5).map(scrape));
        let seen = async {
            sleep(Duration::from_secs(4)).await;
            gauge.get()
        };
        let (starts, waiting) = join(all, seen).await;
        assert_eq!((starts, waiting), (vec![0, 3, 6, 9, 12], 3));
        assert_eq!(gauge.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_does_not_come_in_time_is_given_up() {
        let (turns, gauge) = (Turns::new(Limit::Serial), gauge());
        let held = turns.take(after(1), &gauge).await.unwrap();
        let begun = Instant::now();
        let late = turns.take(after(5), &gauge).await.unwrap_err();
        assert_eq!((late, begun.elapsed().as_secs()), (NoTurn::TooLate, 5));
        assert_eq!(gauge.get(), 0);
        // Who leaves the queue is not served.
        let left = timeout(Duration::from_secs(1), turns.take(after(60), &gauge)).await;
        assert!(left.is_err());
        assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
        drop(held);
        turns.take(after(0), &gauge).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_has_an_end() {
        let (turns, gauge) = (Turns::new(Limit::Serial), gauge());
        let _held = turns.take(after(1), &gauge).await.unwrap();
        let outcomes = join_all((0..20).map(|_| turns.take(after(5), &gauge))).await;
        let outcomes: Vec<_> = outcomes.into_iter().map(|turn| turn.unwrap_err()).collect();
        let sent_away = outcomes.iter().filter(|why| **why == NoTurn::Queue);
        assert_eq!(sent_away.count(), 20 - MOST_WAITING);
        assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
    }
}
