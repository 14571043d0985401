//! How the file writes some names, and some targets.

use std::str::FromStr;

use adit_common::name::{Name, NameError};
use adit_common::target::Target;

/// Some names: `pi` is that one, `*.site-7` everything below it, `*` all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Every name.
    Any,
    /// Exactly this one.
    Exact(Name),
    /// What ends in a dot and this.
    Below(Name),
}

impl Pattern {
    /// Whether this name is one of them.
    pub fn matches(&self, name: &Name) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == name,
            Self::Below(suffix) => name
                .as_str()
                .strip_suffix(suffix.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty()),
        }
    }
}

impl FromStr for Pattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix('*') {
            Some("") => Ok(Self::Any),
            Some(rest) => match rest.strip_prefix('.') {
                Some(suffix) => suffix.parse().map(Self::Below),
                None => Err(NameError::Character('*')),
            },
            None => text.parse().map(Self::Exact),
        }
    }
}

/// Some targets: those of some names, on one port or on every one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetPattern {
    /// Whose.
    pub name: Pattern,
    /// Nothing: every port.
    pub port: Option<u16>,
}

impl TargetPattern {
    /// Whether this target is one of them.
    pub fn matches(&self, target: &Target) -> bool {
        self.port.is_none_or(|port| port == target.port) && self.name.matches(&target.name)
    }
}

/// Why a text is no [`TargetPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetPatternError {
    /// Its names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Its port.
    #[error("expected NAME, *.NAME or *, and a port behind a colon or none, as in *.site-7:9100")]
    Port,
}

impl FromStr for TargetPattern {
    type Err = TargetPatternError;

    fn from_str(text: &str) -> Result<Self, TargetPatternError> {
        let (name, port) = match text.rsplit_once(':') {
            // What stands in brackets has colons of its own.
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            _ => (text, None),
        };
        let port = match port {
            None => None,
            Some("*") => None,
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err(TargetPatternError::Port),
                Ok(port) => Some(port),
            },
        };
        Ok(Self {
            name: name.parse()?,
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn patterns_match_whole_labels() {
        for (text, name, matches) in [
            ("*", "pi", true),
            ("pi", "PI.", true),
            ("pi", "pie", false),
            ("*.site-7", "a.site-7", true),
            ("*.site-7", "a.b.site-7", true),
            ("*.site-7", "site-7", false),
            ("*.site-7", "asite-7", false),
            ("*.site-7", "a.site-70", false),
        ] {
            let matched = pattern(text).matches(&name.parse().unwrap());
            assert_eq!(matched, matches, "{text} {name}");
        }
        for text in ["", "*pi", "a.*", "*.", "a b"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn targets_are_matched_by_name_and_port() {
        for (text, target, matches) in [
            ("*", "pi:9100", true),
            ("*:9100", "pi:9100", true),
            ("*:9100", "pi:9101", false),
            ("pi", "pi:1", true),
            ("pi:*", "pi:1", true),
            ("PI.:9100", "pi:9100", true),
            ("pi:9100", "pie:9100", false),
            ("*.site-7:9100", "a.site-7:9100", true),
            ("*.site-7:9100", "a.site-70:9100", false),
            ("[fd00:0::1]:9100", "[fd00::1]:9100", true),
            ("[fd00::1]", "[fd00::1]:1", true),
        ] {
            let pattern: TargetPattern = text.parse().unwrap();
            assert_eq!(
                pattern.matches(&target.parse().unwrap()),
                matches,
                "{text} {target}"
            );
        }
        for text in [
            "", ":9100", "pi:0", "pi:x", "pi:65536", "pi:", "fd00::1", "*pi:1", "pi:-1",
        ] {
            assert!(text.parse::<TargetPattern>().is_err(), "{text}");
        }
    }
}
