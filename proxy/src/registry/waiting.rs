//! Scrapes that wait for a name to return.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit_common::name::Name;
use prometheus::IntGauge;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Everybody who waits, by name. An entry is there while somebody does.
#[derive(Debug)]
pub(crate) struct Waiting {
    queues: Mutex<HashMap<Name, Queue>>,
    limit: usize,
    limit_per_name: usize,
    count: IntGauge,
}

#[derive(Debug)]
struct Queue {
    arrivals: Arc<Notify>,
    length: usize,
}

/// One who waits. Dropping it gives its place back.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiting: Arc<Waiting>,
    name: Name,
    arrivals: Arc<Notify>,
}

/// No more may wait: the limit that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// So many wait for some name.
    InAll(usize),
    /// So many wait for this one.
    OfName(usize),
}

impl Waiting {
    /// At most so many at once, and so many for one name; `count` is how many there are.
    pub(crate) fn new(limit: usize, limit_per_name: usize, count: IntGauge) -> Self {
        Self {
            queues: Mutex::default(),
            limit,
            limit_per_name,
            count,
        }
    }

    /// A place among those who wait for `name`.
    ///
    /// # Errors
    /// When there is none left.
    pub(crate) fn wait(self: &Arc<Self>, name: &Name) -> Result<Waiter, Full> {
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        let mut queues = self.lock();
        if self.count.get() >= limit {
            return Err(Full::InAll(self.limit));
        }
        let queue = queues.entry(name.clone()).or_insert_with(|| Queue {
            arrivals: Arc::default(),
            length: 0,
        });
        if queue.length >= self.limit_per_name {
            return Err(Full::OfName(self.limit_per_name));
        }
        queue.length += 1;
        self.count.inc();
        Ok(Waiter {
            waiting: Arc::clone(self),
            name: name.clone(),
            arrivals: Arc::clone(&queue.arrivals),
        })
    }

    /// Somebody carries the name again, for everyone who waits.
    pub(super) fn wake_all(&self, names: &[Name]) {
        let queues = self.lock();
        for name in names {
            if let Some(queue) = queues.get(name) {
                queue.arrivals.notify_waiters();
            }
        }
    }

    /// There is a carrier for one scrape: who has waited longest gets it.
    pub(super) fn wake_one(&self, name: &Name) {
        if let Some(queue) = self.lock().get(name) {
            queue.arrivals.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Resolves when it is worth looking again. To be enabled before looking, so that nobody who
    /// comes in between is missed.
    pub(crate) fn arrival(&self) -> OwnedNotified {
        Arc::clone(&self.arrivals).notified_owned()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut queues = self.waiting.lock();
        self.waiting.count.dec();
        if let Some(queue) = queues.get_mut(&self.name) {
            queue.length -= 1;
            if queue.length == 0 {
                queues.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(limit: usize, limit_per_name: usize) -> Arc<Waiting> {
        let count = IntGauge::new("waiting", "For a test.").unwrap();
        Arc::new(Waiting::new(limit, limit_per_name, count))
    }

    #[test]
    fn no_more_wait_than_may_and_nothing_stays_of_them() {
        let waiting = waiting(3, 2);
        let (pi, nas) = ("pi".parse().unwrap(), "nas".parse().unwrap());
        let places = [waiting.wait(&pi), waiting.wait(&pi)];
        assert!(places.iter().all(Result::is_ok));
        assert_eq!(waiting.wait(&pi).unwrap_err(), Full::OfName(2));
        let third = waiting.wait(&nas);
        assert!(third.is_ok());
        let db = "db".parse().unwrap();
        assert_eq!(waiting.wait(&db).unwrap_err(), Full::InAll(3));
        drop((places, third));
        assert!(waiting.lock().is_empty());
        assert_eq!(waiting.count.get(), 0);
    }

    #[tokio::test]
    async fn a_poll_wakes_the_first_and_a_session_all() {
        let waiting = waiting(9, 9);
        let pi: Name = "pi".parse().unwrap();
        let waiters: Vec<Waiter> = (0..3).map(|_| waiting.wait(&pi).unwrap()).collect();
        let mut arrivals: Vec<_> = waiters.iter().map(|w| Box::pin(w.arrival())).collect();
        for arrival in &mut arrivals {
            assert!(!arrival.as_mut().enable());
        }
        waiting.wake_one(&pi);
        assert!(arrivals[0].as_mut().enable());
        assert!(!arrivals[1].as_mut().enable());
        // The one that was woken leaves without having looked: the next is woken for it.
        waiting.wake_one(&pi);
        drop(arrivals.remove(1));
        assert!(arrivals[1].as_mut().enable());
        let again = waiters[0].arrival();
        tokio::pin!(again);
        assert!(!again.as_mut().enable());
        waiting.wake_all(std::slice::from_ref(&pi));
        assert!(again.as_mut().enable());
    }
}
