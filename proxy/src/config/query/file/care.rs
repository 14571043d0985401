//! How backends are watched, when another one is asked, and what is let through.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::values::Share;
use crate::config::limits::{Count, Time, bounded};
use crate::config::query::{Allow, Health, Hedge, Retry};

const MILLISECOND: Duration = Duration::from_millis(1);
const SHORTEST: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// Backends asked for one request: more would have been asked in vain.
const MOST_ATTEMPTS: usize = 16;

/// The key `health`, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileHealth {
    interval: Option<Time>,
    timeout: Option<Time>,
    rise: Option<Count>,
    fall: Option<Count>,
    ready_path: Option<String>,
    query: Option<String>,
    max_staleness: Option<Time>,
    warm_up: Option<Time>,
    warm_up_targets: Option<Share>,
    consecutive_failures: Option<Count>,
    ejection: Option<Time>,
    max_ejection: Option<Time>,
    max_ejected: Option<Share>,
}

/// As many as `u32` has, and no more than anybody counts to.
fn count(key: &str, written: Option<Count>, default: u32) -> Result<u32, String> {
    let default_held = usize::try_from(default).unwrap_or(1);
    let held = bounded(key, written, default_held, 1..=1_000_000)?;
    Ok(u32::try_from(held).unwrap_or(default))
}

impl FileHealth {
    /// What is meant.
    ///
    /// # Errors
    /// Which key, and why.
    pub(super) fn resolve(self) -> Result<Health, String> {
        let default = Health::default();
        let ready_path = self.ready_path.unwrap_or(default.ready_path);
        let is_path =
            ready_path.starts_with('/') && ready_path.bytes().all(|b| b.is_ascii_graphic());
        if !ready_path.is_empty() && (!is_path || ready_path.contains(['#', '?'])) {
            return Err(
                "health.ready_path: expected a path, or nothing to ask for none".to_owned(),
            );
        }
        if self
            .query
            .as_ref()
            .is_some_and(|query| query.trim().is_empty())
        {
            return Err("health.query: expected PromQL: leave it out for our own".to_owned());
        }
        let health = Health {
            interval: bounded(
                "health.interval",
                self.interval,
                default.interval,
                SHORTEST..=10 * MINUTE,
            )?,
            timeout: bounded(
                "health.timeout",
                self.timeout,
                default.timeout,
                SHORTEST..=MINUTE,
            )?,
            rise: count("health.rise", self.rise, default.rise)?,
            fall: count("health.fall", self.fall, default.fall)?,
            ready_path,
            query: self.query,
            max_staleness: bounded(
                "health.max_staleness",
                self.max_staleness,
                default.max_staleness,
                SECOND..=30 * DAY,
            )?,
            warm_up: bounded(
                "health.warm_up",
                self.warm_up,
                default.warm_up,
                Duration::ZERO..=DAY,
            )?,
            warm_up_targets: bounded(
                "health.warm_up_targets",
                self.warm_up_targets,
                default.warm_up_targets,
                0.0..=1.0,
            )?,
            consecutive_failures: count(
                "health.consecutive_failures",
                self.consecutive_failures,
                default.consecutive_failures,
            )?,
            ejection: bounded(
                "health.ejection",
                self.ejection,
                default.ejection,
                SHORTEST..=DAY,
            )?,
            max_ejection: bounded(
                "health.max_ejection",
                self.max_ejection,
                default.max_ejection,
                SHORTEST..=DAY,
            )?,
            max_ejected: bounded(
                "health.max_ejected",
                self.max_ejected,
                default.max_ejected,
                0.0..=1.0,
            )?,
        };
        if health.max_ejection < health.ejection {
            let [most, first] =
                [health.max_ejection, health.ejection].map(humantime::format_duration);
            return Err(format!(
                "health.max_ejection: {most} is below health.ejection ({first})"
            ));
        }
        Ok(health)
    }
}

/// The key `retry`, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileRetry {
    attempts: Option<Count>,
    budget: Option<Share>,
    header_timeout: Option<Time>,
}

impl FileRetry {
    /// What is meant.
    ///
    /// # Errors
    /// Which key, and why.
    pub(super) fn resolve(self) -> Result<Retry, String> {
        let default = Retry::default();
        let header_timeout = self.header_timeout.map(|written| {
            bounded(
                "retry.header_timeout",
                Some(written),
                SECOND,
                SHORTEST..=DAY,
            )
        });
        Ok(Retry {
            attempts: bounded(
                "retry.attempts",
                self.attempts,
                default.attempts,
                1..=MOST_ATTEMPTS,
            )?,
            budget: bounded("retry.budget", self.budget, default.budget, 0.0..=1.0)?,
            header_timeout: header_timeout.transpose()?,
        })
    }
}

/// The key `hedge`, as written. That it is there turns it on: `hedge: {}`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileHedge {
    quantile: Option<Share>,
    min: Option<Time>,
    max: Option<Time>,
    budget: Option<Share>,
}

impl FileHedge {
    /// What is meant.
    ///
    /// # Errors
    /// Which key, and why.
    pub(super) fn resolve(self) -> Result<Hedge, String> {
        let default = Hedge::default();
        let hedge = Hedge {
            quantile: bounded(
                "hedge.quantile",
                self.quantile,
                default.quantile,
                0.5..=0.999,
            )?,
            min: bounded("hedge.min", self.min, default.min, MILLISECOND..=DAY)?,
            max: bounded("hedge.max", self.max, default.max, MILLISECOND..=DAY)?,
            budget: bounded("hedge.budget", self.budget, default.budget, 0.0..=1.0)?,
        };
        if hedge.max < hedge.min {
            let [most, least] = [hedge.max, hedge.min].map(humantime::format_duration);
            return Err(format!("hedge.max: {most} is below hedge.min ({least})"));
        }
        Ok(hedge)
    }
}

/// The key `allow`, as written: `{write: true, unknown: false}`.
#[derive(Debug, Default)]
pub(super) struct FileAllow(Allowed);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Allowed {
    write: Option<bool>,
    admin: Option<bool>,
    lifecycle: Option<bool>,
    debug: Option<bool>,
    unknown: Option<bool>,
}

impl<'de> Deserialize<'de> for FileAllow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A list is near at hand, and the parser's own words for it help nobody.
        deserializer.deserialize_any(Mapping)
    }
}

struct Mapping;

impl<'de> Visitor<'de> for Mapping {
    type Value = FileAllow;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping, as in {write: true}")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FileAllow, A::Error> {
        Allowed::deserialize(MapAccessDeserializer::new(map)).map(FileAllow)
    }
}

impl FileAllow {
    /// What is meant.
    pub(super) fn resolve(self) -> Allow {
        let (written, default) = (self.0, Allow::default());
        Allow {
            write: written.write.unwrap_or(default.write),
            admin: written.admin.unwrap_or(default.admin),
            lifecycle: written.lifecycle.unwrap_or(default.lifecycle),
            debug: written.debug.unwrap_or(default.debug),
            unknown: written.unknown.unwrap_or(default.unknown),
        }
    }
}
