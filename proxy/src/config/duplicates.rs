//! What happens when two machines claim one name.

use adit_common::name::Name;
use serde::Deserialize;

use super::pattern::Pattern;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
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
