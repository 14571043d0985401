//! How many requests are answered: a token bucket for all of them together.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::written::Rate;

/// A bucket of `burst` tokens, one more every `interval`. Clones take from the same.
#[derive(Debug, Clone)]
pub struct RateLimit {
    interval: Duration,
    burst: u32,
    /// When the bucket will be full again; it is full if that is past.
    full_at: Arc<Mutex<Instant>>,
}

impl RateLimit {
    /// What is said below `rate_limit`; nothing where it is off.
    pub(super) fn read(written: &Rate) -> Result<Option<Self>, String> {
        let Some(text) = written.interval.as_deref() else {
            return match written.burst {
                None | Some(0) => Ok(None),
                Some(_) => Err("rate_limit.interval is missing, expected one such as 100ms".into()),
            };
        };
        let interval = go_duration(text)
            .ok_or_else(|| format!("rate_limit.interval {text:?}: expected one such as 100ms"))?;
        let burst = written.burst.unwrap_or(0);
        if interval.is_zero() {
            return Ok(None);
        }
        if burst == 0 {
            return Err("rate_limit.burst: expected at least 1, with 0 nothing is answered".into());
        }
        Ok(Some(Self {
            interval,
            burst,
            full_at: Arc::new(Mutex::new(Instant::now())),
        }))
    }

    /// Takes a token; `false` when there is none: too many requests.
    pub fn allow(&self) -> bool {
        let now = Instant::now();
        // A poisoned lock has one instant behind it, which is a whole one.
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*full_at).max(now).checked_add(self.interval);
        let most = self.interval.checked_mul(self.burst);
        match (next, most) {
            (Some(next), Some(most)) if next - now > most => false,
            (Some(next), _) => {
                *full_at = next;
                true
            }
            // A bucket that is never full again.
            (None, _) => false,
        }
    }
}

impl PartialEq for RateLimit {
    /// Says the same; what is in the buckets may differ.
    fn eq(&self, other: &Self) -> bool {
        (self.interval, self.burst) == (other.interval, other.burst)
    }
}

/// `time.ParseDuration` of Go, without signs: decimal numbers, each with a unit. A bare number is
/// nanoseconds, as Go's YAML has it.
fn go_duration(text: &str) -> Option<Duration> {
    if let Ok(nanos) = text.parse::<u64>() {
        return Some(Duration::from_nanos(nanos));
    }
    let mut rest = text;
    let mut sum = 0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let end = behind
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * seconds;
        rest = behind;
    }
    Duration::try_from_secs_f64(sum).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(interval: &str, burst: u32) -> Result<Option<RateLimit>, String> {
        RateLimit::read(&Rate {
            interval: Some(interval.to_owned()),
            burst: Some(burst),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_empties_and_fills() {
        let limit = limit("100ms", 3).unwrap().unwrap();
        let taken = || (0..10).filter(|_| limit.allow()).count();
        assert_eq!(taken(), 3);
        tokio::time::advance(Duration::from_millis(99)).await;
        assert_eq!(taken(), 0);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(taken(), 1);
        // No more than its burst, however long nobody asks; and clones are the same bucket.
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(limit.clone().allow());
        assert_eq!(taken(), 2);
    }

    #[test]
    fn intervals_are_gos() {
        for (text, nanos) in [
            ("1s", 1_000_000_000),
            ("1.5s", 1_500_000_000),
            ("1m30s", 90_000_000_000),
            ("100ms", 100_000_000),
            ("7µs", 7_000),
            ("250", 250),
            ("1h", 3_600_000_000_000),
        ] {
            assert_eq!(
                go_duration(text),
                Some(Duration::from_nanos(nanos)),
                "{text}"
            );
        }
        for text in [
            "", "s", "1", "-1s", "1 s", "1d", "1s2", "1.2.3s", "1e3s", "١s",
        ] {
            let number = text.parse::<u64>().is_ok();
            assert_eq!(go_duration(text).is_some(), number, "{text}");
        }
    }

    #[test]
    fn off_is_off_and_nonsense_is_said() {
        assert_eq!(limit("0s", 0), Ok(None));
        assert_eq!(limit("0", 7), Ok(None));
        assert_eq!(RateLimit::read(&Rate::default()), Ok(None));
        let error = limit("1s", 0).unwrap_err();
        assert!(error.contains("rate_limit.burst"), "{error}");
        let error = limit("soon", 1).unwrap_err();
        assert!(error.contains("rate_limit.interval \"soon\""), "{error}");
        let alone = Rate {
            interval: None,
            burst: Some(1),
        };
        let error = RateLimit::read(&alone).unwrap_err();
        assert!(error.contains("interval is missing"), "{error}");
    }
}
