//! Who has more, and what is only noise.

use crate::config::query::DataMetric;

use super::Candidate;

/// No Prometheus goes back further, in seconds: three hundred years.
const LONGEST: f64 = 1e10;
/// Clocks and samples are on this side of it, in Unix seconds.
const LATEST: f64 = 1e12;
/// Above are only the ends of what i64 holds, which an empty Prometheus shows for times: 9.22e18, and
/// 9.22e15 when it is taken for milliseconds.
const MOST: f64 = 9e15;

/// Something that can be counted of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amount {
    /// Seconds that it goes back.
    History,
    /// Samples in blocks.
    Stored,
    /// Series in memory.
    Head,
    /// Samples since its start.
    Ingested,
}

/// What is looked at, the first before the second.
pub(super) fn amounts(metric: DataMetric) -> &'static [Amount] {
    match metric {
        DataMetric::Auto => &[Amount::History, Amount::Stored, Amount::Head],
        DataMetric::History => &[Amount::History],
        DataMetric::StoredSamples => &[Amount::Stored],
        DataMetric::IngestedSamples => &[Amount::Ingested],
    }
}

impl Amount {
    /// Nothing if it is unknown, or cannot be.
    pub(super) fn of(self, candidate: &Candidate) -> Option<f64> {
        let data = &candidate.data;
        match self {
            Self::History => {
                let time = |seconds: Option<f64>| seconds.filter(|s| s.abs() < LATEST);
                time(data.oldest)?;
                time(data.now)?;
                data.history().filter(|seconds| *seconds < LONGEST)
            }
            Self::Stored => count(data.stored_samples),
            Self::Head => count(data.head_series),
            // As in mpp, who has ingested nothing has never won.
            Self::Ingested => count(data.ingested_samples).filter(|samples| *samples > 0.0),
        }
    }

    /// In words, for people.
    pub(super) fn say(self, candidate: &Candidate) -> String {
        let Some(amount) = self.of(candidate) else {
            return match self {
                Self::History => "unknown history",
                Self::Stored => "unknown stored samples",
                Self::Head => "unknown series",
                Self::Ingested => "unknown ingested samples",
            }
            .to_owned();
        };
        match self {
            Self::History => {
                let seconds = std::time::Duration::from_secs_f64(amount.floor());
                format!("{} of history", humantime::format_duration(seconds))
            }
            Self::Stored => format!("{amount} stored samples"),
            Self::Head => format!("{amount} series"),
            Self::Ingested => format!("{amount} ingested samples"),
        }
    }
}

/// A number that counts something.
fn count(number: Option<f64>) -> Option<f64> {
    number.filter(|number| (0.0..MOST).contains(number))
}

/// Whether one is more than another by more than the share that is held to be noise. What is known is
/// more than what is not.
pub(super) fn is_more(one: Option<f64>, than: Option<f64>, noise: f64) -> bool {
    match (one, than) {
        (Some(one), Some(than)) => one > than * (1.0 + noise),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// Those of the row that nobody else in it has more than.
pub(super) fn keep_most(
    row: &mut Vec<usize>,
    candidates: &[Candidate],
    amount: Amount,
    noise: f64,
) {
    let of = |i: &usize| amount.of(&candidates[*i]);
    let most = row.iter().filter_map(of).max_by(f64::total_cmp);
    row.retain(|i| !is_more(most, of(i), noise));
}

#[cfg(test)]
mod tests {
    use super::super::lab::{candidate, with_history};
    use super::*;

    /// Case 9.
    #[test]
    fn what_an_empty_prometheus_shows_for_times_is_nothing() {
        let now = 1.8e9;
        for oldest in [
            9.223_372_036_854_776e15,
            -9.223_372_036_854_776e15,
            9.223_372_036_854_775e18,
            -9.223_372_036_854_775e18,
            f64::INFINITY,
            f64::NAN,
        ] {
            let mut empty = candidate("empty");
            empty.data.now = Some(now);
            empty.data.oldest = Some(oldest);
            assert_eq!(Amount::History.of(&empty), None, "{oldest}");
            empty.data.stored_samples = Some(oldest);
            empty.data.head_series = Some(oldest);
            empty.data.ingested_samples = Some(oldest);
            for amount in [Amount::Stored, Amount::Head, Amount::Ingested] {
                assert_eq!(amount.of(&empty), None, "{amount:?} {oldest}");
            }
        }
        assert_eq!(Amount::History.of(&with_history("a", 60.0)), Some(60.0));
    }

    #[test]
    fn what_is_known_is_more_than_what_is_not() {
        assert!(is_more(Some(0.0), None, 0.05));
        assert!(!is_more(None, Some(0.0), 0.05));
        assert!(!is_more(None, None, 0.05));
        assert!(!is_more(Some(0.0), Some(0.0), 0.05));
        assert!(!is_more(Some(104.0), Some(100.0), 0.05));
        assert!(is_more(Some(106.0), Some(100.0), 0.05));
    }

    #[test]
    fn it_can_be_said() {
        let mut backend = with_history("a", 90_061.9);
        assert_eq!(Amount::History.say(&backend), "1day 1h 1m 1s of history");
        assert_eq!(Amount::Stored.say(&backend), "unknown stored samples");
        backend.data.head_series = Some(1234.0);
        assert_eq!(Amount::Head.say(&backend), "1234 series");
    }
}
