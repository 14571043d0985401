//! How long a pool's answers have taken lately.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Answers that are remembered: enough for a 99th percentile, few enough to follow a change.
const REMEMBERED: usize = 512;
/// With fewer nothing is said.
const ENOUGH: usize = 20;

/// Times from a request until its answer's head, the last ones.
#[derive(Debug, Default)]
pub(super) struct Latencies(Mutex<VecDeque<Duration>>);

impl Latencies {
    pub(super) fn add(&self, time: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() == REMEMBERED {
            times.pop_front();
        }
        times.push_back(time);
    }

    /// The time within which this share of them came (0 to 1); nothing as long as there are few.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        // Copied, so that nobody waits for the sorting.
        let mut times: Vec<Duration> = {
            let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            times.iter().copied().collect()
        };
        if times.len() < ENOUGH {
            return None;
        }
        // At most 512 times a share: neither sign nor size is lost.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let index = (times.len() as f64 * share.clamp(0.0, 1.0)) as usize;
        let index = index.min(times.len() - 1);
        Some(*times.select_nth_unstable(index).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_of_the_last_answers() {
        let latencies = Latencies::default();
        for n in 0..19 {
            latencies.add(Duration::from_millis(n));
        }
        assert_eq!(latencies.quantile(0.5), None, "too few");
        for n in 0..100_000u64 {
            latencies.add(Duration::from_millis(n % 100));
        }
        let near = |share, millis: u64| {
            let found = latencies.quantile(share).unwrap();
            let found = u64::try_from(found.as_millis()).unwrap();
            assert!(found.abs_diff(millis) <= 2, "{share}: {found}");
        };
        near(0.0, 0);
        near(0.5, 50);
        near(0.95, 95);
        near(1.0, 99);
        for _ in 0..REMEMBERED {
            latencies.add(Duration::from_secs(1));
        }
        assert_eq!(latencies.quantile(0.0), Some(Duration::from_secs(1)));
    }
}
