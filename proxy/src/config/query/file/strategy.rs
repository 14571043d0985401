//! Which backend is best, and who stays with whom.

use std::str::FromStr;
use std::time::Duration;

use adit_common::config_file::Parsed;
use http::HeaderName;
use serde::Deserialize;

use super::values::Share;
use crate::config::limits::{Count, Time, bounded};
use crate::config::query::{Affinity, Cookie, DataMetric, MostData, Strategy};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const TEN_YEARS: Duration = Duration::from_secs(3650 * 86_400);

/// `most-data`, or `min-history:24h`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FileStrategy(Strategy);

impl FromStr for FileStrategy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "expected most-data, min-history:DURATION, random, round-robin, \
                            first-available, least-loaded or consistent-hash";
        let strategy = match text {
            "most-data" => Strategy::default(),
            "random" => Strategy::Random,
            "round-robin" => Strategy::RoundRobin,
            "first-available" => Strategy::FirstAvailable {
                fail_back: Duration::from_secs(60),
            },
            "least-loaded" => Strategy::LeastLoaded,
            "consistent-hash" => Strategy::ConsistentHash,
            text => {
                let duration = text.strip_prefix("min-history:").ok_or(FORM)?;
                let duration = humantime::parse_duration(duration.trim());
                let duration = duration.ok().filter(|d| (SECOND..=TEN_YEARS).contains(d));
                let duration =
                    duration.ok_or("expected min-history:DURATION, as in min-history:24h")?;
                Strategy::MinHistory(duration, MostData::default())
            }
        };
        Ok(Self(strategy))
    }
}

/// What "most" means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileMostData {
    #[serde(default)]
    metric: Option<FileMetric>,
    #[serde(default)]
    hysteresis: Option<Share>,
    #[serde(default)]
    hold: Option<Count>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FileMetric {
    Auto,
    History,
    StoredSamples,
    IngestedSamples,
}

/// Who stays with whom: a word, or `header: FIELD`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FileAffinity {
    Primary,
    Cookie,
    SourceAddress,
    Header(Parsed<HeaderName>),
}

/// The cookie's attributes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileCookie {
    name: Option<String>,
    path: Option<String>,
    max_age: Option<Time>,
}

/// How much of an address counts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileSourceAddress {
    ipv4_prefix: Option<Count>,
    ipv6_prefix: Option<Count>,
}

/// What a pool says of it.
#[derive(Debug, Default)]
pub(super) struct FileChoice {
    pub(super) strategy: Option<Parsed<FileStrategy>>,
    pub(super) most_data: Option<FileMostData>,
    pub(super) fail_back: Option<Time>,
    pub(super) affinity: Option<Vec<FileAffinity>>,
    pub(super) cookie: Option<FileCookie>,
    pub(super) source_address: Option<FileSourceAddress>,
}

impl FileChoice {
    /// What it comes to, for a pool below `prefix`.
    ///
    /// # Errors
    /// Which key, and why.
    pub(super) fn resolve(mut self, prefix: &str) -> Result<(Strategy, Vec<Affinity>), String> {
        let strategy = strategy(&mut self)?;
        let affinity = affinity(self, &strategy, prefix)?;
        Ok((strategy, affinity))
    }
}

fn strategy(choice: &mut FileChoice) -> Result<Strategy, String> {
    let written = choice.strategy.take().map(|written| written.0.0);
    let mut strategy = written.unwrap_or_default();
    let most_data = choice.most_data.take();
    let fail_back = choice.fail_back.take();
    if most_data.is_some() && !matches!(strategy, Strategy::MostData(_) | Strategy::MinHistory(..))
    {
        return Err("most_data: is only for strategy most-data and min-history".to_owned());
    }
    if fail_back.is_some() && !matches!(strategy, Strategy::FirstAvailable { .. }) {
        return Err("fail_back: is only for strategy first-available".to_owned());
    }
    match &mut strategy {
        Strategy::MostData(meant) | Strategy::MinHistory(_, meant) => {
            if let Some(written) = most_data {
                *meant = written.resolve()?;
            }
        }
        Strategy::FirstAvailable { fail_back: meant } => {
            *meant = bounded("fail_back", fail_back, *meant, Duration::ZERO..=DAY)?;
        }
        _ => {}
    }
    Ok(strategy)
}

impl FileMostData {
    fn resolve(self) -> Result<MostData, String> {
        let default = MostData::default();
        let hold = bounded("most_data.hold", self.hold, 3, 1..=1000)?;
        let hysteresis = self.hysteresis;
        Ok(MostData {
            metric: match self.metric {
                None | Some(FileMetric::Auto) => DataMetric::Auto,
                Some(FileMetric::History) => DataMetric::History,
                Some(FileMetric::StoredSamples) => DataMetric::StoredSamples,
                Some(FileMetric::IngestedSamples) => DataMetric::IngestedSamples,
            },
            hysteresis: bounded(
                "most_data.hysteresis",
                hysteresis,
                default.hysteresis,
                0.0..=1.0,
            )?,
            hold: u32::try_from(hold).unwrap_or(default.hold),
        })
    }
}

/// Without any, what goes with the strategy.
fn affinity(
    choice: FileChoice,
    strategy: &Strategy,
    prefix: &str,
) -> Result<Vec<Affinity>, String> {
    let FileChoice {
        cookie,
        source_address,
        affinity: written,
        ..
    } = choice;
    let is_default = written.is_none();
    let mut affinity = match written {
        None => strategy.usual_affinity(),
        Some(written) => written.into_iter().map(FileAffinity::plain).collect(),
    };
    for (index, one) in affinity.iter().enumerate() {
        let is_twice = |other: &Affinity| match (one, other) {
            (Affinity::Header(one), Affinity::Header(other)) => one == other,
            _ => std::mem::discriminant(one) == std::mem::discriminant(other),
        };
        if affinity[..index].iter().any(is_twice) {
            return Err("affinity: the same stands here twice: keep one".to_owned());
        }
    }
    let meant = affinity
        .iter_mut()
        .find(|one| matches!(one, Affinity::Cookie(_)));
    match (cookie, meant) {
        (written, Some(meant)) => {
            *meant = Affinity::Cookie(written.unwrap_or_default().resolve(prefix)?);
        }
        (Some(_), None) => return Err("cookie: is only for affinity cookie".to_owned()),
        (None, None) => {}
    }
    let is_source = |one: &&mut Affinity| matches!(one, Affinity::SourceAddress { .. });
    match (source_address, affinity.iter_mut().find(is_source)) {
        (Some(written), Some(meant)) => *meant = written.resolve()?,
        (Some(_), None) => {
            return Err("source_address: is only for affinity source-address".to_owned());
        }
        (None, _) => {}
    }
    let has_key =
        |one: &Affinity| matches!(one, Affinity::SourceAddress { .. } | Affinity::Header(_));
    if !is_default && *strategy == Strategy::ConsistentHash && !affinity.iter().any(has_key) {
        return Err(
            "affinity: consistent-hash needs a key: add source-address, or header: FIELD"
                .to_owned(),
        );
    }
    Ok(affinity)
}

impl FileAffinity {
    /// With the defaults of its own keys.
    fn plain(self) -> Affinity {
        match self {
            Self::Primary => Affinity::Primary,
            Self::Cookie => Affinity::Cookie(Cookie::default()),
            Self::SourceAddress => Affinity::whole_address(),
            Self::Header(name) => Affinity::Header(name.0),
        }
    }
}

impl FileCookie {
    /// Below the pool's `prefix`: what two pools of one host give a browser would else take the place
    /// of each other.
    fn resolve(self, prefix: &str) -> Result<Cookie, String> {
        let default = Cookie::default();
        let legal = |c: char| c.is_ascii_graphic() && c != ';';
        let below = match prefix.is_empty() || !prefix.chars().all(legal) {
            true => default.path,
            false => prefix.to_owned(),
        };
        let name = self.name.unwrap_or(default.name);
        // RFC 6265 §4.1.1: a token. So is the name of a field.
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err("cookie.name: expected letters, digits, '-', '_' and '.'".to_owned());
        }
        let path = self.path.unwrap_or(below);
        if !path.starts_with('/') || !path.chars().all(legal) {
            return Err("cookie.path: expected a path, as in /".to_owned());
        }
        let max_age = self
            .max_age
            .map(|written| bounded("cookie.max_age", Some(written), SECOND, SECOND..=TEN_YEARS));
        Ok(Cookie {
            name,
            path,
            max_age: max_age.transpose()?,
        })
    }
}

impl FileSourceAddress {
    fn resolve(self) -> Result<Affinity, String> {
        let prefix = |key: &str, written: Option<Count>, most: u8| {
            let key = format!("source_address.{key}");
            let bits = bounded(&key, written, most.into(), 1..=most.into());
            bits.map(|bits| u8::try_from(bits).unwrap_or(most))
        };
        Ok(Affinity::SourceAddress {
            ipv4_prefix: prefix("ipv4_prefix", self.ipv4_prefix, 32)?,
            ipv6_prefix: match self.ipv6_prefix {
                None => 64,
                written => prefix("ipv6_prefix", written, 128)?,
            },
        })
    }
}
