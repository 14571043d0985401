//! How long a scrape may take, as Prometheus says it and as the tunnel carries it.

use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

/// Where a scraper says how long it will wait, in decimal seconds.
/// Prometheus: `scrape/scrape.go`; see also its documentation on `scrape_timeout`.
pub const SCRAPE_TIMEOUT_HEADER: &str = "x-prometheus-scrape-timeout-seconds";

/// How a proxy turns what the scraper said into a deadline. All durations positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeoutRules {
    /// When the scraper says nothing, or nonsense.
    pub default: Duration,
    /// However much the scraper asks for.
    pub max: Duration,
    /// Taken off what the scraper said, so that our reason arrives before it gives up.
    pub offset: Duration,
}

impl TimeoutRules {
    /// The time a scrape has from now on. Never zero and never an error: NaN, what is not above
    /// zero and what is no number mean the default; what is too large, infinity included, means
    /// the maximum. An offset that would eat more than half leaves half.
    pub fn timeout(&self, header: Option<&HeaderValue>) -> Duration {
        let asked = header
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.trim().parse::<f64>().ok())
            .filter(|seconds| *seconds > 0.0);
        let Some(seconds) = asked else {
            return self.default.min(self.max);
        };
        // Compared as floats first: `from_secs_f64` panics on what a Duration cannot hold.
        let asked = if seconds >= self.max.as_secs_f64() {
            self.max
        } else {
            Duration::from_secs_f64(seconds)
        };
        asked
            .saturating_sub(self.offset)
            .max(asked / 2)
            .max(Duration::from_millis(1))
    }
}

/// The moment a scrape is given up, by the clock of whoever holds it.
///
/// It crosses the tunnel as the time that is left, since the clocks of two machines differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    at: Instant,
    granted: Duration,
}

impl Deadline {
    /// From now on.
    pub fn after(granted: Duration) -> Self {
        Self {
            at: Instant::now() + granted,
            granted,
        }
    }

    /// The moment itself.
    pub fn instant(self) -> Instant {
        self.at
    }

    /// What was granted at first; for messages.
    pub fn granted(self) -> Duration {
        self.granted
    }

    /// What is left; zero when it has passed.
    pub fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// What is left, in whole milliseconds and at least one: what the tunnel carries.
    pub fn to_header(self) -> HeaderValue {
        let millis = u64::try_from(self.left().as_millis()).unwrap_or(u64::MAX);
        HeaderValue::from(millis.max(1))
    }

    /// Reads what the tunnel carries; `None` when it is absent or no number.
    pub fn from_header(value: Option<&HeaderValue>, max: Duration) -> Option<Self> {
        let millis: u64 = value?.to_str().ok()?.parse().ok()?;
        Some(Self::after(Duration::from_millis(millis.max(1)).min(max)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: TimeoutRules = TimeoutRules {
        default: Duration::from_secs(15),
        max: Duration::from_secs(300),
        offset: Duration::from_millis(200),
    };

    fn timeout(text: &str) -> Duration {
        RULES.timeout(Some(&HeaderValue::from_str(text).unwrap()))
    }

    #[test]
    fn what_scrapers_send() {
        assert_eq!(timeout("3"), Duration::from_millis(2800));
        assert_eq!(timeout("2.5"), Duration::from_millis(2300));
        assert_eq!(timeout("2.998000"), Duration::from_millis(2798));
        assert_eq!(RULES.timeout(None), Duration::from_secs(15));
    }

    #[test]
    fn nonsense_is_defaulted_and_excess_clamped() {
        for text in ["NaN", "-1", "0", "-0", "-inf", "abc", "", "1,5", "1s"] {
            assert_eq!(timeout(text), Duration::from_secs(15), "{text:?}");
        }
        for text in ["inf", "Infinity", "1e300", "301", "300"] {
            assert_eq!(timeout(text), Duration::from_millis(299_800), "{text:?}");
        }
        let bytes = HeaderValue::from_bytes(b"\xff3").unwrap();
        assert_eq!(RULES.timeout(Some(&bytes)), Duration::from_secs(15));
    }

    #[test]
    fn a_short_timeout_keeps_half() {
        assert_eq!(timeout("0.1"), Duration::from_millis(50));
        assert_eq!(timeout("1e-9"), Duration::from_millis(1));
    }

    proptest! {
        #[test]
        fn any_text_gives_a_timeout_within_bounds(text in "[ -~]{0,24}") {
            let timeout = timeout(&text);
            prop_assert!(timeout >= Duration::from_millis(1) && timeout <= RULES.max);
        }

        #[test]
        fn any_number_gives_less_than_was_asked(seconds in 0.01f64..1e9) {
            let timeout = timeout(&seconds.to_string());
            prop_assert!(timeout.as_secs_f64() < seconds && timeout <= RULES.max);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_crosses_the_tunnel() {
        let deadline = Deadline::after(Duration::from_secs(3));
        tokio::time::advance(Duration::from_secs(1)).await;
        let header = deadline.to_header();
        assert_eq!(header, "2000");
        let there = Deadline::from_header(Some(&header), RULES.max).unwrap();
        assert_eq!(there.left(), Duration::from_secs(2));
        assert_eq!(Deadline::from_header(None, RULES.max), None);
        let nonsense = HeaderValue::from_static("soon");
        assert_eq!(Deadline::from_header(Some(&nonsense), RULES.max), None);
    }
}
