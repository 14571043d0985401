//! How long to wait before dialling again: full jitter under a cap that doubles.
//!
//! A uniform draw from zero to the cap spreads a herd better than any fixed part (AWS Architecture
//! Blog, "Exponential Backoff and Jitter"). Whoever loses a session that worked comes back within a
//! second; one whose sessions are accepted and die at once, again and again, does not.

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
    /// The next wait stays below the first cap, whatever the cap has grown to.
    soon: bool,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            cap: FIRST_CAP,
            soon: false,
        }
    }
}

impl Backoff {
    /// The next wait: from zero to a cap of 1 s, 2 s, 4 s … 30 s.
    pub fn next_wait(&mut self) -> Duration {
        if std::mem::take(&mut self.soon) {
            // No failure yet: whatever fails next goes on where it was.
            return FIRST_CAP.mul_f64(fastrand::f64());
        }
        let wait = self.cap.mul_f64(fastrand::f64());
        self.cap = (self.cap * 2).min(LAST_CAP);
        wait
    }

    /// A session has just ended that was accepted at this instant, or never was. After a stable
    /// minute the cap starts anew. The next wait is below a second when the session had lasted that
    /// long: a balancer that cuts every connection after two seconds costs less than one of waiting
    /// each time.
    pub fn ended(&mut self, accepted: Option<Instant>) {
        let lasted = accepted.map_or(Duration::ZERO, |at| at.elapsed());
        self.soon = lasted >= FIRST_CAP;
        if lasted >= STABLE {
            self.cap = FIRST_CAP;
        }
    }

    /// The same, when the other end has asked us to dial anew: if the session had lasted a second,
    /// that is no trouble, and the cap starts anew.
    pub fn sent_away(&mut self, accepted: Option<Instant>) {
        self.ended(accepted);
        if self.soon {
            self.cap = FIRST_CAP;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// A session that was accepted and has lasted so long.
    async fn lasted(time: Duration) -> Option<Instant> {
        let accepted = Instant::now();
        tokio::time::advance(time).await;
        Some(accepted)
    }

    /// With the cap at 30 s.
    fn grown() -> Backoff {
        let mut backoff = Backoff::default();
        for cap in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(backoff.cap, seconds(cap));
            assert!(backoff.next_wait() <= seconds(cap));
        }
        backoff
    }

    #[tokio::test(start_paused = true)]
    async fn the_cap_doubles_to_thirty_seconds_and_starts_anew_after_a_stable_minute() {
        let mut backoff = grown();
        backoff.ended(None);
        assert_eq!(backoff.cap, LAST_CAP, "a tunnel that was never accepted");
        backoff.ended(lasted(STABLE - seconds(1)).await);
        assert_eq!(backoff.cap, LAST_CAP, "a session that did not last");
        backoff.ended(lasted(STABLE).await);
        assert_eq!(backoff.cap, FIRST_CAP);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_retry_after_a_session_that_lasted_comes_within_a_second() {
        for _ in 0..100 {
            let mut backoff = grown();
            backoff.ended(lasted(LAST_CAP).await);
            assert!(backoff.next_wait() <= FIRST_CAP);
            // The trouble is not over: the next goes on where it was.
            assert_eq!(backoff.cap, LAST_CAP);
        }
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            let mut backoff = grown();
            backoff.ended(lasted(FIRST_CAP).await);
            backoff.next_wait();
            longest = longest.max(backoff.next_wait());
        }
        assert!(longest > seconds(15), "{longest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_that_are_accepted_and_die_at_once_are_dialled_ever_more_slowly_and_others_not()
     {
        for life in [0, 2] {
            let mut backoff = Backoff::default();
            let mut caps = Vec::new();
            for _ in 0..7 {
                backoff.ended(lasted(seconds(life)).await);
                caps.push(if backoff.soon { FIRST_CAP } else { backoff.cap });
                backoff.next_wait();
            }
            let expected = match life {
                0 => [1, 2, 4, 8, 16, 30, 30],
                // As behind a balancer that cuts whatever is idle for two seconds.
                _ => [1, 1, 1, 1, 1, 1, 1],
            };
            assert_eq!(caps, expected.map(seconds), "{life} s each");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn to_be_sent_away_is_obeyed_within_a_second() {
        let mut backoff = grown();
        backoff.sent_away(lasted(FIRST_CAP).await);
        assert!(backoff.soon);
        assert!(backoff.next_wait() <= FIRST_CAP);
        // Not in circles: accepted and sent away at once, or never accepted.
        backoff.sent_away(lasted(FIRST_CAP / 2).await);
        assert!(!backoff.soon);
        backoff.sent_away(None);
        assert!(!backoff.soon);
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
