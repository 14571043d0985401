//! What happens when two machines claim one name.

use adit_common::name::{Name, NameError};
use serde::Deserialize;

/// When a name is claimed while another instance holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// The instance that started later has it; the other is told why, and waits long.
    #[default]
    Replace,
    /// Whoever has it keeps it until it leaves.
    Reject,
    /// All of them serve: the newest first, the others when it fails.
    Replicas,
}

/// The rule of every name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Of names that nothing else is said about.
    pub default: Duplicates,
    /// The first that matches counts.
    pub names: Vec<(Pattern, Duplicates)>,
}

impl Rules {
    /// The rule of this name.
    pub fn of(&self, name: &Name) -> Duplicates {
        let rule = self.names.iter().find(|(pattern, _)| pattern.matches(name));
        rule.map_or(self.default, |(_, duplicates)| *duplicates)
    }
}

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
    fn matches(&self, name: &Name) -> bool {
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

impl std::str::FromStr for Pattern {
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
    fn the_first_rule_that_matches_counts() {
        let rules = Rules {
            default: Duplicates::Reject,
            names: vec![
                (pattern("a.ha"), Duplicates::Replace),
                (pattern("*.ha"), Duplicates::Replicas),
            ],
        };
        for (name, duplicates) in [
            ("a.ha", Duplicates::Replace),
            ("b.ha", Duplicates::Replicas),
            ("pi", Duplicates::Reject),
        ] {
            assert_eq!(rules.of(&name.parse().unwrap()), duplicates, "{name}");
        }
    }
}
