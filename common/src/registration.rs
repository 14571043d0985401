//! What a client offers, and which run of it offers.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::name::Name;
use crate::target::{Scheme, Target};

/// Where the proxy asks for it inside the tunnel. The answer stays open: a JSON object a line.
pub const PATH: &str = "/registration";
/// Where the proxy tells the client that it routes to it from now on.
pub const ACCEPTED_PATH: &str = "/accepted";
/// Where the proxy tells the client to open its next tunnel: this one serves what still comes by it,
/// and the proxy closes it when its work is done.
pub const GOING_AWAY_PATH: &str = "/going-away";

/// Longest line, in bytes. A client with a thousand targets and ten labels each stays below a
/// third of it.
pub const MAX_LINE: usize = 1 << 20;
/// Most names of one client: the registry holds an entry for each.
pub const MAX_NAMES: usize = 1024;
/// Most targets of one client.
pub const MAX_TARGETS: usize = 4096;
/// Most labels on a target, or on all.
pub const MAX_LABELS: usize = 64;

/// What a client offers. Fields a newer client adds are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// What routes to this client.
    pub names: Vec<Name>,
    /// What may be scraped there, for service discovery; the client itself checks every scrape.
    #[serde(default)]
    pub targets: Vec<Offered>,
    /// Every port of the names is offered as well.
    #[serde(default)]
    pub any_port: bool,
    /// On every target of this client.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The client's version, for people.
    #[serde(default)]
    pub version: String,
}

/// A target with what service discovery says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// As a scraper names it.
    pub target: Target,
    /// What the target itself speaks, when the client knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// On this target alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Why a line is no registration.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// Over [`MAX_LINE`].
    #[error("the registration is longer than {MAX_LINE} bytes")]
    TooLong,
    /// No JSON, or not of this shape.
    #[error("the registration is not understood: {0}")]
    Syntax(String),
    /// More of something than we hold.
    #[error("the registration has {found} {what}, {limit} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many may be.
        limit: usize,
    },
    /// No name: nothing could ever route to this client.
    #[error("the registration has no name")]
    NoName,
}

impl Registration {
    /// One line of JSON with its line end.
    pub fn to_line(&self) -> Vec<u8> {
        // Strings, numbers and maps with string keys: serialising them cannot fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Reads one line, without its end, and holds it against the limits.
    pub fn from_line(line: &[u8]) -> Result<Self, RegistrationError> {
        if line.len() > MAX_LINE {
            return Err(RegistrationError::TooLong);
        }
        let registration: Self = serde_json::from_slice(line).map_err(|error| {
            // serde_json quotes what it read: one line of it, and not a megabyte.
            RegistrationError::Syntax(crate::fault::one_line(&error.to_string()))
        })?;
        registration.check()?;
        Ok(registration)
    }

    fn check(&self) -> Result<(), RegistrationError> {
        if self.names.is_empty() {
            return Err(RegistrationError::NoName);
        }
        let most_labels = self
            .targets
            .iter()
            .map(|offered| offered.labels.len())
            .fold(self.labels.len(), usize::max);
        for (what, found, limit) in [
            ("names", self.names.len(), MAX_NAMES),
            ("targets", self.targets.len(), MAX_TARGETS),
            ("labels on one target", most_labels, MAX_LABELS),
        ] {
            if found > limit {
                return Err(RegistrationError::TooMany { what, found, limit });
            }
        }
        Ok(())
    }
}

/// One run of a client: sessions of the same instance never compete for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instance {
    /// Random for each run.
    pub id: Uuid,
    /// When it started, in milliseconds since 1970, by its own clock. The newer of two wins.
    pub started: u64,
}

impl Instance {
    /// This run, from now on.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            id: Uuid::new_v4(),
            started: since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{}", self.id, self.started)
    }
}

/// Not `<uuid>;<milliseconds>`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected <uuid>;<start, milliseconds since 1970>")]
pub struct InstanceError;

impl FromStr for Instance {
    type Err = InstanceError;

    fn from_str(text: &str) -> Result<Self, InstanceError> {
        let (id, started) = text.split_once(';').ok_or(InstanceError)?;
        Ok(Self {
            id: id.trim().parse().map_err(|_| InstanceError)?,
            started: started.trim().parse().map_err(|_| InstanceError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registration() -> Registration {
        Registration {
            names: vec!["pi".parse().unwrap(), "[fd00::1]".parse().unwrap()],
            targets: vec![Offered {
                target: "pi:9100".parse().unwrap(),
                scheme: Some(Scheme::Https),
                labels: BTreeMap::from([("job".into(), "node".into())]),
            }],
            any_port: true,
            labels: BTreeMap::new(),
            version: "0.1.0".into(),
        }
    }

    #[test]
    fn a_line_comes_back_as_it_went() {
        let line = registration().to_line();
        let (end, line) = line.split_last().unwrap();
        assert_eq!(*end, b'\n');
        assert!(!line.contains(&b'\n'));
        assert_eq!(Registration::from_line(line).unwrap(), registration());
    }

    #[test]
    fn unknown_fields_are_ignored_and_missing_ones_defaulted() {
        let read = Registration::from_line(br#"{"names":["PI."],"colour":{"deep":[1]}}"#).unwrap();
        assert_eq!(read.names[0].as_str(), "pi");
        assert!(!read.any_port && read.targets.is_empty());
    }

    #[test]
    fn what_is_no_registration_says_why() {
        for (line, says) in [
            (&b"hello"[..], "not understood"),
            (b"", "not understood"),
            (b"[]", "not understood"),
            (b"{\"names\":[\"a\\u001bb\"]}", "must not stand in a name"),
            (b"{\"names\":[\"a\\nb\"]}", "must not stand in a name"),
            (b"{\"names\":[]}", "no name"),
            (
                b"{\"names\":[\"a\"],\"targets\":[{\"target\":\"a\"}]}",
                "expected HOST:PORT",
            ),
        ] {
            let error = Registration::from_line(line).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(
                error.bytes().all(|b| (b' '..=b'~').contains(&b)),
                "{error:?}"
            );
        }
        let long = vec![b' '; MAX_LINE + 1];
        assert!(matches!(
            Registration::from_line(&long),
            Err(RegistrationError::TooLong)
        ));
        let many = Registration {
            names: (0..=MAX_NAMES)
                .map(|n| format!("n{n}").parse().unwrap())
                .collect(),
            ..registration()
        };
        let error = Registration::from_line(&many.to_line())
            .unwrap_err()
            .to_string();
        assert_eq!(error, "the registration has 1025 names, 1024 are allowed");
    }

    #[test]
    fn an_instance_crosses_in_a_header() {
        let instance = Instance::now();
        assert_eq!(instance.to_string().parse(), Ok(instance));
        for text in [
            "",
            ";",
            "x;1",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479;-1",
        ] {
            assert_eq!(text.parse::<Instance>(), Err(InstanceError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Registration::from_line(&line);
        }
    }
}
