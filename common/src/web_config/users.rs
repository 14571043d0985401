//! Who may come in with a password, and what is kept of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::written::Hidden;
use crate::fault::one_line;
use crate::secret::Secret;

/// What an unknown user is charged where there is nobody to look like: exporter-toolkit's fake hash.
const DEFAULT_COST: u32 = 10;
const LEAST_COST: u32 = 4;
/// A check of it takes some 5 s and cannot be broken off; the next would take 10.
const MOST_COST: u32 = 16;

/// A bcrypt hash: `$2a$`, `$2b$`, `$2x$` or `$2y$`, as `htpasswd -nB` writes it. Passwords are
/// looked at as in Go: every byte counts, a NUL too, and what is behind the 72nd does not.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    text: Arc<str>,
    cost: u32,
}

impl PasswordHash {
    /// One that no password has, and that takes as long as others of its cost.
    pub(super) fn nobodys(cost: u32) -> Self {
        let cost = cost.clamp(LEAST_COST, MOST_COST);
        let text = format!("$2b${cost:02}${}", ".".repeat(53)).into();
        Self { text, cost }
    }

    /// The binary logarithm of how often the key is set up: each step doubles the time.
    pub fn cost(&self) -> u32 {
        self.cost
    }

    /// Whether this is the password. It takes its time, which its cost says, on this thread.
    pub(super) fn is_of(&self, password: &Secret) -> bool {
        bcrypt::verify(password.expose(), &self.text).unwrap_or(false)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl FromStr for PasswordHash {
    type Err = String;

    /// Never shows what it was given: it may be the password itself.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = bcrypt::HashParts::from_str(text)
            .map_err(|_| "expected a bcrypt hash, as `htpasswd -nB USER` writes it".to_owned())?;
        let cost = parts.get_cost();
        if !(LEAST_COST..=MOST_COST).contains(&cost) {
            return Err(format!(
                "a bcrypt hash of cost {cost}, expected {LEAST_COST} to {MOST_COST}"
            ));
        }
        let text = text.into();
        Ok(Self { text, cost })
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)
            .map_err(|_| serde::de::Error::custom("expected a bcrypt hash"))?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bcrypt({})", self.cost)
    }
}

/// The users of `basic_auth_users`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Users(BTreeMap<String, PasswordHash>);

impl Users {
    /// What is said below `basic_auth_users`; every hash is looked at, the error names its user.
    pub(super) fn read(written: &Hidden) -> Result<Self, String> {
        let mut users = BTreeMap::new();
        for (user, hash) in &written.0 {
            let wrong = |says: &str| {
                // Where the two were exchanged, the user is a hash.
                let user = if user.starts_with("$2") { "***" } else { user };
                let user = one_line(user);
                format!("basic_auth_users {user:?}: {says}")
            };
            // RFC 7617 §2: nobody could say it.
            if user.contains(':') || user.chars().any(char::is_control) {
                return Err(wrong("a user has neither colons nor control characters"));
            }
            let hash = hash.expose().parse().map_err(|says: String| wrong(&says))?;
            users.insert(user.clone(), hash);
        }
        Ok(Self(users))
    }

    /// The hash of this user's password.
    pub fn get(&self, user: &str) -> Option<&PasswordHash> {
        self.0.get(user)
    }

    /// Whether there is nobody, and so nobody is asked for a password.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who there is.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What an unknown user is charged, so as not to be told from a known one by the time it takes:
    /// the highest cost of all. (Whoever has a lower one can be told; give all the same.)
    pub fn cost(&self) -> u32 {
        let costs = self.0.values().map(PasswordHash::cost);
        costs.max().unwrap_or(DEFAULT_COST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTPASSWD: &str = "$2y$04$n6T7UFSZIm1Fb9zWJlrN1OTlcMq0ws/HrZ91OIivKK9Yk9TqCkg/K";

    fn users(user: &str, hash: &str) -> Result<Users, String> {
        let hash = Secret::new(hash.to_owned());
        Users::read(&Hidden(BTreeMap::from([(user.to_owned(), hash)])))
    }

    fn is(hash: &str, password: &str) -> bool {
        let hash: PasswordHash = hash.parse().unwrap();
        hash.is_of(&Secret::new(password.to_owned()))
    }

    #[test]
    fn hashes_of_every_version_are_checked() {
        assert!(is(HTPASSWD, "x") && !is(HTPASSWD, "y"));
        for version in ["2a", "2b", "2x"] {
            assert!(is(&HTPASSWD.replace("2y", version), "x"), "{version}");
        }
        let nobodys = PasswordHash::nobodys(4);
        assert_eq!(nobodys.text.parse(), Ok(nobodys.clone()));
        assert!(!nobodys.is_of(&Secret::new(String::new())));
    }

    #[test]
    fn passwords_are_looked_at_as_in_go() {
        let long = "0123456789".repeat(8);
        let hash = bcrypt::hash(&long, 4).unwrap();
        assert!(is(&hash, &long) && is(&hash, &long[..72]));
        assert!(!is(&hash, &long[..71]));
        // golang.org/x/crypto/bcrypt knows these apart: it counts bytes and seeks no end.
        let hash = bcrypt::hash("a\0b", 4).unwrap();
        assert!(is(&hash, "a\0b") && !is(&hash, "a\0c") && !is(&hash, "a"));
    }

    #[test]
    fn what_is_no_hash_is_said_and_not_shown() {
        let cost = |cost: &str| HTPASSWD.replace("$04$", cost);
        for (hash, says) in [
            ("s3cret", "expected a bcrypt hash"),
            ("", "expected a bcrypt hash"),
            ("$apr1$s3cret$x", "expected a bcrypt hash"),
            (&HTPASSWD[..59], "expected a bcrypt hash"),
            (&HTPASSWD.replace('n', "ä"), "expected a bcrypt hash"),
            (&HTPASSWD.replace('n', "!"), "expected a bcrypt hash"),
            (&cost("$03$"), "cost 3, expected 4 to 16"),
            (&cost("$17$"), "cost 17, expected 4 to 16"),
        ] {
            let error = users("prom", hash).unwrap_err();
            assert!(error.contains("basic_auth_users \"prom\": "), "{error}");
            assert!(error.contains(says), "{error}");
            assert!(
                !error.contains("s3cret") && !error.contains("UFSZ"),
                "{error}"
            );
        }
        let error = users(HTPASSWD, "prom").unwrap_err();
        assert!(!error.contains("UFSZ"), "{error}");
        for user in ["a:b", "a\nb"] {
            assert!(users(user, HTPASSWD).is_err());
        }
    }

    #[test]
    fn unknown_users_cost_what_the_dearest_costs() {
        assert_eq!(Users::default().cost(), 10);
        let some = users("prom", HTPASSWD).unwrap();
        assert_eq!((some.cost(), some.is_empty()), (4, false));
        assert_eq!(some.names().collect::<Vec<_>>(), ["prom"]);
        assert_eq!(some.get("prom").unwrap().cost(), 4);
        assert!(some.get("grafana").is_none());
        let shown = format!("{some:?}");
        assert_eq!(shown, "Users({\"prom\": bcrypt(4)})");
    }
}
