//! How long to wait before dialling again: full jitter under a cap that doubles.
//!
//! A uniform draw from zero to the cap spreads a herd better than any fixed part (AWS Architecture
//! Blog, "Exponential Backoff and Jitter"); the cap starts low, so that the first retry after a
//! session that was lost comes within a second.

use std::time::Duration;

use tokio::time::Instant;

const FIRST_CAP: Duration = Duration::from_secs(1);
const LAST_CAP: Duration = Duration::from_secs(30);
/// A session that lasted so long was no part of the trouble.
const STABLE: Duration = Duration::from_secs(60);

/// The waits of one connection that is dialled again and again.
#[derive(Debug, Clone)]
pub struct Backoff {
    cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { cap: FIRST_CAP }
    }
}

impl Backoff {
    /// The next wait: from zero to a cap of 1 s, 2 s, 4 s … 30 s.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.cap.mul_f64(fastrand::f64());
        self.cap = (self.cap * 2).min(LAST_CAP);
        wait
    }

    /// A session that was established then has just ended. After a stable minute the cap starts
    /// anew; before, it goes on growing, so that one that never lasts is not dialled every second.
    pub fn ended(&mut self, established: Instant) {
        if established.elapsed() >= STABLE {
            self.cap = FIRST_CAP;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_cap_doubles_to_thirty_seconds_and_starts_anew_after_a_stable_minute() {
        let mut backoff = Backoff::default();
        for cap in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(backoff.cap, Duration::from_secs(cap));
            assert!(backoff.next_wait() <= Duration::from_secs(cap));
        }
        backoff.ended(Instant::now());
        assert_eq!(backoff.cap, LAST_CAP, "a session that did not last");
        let established = Instant::now();
        tokio::time::advance(STABLE).await;
        backoff.ended(established);
        assert_eq!(backoff.cap, FIRST_CAP);
    }

    #[test]
    fn waits_fill_the_whole_range() {
        let waits: Vec<f64> = (0..1000)
            .map(|_| Backoff::default().next_wait().as_secs_f64())
            .collect();
        let low = waits.iter().filter(|wait| **wait < 0.25).count();
        let high = waits.iter().filter(|wait| **wait > 0.75).count();
        assert!(low > 100 && high > 100, "{low} low, {high} high");
    }
}
