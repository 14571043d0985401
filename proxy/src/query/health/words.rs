//! What Prometheus says in JSON, as far as we ask.

use std::time::{Duration, SystemTime};

use adit_common::fault::one_line;
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ask::Said;

/// The longest reason that is kept.
const REASON: usize = 200;

/// Around everything below `/api/v1`.
#[derive(Debug, Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Trouble {
    error_type: String,
    error: String,
}

#[derive(Debug, Deserialize)]
struct Result {
    result: serde_json::Value,
}

#[derive(Debug, Deserialize)]
struct Replay {
    min: u64,
    max: u64,
    current: u64,
}

#[derive(Debug, Deserialize)]
struct Runtime {
    #[serde(rename = "startTime")]
    start_time: String,
}

#[derive(Debug, Deserialize)]
struct Blocks {
    /// `null` when there are none.
    blocks: Option<Vec<Block>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    /// In milliseconds.
    min_time: i64,
    #[serde(default)]
    stats: Stats,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Stats {
    num_samples: u64,
}

/// The values of a query's result, by their label `what`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Values {
    /// When it was evaluated, by the server's clock.
    pub(super) at: Option<f64>,
    pub(super) now: Option<f64>,
    pub(super) age: Option<f64>,
    pub(super) targets: Option<f64>,
}

impl Said {
    fn data<T: DeserializeOwned>(&self) -> Option<T> {
        let envelope: Envelope<T> = serde_json::from_slice(&self.body).ok()?;
        Some(envelope.data)
    }

    /// Of `/api/v1/query`; nothing: that is no answer to a query.
    pub(super) fn values(&self) -> Option<Values> {
        let Result { result } = self.data()?;
        let mut values = Values::default();
        let Some(list) = result.as_array() else {
            return Some(values);
        };
        // A scalar or a string is one sample, without any labels.
        if let Some(at) = list.first().and_then(serde_json::Value::as_f64) {
            values.at = Some(at);
            return Some(values);
        }
        for series in list {
            let sample = &series["value"];
            values.at = values.at.or(sample[0].as_f64());
            let number = sample[1].as_str().and_then(|text| text.parse().ok());
            let number = number.filter(|number: &f64| number.is_finite());
            match series["metric"]["what"].as_str() {
                Some("now") => values.now = number,
                Some("age") => values.age = number,
                Some("targets") => values.targets = number,
                _ => {}
            }
        }
        Some(values)
    }

    /// Of `/api/v1/status/walreplay`: so many segments of so many. Nothing when there are none.
    pub(super) fn replay(&self) -> Option<(u64, u64)> {
        let Replay { min, max, current } = self.data()?;
        let all = max.checked_sub(min).filter(|all| *all > 0)?;
        Some((current.saturating_sub(min).min(all), all))
    }

    /// Of `/api/v1/status/runtimeinfo`: when the server was started, in Unix seconds.
    pub(super) fn started(&self) -> Option<f64> {
        let Runtime { start_time } = self.data()?;
        let start = humantime::parse_rfc3339_weak(&start_time).ok()?;
        Some(unix(start))
    }

    /// Of `/api/v1/status/tsdb/blocks`: samples, and the oldest one's time in Unix seconds.
    pub(super) fn blocks(&self) -> Option<(f64, Option<f64>)> {
        let Blocks { blocks } = self.data()?;
        let blocks = blocks.unwrap_or_default();
        let samples = blocks.iter().map(|block| block.stats.num_samples as f64);
        let oldest = blocks.iter().map(|block| block.min_time).min();
        Some((samples.sum(), oldest.map(|ms| ms as f64 / 1000.0)))
    }

    /// `unavailable`, `timeout`, `bad_data`, …; empty where that is not said.
    pub(super) fn error_type(&self) -> String {
        self.trouble().error_type
    }

    /// Status and reason, for people.
    pub(super) fn reason(&self) -> String {
        let status = shown(self.status);
        match self.trouble() {
            Trouble { error, .. } if error.is_empty() => status,
            Trouble { error, .. } => {
                let error: String = one_line(&error).chars().take(REASON).collect();
                format!("{status}: {error}")
            }
        }
    }

    fn trouble(&self) -> Trouble {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// `502 Bad Gateway`
fn shown(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// Unix seconds.
pub(super) fn unix(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.as_ref().map_or(0.0, Duration::as_secs_f64)
}
