//! How late this machine is: what could not run in time is no proxy's fault.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(10);
/// What is no lag.
const USUAL: Duration = Duration::from_millis(50);
/// Lags kept.
const MOST: usize = 10_000;

/// The lags so far. Dropping it ends the looking.
#[derive(Debug)]
pub(super) struct Lag {
    lags: Arc<Mutex<VecDeque<(Instant, Duration)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Lag {
    /// Looks from now on, by a task that wants to run every 10 ms.
    pub(super) fn start() -> Self {
        let lags: Arc<Mutex<VecDeque<(Instant, Duration)>>> = Arc::default();
        let noted = Arc::clone(&lags);
        let task = tokio::spawn(async move {
            loop {
                let due = Instant::now() + EVERY;
                sleep(EVERY).await;
                let lag = due.elapsed();
                if lag > USUAL {
                    let mut lags = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    if lags.len() >= MOST {
                        lags.pop_front();
                    }
                    lags.push_back((due + lag, lag));
                }
            }
        });
        Self { lags, task }
    }

    /// The longest lag that had a part in this time.
    pub(super) fn worst(&self, from: Instant, until: Instant) -> Duration {
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        let within = |(at, lag): &&(Instant, Duration)| *at >= from && *at - *lag <= until;
        let within = lags.iter().filter(within).map(|(_, lag)| *lag);
        within.max().unwrap_or_default()
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_holds_up_the_runtime_is_noticed() {
        let lag = Lag::start();
        sleep(EVERY * 3).await;
        let before = Instant::now();
        std::thread::sleep(USUAL * 4);
        sleep(EVERY * 3).await;
        let worst = lag.worst(before, Instant::now());
        assert!(worst >= USUAL * 3, "{worst:?}");
        let never = before - Duration::from_secs(60);
        assert_eq!(lag.worst(never, never), Duration::ZERO);
    }
}
