//! Single values, as they are written.

use std::str::FromStr;
use std::time::Duration;

use adit_common::config_file::Parsed;
use adit_common::target::Scheme;
use http::Uri;
use serde::Deserialize;

use crate::config::limits::{Kind, Time, bounded};
use crate::config::prefix::prefix;

/// `5%`, or `0.05`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Share(f64);

impl TryFrom<String> for Share {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const FORM: &str = "expected a share like 5% or 0.05";
        let (number, of) = match text.strip_suffix('%') {
            Some(number) => (number.trim_end(), 100.0),
            None => (&*text, 1.0),
        };
        // `f64::from_str` takes inf and NaN as well.
        let plain = |c: char| c.is_ascii_digit() || c == '.';
        if !number.chars().all(plain) {
            return Err(FORM);
        }
        number
            .parse::<f64>()
            .map(|number| Self(number / of))
            .map_err(|_| FORM)
    }
}

impl Kind for Share {
    type Held = f64;

    fn held(self) -> f64 {
        self.0
    }

    fn show(held: f64) -> String {
        // 0.07 is no number of percent without rest.
        format!("{}%", (held * 1e8).round() / 1e6)
    }
}

/// A path below which something is; [`prefix`].
#[derive(Debug)]
pub(super) struct PathPrefix(String);

impl FromStr for PathPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        prefix(text).map(Self)
    }
}

/// What it is; nothing, where none is written.
pub(super) fn path_prefix(written: Option<Parsed<PathPrefix>>) -> String {
    written.map_or_else(String::new, |prefix| prefix.0.0)
}

/// Where a server of somebody else's is that tells where backends are.
#[derive(Debug)]
pub(super) struct ServerUrl(pub(super) String);

impl FromStr for ServerUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "expected http(s)://HOST[:PORT][/PATH]";
        let uri: Uri = text.parse().map_err(|_| FORM)?;
        uri.scheme_str().and_then(Scheme::parse).ok_or(FORM)?;
        let authority = uri.authority().ok_or(FORM)?;
        if authority.as_str().contains('@') {
            return Err(
                "a user or password does not belong in this URL: put it into a file, and \
                        name that by basic_auth or authorization",
            );
        }
        if authority.host().is_empty() || text.contains('#') {
            return Err(FORM);
        }
        Ok(Self(text.to_owned()))
    }
}

/// What may name a pool or a backend: for metrics and people, and in header fields.
///
/// # Errors
/// With what would be one.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    match !name.is_empty() && name.len() <= 128 && name.chars().all(legal) {
        true => Ok(()),
        false => Err("name: expected up to 128 letters, digits, '-', '_', '.' and ':'".to_owned()),
    }
}

/// Shorter than anybody needs; tests are in a hurry.
const SHORTEST: Duration = Duration::from_millis(100);
const DAY: Duration = Duration::from_secs(86_400);

/// How often a source is asked.
///
/// # Errors
/// When that is too often or too seldom.
pub(super) fn refresh(written: Option<Time>, default: u64) -> Result<Duration, String> {
    bounded(
        "refresh",
        written,
        Duration::from_secs(default),
        SHORTEST..=DAY,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_percent_or_a_fraction() {
        for (text, share, shown) in [
            ("5%", 0.05, "5%"),
            ("0.05", 0.05, "5%"),
            ("0", 0.0, "0%"),
            ("100 %", 1.0, "100%"),
            ("7%", 0.07, "7%"),
            ("12.5%", 0.125, "12.5%"),
        ] {
            let Share(read) = Share::try_from(text.to_owned()).unwrap();
            assert!((read - share).abs() < 1e-12, "{text}: {read}");
            assert_eq!(Share::show(read), shown);
        }
        for text in ["", "%", "-5%", "NaN", "inf", "1e3", "five", "5%%", "."] {
            assert!(Share::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_servers_url_has_no_secret_in_it() {
        assert!(
            "https://sd.example/prometheus?x=1"
                .parse::<ServerUrl>()
                .is_ok()
        );
        for text in [
            "sd.example",
            "ftp://sd.example",
            "http://",
            "http://x/#y",
            "http://u:s3cret@x",
        ] {
            let error = text.parse::<ServerUrl>().unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
