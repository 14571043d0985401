//! Clients: what each shows, and the names it may take for it.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use adit_common::config_file::Parsed;
use adit_common::name::Name;
use adit_common::secret::{Digest, Secret, SecretError};
use adit_common::web_config::{PasswordHash, San};
use serde::Deserialize;

use super::SanPattern;
use crate::config::pattern::Pattern;

/// An entry of `auth.clients`, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileClient {
    /// For logs; the credential itself is never shown.
    id: Option<String>,
    token_file: Option<PathBuf>,
    token_sha256: Option<Parsed<Digest>>,
    basic: Option<FileBasic>,
    san: Option<Parsed<SanPattern>>,
    names: Vec<Parsed<NameRule>>,
    sessions: Option<NonZeroUsize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileBasic {
    username: String,
    password_hash: PasswordHash,
}

/// What a client shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A token, known by its digest.
    Token(Digest),
    /// A user with a password.
    Basic {
        /// Who.
        user: String,
        /// Known by it.
        hash: PasswordHash,
    },
    /// A certificate with a name that matches.
    San(SanPattern),
}

/// Somebody who may open tunnels and poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// For people.
    pub id: String,
    /// What it shows.
    pub shown: Shown,
    /// What it may be called.
    pub names: Vec<NameRule>,
    /// Most sessions at once; nothing: the limit of all.
    pub sessions: Option<NonZeroUsize>,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clients {
    tokens: HashMap<String, Arc<Client>>,
    users: HashMap<String, Arc<Client>>,
    sans: Vec<(SanPattern, Arc<Client>)>,
}

impl Clients {
    /// No two may show the same token or be the same user.
    pub(super) fn new(clients: Vec<Client>) -> Result<Self, String> {
        let mut all = Self::default();
        for client in clients {
            let client = Arc::new(client);
            let twice = match &client.shown {
                Shown::Token(digest) => all.tokens.insert(digest.to_string(), Arc::clone(&client)),
                Shown::Basic { user, .. } => all.users.insert(user.clone(), Arc::clone(&client)),
                Shown::San(pattern) => {
                    all.sans.push((pattern.clone(), Arc::clone(&client)));
                    None
                }
            };
            if let Some(other) = twice {
                return Err(format!("{} and {} show the same", other.id, client.id));
            }
        }
        Ok(all)
    }

    /// Whose token has this digest. Looking it up may take any time: nobody can choose a digest.
    pub fn by_token(&self, digest: &Digest) -> Option<&Arc<Client>> {
        self.tokens.get(&digest.to_string())
    }

    /// Who has this user's name.
    pub fn by_user(&self, user: &str) -> Option<&Arc<Client>> {
        self.users.get(user)
    }

    /// The first that this name in a certificate is for.
    pub fn by_san(&self, san: &San) -> Option<&Arc<Client>> {
        let found = self.sans.iter().find(|(pattern, _)| pattern.matches(san));
        found.map(|(_, client)| client)
    }

    /// What checking an unknown user's password costs.
    pub fn cost(&self) -> Option<u32> {
        let hashes = self
            .users
            .values()
            .filter_map(|client| match &client.shown {
                Shown::Basic { hash, .. } => Some(hash.cost()),
                _ => None,
            });
        hashes.max()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tokens.len() + self.users.len() + self.sans.len()
    }

    /// Whether nobody may come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Client {
    /// Everybody who has the one token, under any name.
    pub(super) fn of_token_file(path: &Path) -> Result<Self, SecretError> {
        Ok(Self {
            id: "token-file".to_owned(),
            shown: Shown::Token(Secret::read(path)?.digest()),
            names: vec![NameRule::Pattern(Pattern::Any)],
            sessions: None,
        })
    }
}

impl FileClient {
    pub(super) fn resolve(self, directory: &Path) -> Result<Client, String> {
        const ONE: &str = "expected one of token_file, token_sha256, basic, san";
        let mut shown = Vec::new();
        if let Some(file) = self.token_file {
            let secret = Secret::read(&directory.join(file));
            let secret = secret.map_err(|error| format!("token_file: {error}"))?;
            shown.push(Shown::Token(secret.digest()));
        }
        shown.extend(self.token_sha256.map(|digest| Shown::Token(digest.0)));
        if let Some(basic) = self.basic {
            if basic.username.contains(':') {
                return Err("basic: a username has no colon".to_owned());
            }
            shown.push(Shown::Basic {
                user: basic.username,
                hash: basic.password_hash,
            });
        }
        shown.extend(self.san.map(|san| Shown::San(san.0)));
        let [shown] = <[Shown; 1]>::try_from(shown).map_err(|_| ONE.to_owned())?;
        let names: Vec<NameRule> = self.names.into_iter().map(|rule| rule.0).collect();
        if names.is_empty() {
            return Err("names: expected the names it may take, \"*\" for all".to_owned());
        }
        let wants_san = names
            .iter()
            .any(|rule| matches!(rule, NameRule::Template { .. }));
        if wants_san && !matches!(shown, Shown::San(_)) {
            return Err("names: {san} is for entries with a san".to_owned());
        }
        let id = self.id.unwrap_or_else(|| match &shown {
            Shown::Token(digest) => format!("{digest:?}"),
            Shown::Basic { user, .. } => user.clone(),
            Shown::San(SanPattern::Any) => "*".to_owned(),
            Shown::San(SanPattern::Exact(san)) => san.clone(),
            Shown::San(SanPattern::Below(suffix)) => format!("*.{suffix}"),
        });
        Ok(Client {
            id,
            shown,
            names,
            sessions: self.sessions,
        })
    }
}

/// Some names, which may depend on who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameRule {
    /// These.
    Pattern(Pattern),
    /// Those that come of putting the certificate's name between the two.
    Template {
        /// Before `{san}`.
        before: String,
        /// Behind it.
        after: String,
    },
}

const SAN: &str = "{san}";

impl NameRule {
    /// What it comes to for whoever has shown `san`; nothing, when that makes no name.
    pub fn pattern(&self, san: Option<&str>) -> Option<Pattern> {
        match self {
            Self::Pattern(pattern) => Some(pattern.clone()),
            Self::Template { before, after } => {
                let san = san.filter(|san| !san.contains('*'))?;
                format!("{before}{san}{after}").parse().ok()
            }
        }
    }
}

impl FromStr for NameRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((before, after)) = text.split_once(SAN) else {
            let pattern = text.parse::<Pattern>();
            return pattern
                .map(Self::Pattern)
                .map_err(|error| error.to_string());
        };
        if after.contains(SAN) {
            return Err("{san} may stand there once".to_owned());
        }
        // With any name in it, it must be one.
        let example = format!("{before}x{after}").parse::<Pattern>();
        example.map_err(|error| error.to_string())?;
        Ok(Self::Template {
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// Whether one of these covers the name.
pub fn covers(patterns: &[Pattern], name: &Name) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::access::{Access, FileAuth};

    const HASH: &str = "$2y$04$GuMpKVBMiGAN7aGyg1uSVuVwLAZ7CBrFhWVjqKFdiudD3m2RczPYK";

    fn access(text: &str) -> Result<Access, String> {
        let file: FileAuth = adit_common::config_file::parse(text)?;
        file.resolve(Path::new("/nonexistent"), None)
    }

    #[test]
    fn each_is_found_by_what_it_shows() {
        let digest = Digest::of(b"s3cret");
        let access = access(&format!(
            "clients:\n\
             - {{id: seven, token_sha256: {digest}, names: ['*.site-7', nas], sessions: 2}}\n\
             - {{basic: {{username: pushprox, password_hash: '{HASH}'}}, names: ['*']}}\n\
             - {{san: '*.sites.example', names: ['{{san}}', '*.{{san}}']}}\n"
        ))
        .unwrap();
        let clients = access.clients.unwrap();
        let seven = clients.by_token(&Digest::of(b"s3cret")).unwrap();
        assert_eq!(
            (seven.id.as_str(), seven.sessions.unwrap().get()),
            ("seven", 2)
        );
        assert!(clients.by_token(&Digest::of(b"")).is_none());
        assert_eq!(clients.by_user("pushprox").unwrap().id, "pushprox");
        assert_eq!(clients.cost(), Some(4));
        let dns = |name: &str| San::Dns(name.to_owned());
        let site = clients.by_san(&dns("seven.Sites.example")).unwrap();
        let patterns: Vec<Pattern> = site
            .names
            .iter()
            .filter_map(|rule| rule.pattern(Some("seven.sites.example")))
            .collect();
        for (name, covered) in [
            ("seven.sites.example", true),
            ("pi.seven.sites.example", true),
            ("eight.sites.example", false),
            ("sites.example", false),
        ] {
            assert_eq!(covers(&patterns, &name.parse().unwrap()), covered, "{name}");
        }
        assert!(clients.by_san(&dns("sites.example")).is_none());
    }

    #[test]
    fn a_certificates_name_cannot_widen_a_rule() {
        let rule: NameRule = "*.{san}".parse().unwrap();
        for san in ["", "*", ".", "a b", "*.com", "https://x"] {
            assert_eq!(rule.pattern(Some(san)), None, "{san}");
        }
        assert_eq!(rule.pattern(None), None);
    }

    #[test]
    fn what_is_written_wrong_is_named() {
        let digest = Digest::of(b"");
        for (text, says) in [
            (
                "clients: [{names: ['*']}]",
                "auth.clients[0]: expected one of token_file",
            ),
            (
                &format!("clients: [{{token_sha256: {digest}, san: a, names: ['*']}}]"),
                "expected one of",
            ),
            (
                "clients: [{token_sha256: abc, names: ['*']}]",
                "64 hexadecimal",
            ),
            (
                &format!("clients: [{{token_sha256: {digest}}}]"),
                "\"names\" is missing",
            ),
            (
                &format!("clients: [{{token_sha256: {digest}, names: []}}]"),
                "names it may take",
            ),
            (
                &format!("clients: [{{token_sha256: {digest}, names: ['{{san}}']}}]"),
                "with a san",
            ),
            ("clients: [{san: a, names: ['{san}{san}']}]", "once"),
            ("clients: [{san: a, names: ['a {san}']}]", "must not stand"),
            (
                "clients: [{token_file: tok, names: ['*']}]",
                "/nonexistent/tok: No such file",
            ),
            (
                "clients: [{basic: {username: x, password_hash: s3cret}, names: ['*']}]",
                "bcrypt",
            ),
            ("clients: [{san: '*x', names: ['*']}]", "in a certificate"),
            (
                &format!(
                    "clients: [{{id: a, token_sha256: {digest}, names: ['*']}}, \
                     {{id: b, token_sha256: {digest}, names: ['*']}}]"
                ),
                "a and b show the same",
            ),
        ] {
            let error = access(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
