//! Who may what, as the file's `auth` and `--auth.token-file` say.
//!
//! [`clients`] are those who may open tunnels and poll, each with the names it may take; [`scrapers`]
//! those who may scrape, see pages and query pools. Who *is* somebody is found out by `crate::auth`.

pub mod clients;
pub mod scrapers;

use std::path::Path;

use adit_common::web_config::San;
use serde::Deserialize;

use self::clients::{Client, Clients, FileClient};
use self::scrapers::{FileScraper, Scraper};
use crate::config::query::Query;

/// The key `auth`, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileAuth {
    /// Those who may open tunnels.
    clients: Option<Vec<FileClient>>,
    /// Those who may scrape and see pages.
    scrapers: Option<Vec<FileScraper>>,
}

/// Who may what. By default nothing is said, and it is up to the web configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Nothing: whoever the web configuration lets in, under any name.
    pub clients: Option<Clients>,
    /// Nothing: whoever the web configuration lets in, to everything.
    pub scrapers: Option<Vec<Scraper>>,
}

impl Access {
    /// Rights on what is not there are a mistake. Where there is no query side they may wait for one.
    ///
    /// # Errors
    /// Which entry names what, and the pools there are.
    pub(super) fn check_pools(&self, query: &Query) -> Result<(), String> {
        let pools: Vec<&str> = query.pools.iter().map(|pool| &*pool.name).collect();
        if pools.is_empty() {
            return Ok(());
        }
        for (index, scraper) in self.scrapers.iter().flatten().enumerate() {
            if let Some(other) = scraper.rights.pools().find(|name| !pools.contains(name)) {
                return Err(format!(
                    "auth.scrapers[{index}].pools: there is no pool {other:?}, only {}",
                    pools.join(", ")
                ));
            }
        }
        Ok(())
    }
}

impl FileAuth {
    /// With the files read that it names, relative to `directory`, and with the one token of
    /// `--auth.token-file`. It blocks.
    ///
    /// # Errors
    /// Which entry or file cannot be used, and what would be right.
    pub fn resolve(self, directory: &Path, token_file: Option<&Path>) -> Result<Access, String> {
        let mut clients: Vec<Client> = Vec::new();
        let is_said = self.clients.is_some() || token_file.is_some();
        if let Some(path) = token_file {
            let client = Client::of_token_file(path);
            clients.push(client.map_err(|error| format!("--auth.token-file: {error}"))?);
        }
        for (index, client) in self.clients.into_iter().flatten().enumerate() {
            let client = client.resolve(directory);
            clients.push(client.map_err(|error| format!("auth.clients[{index}]: {error}"))?);
        }
        let clients = match is_said {
            true => Some(Clients::new(clients).map_err(|error| format!("auth.clients: {error}"))?),
            false => None,
        };
        let scrapers = match self.scrapers {
            None => None,
            Some(written) => {
                let mut scrapers = Vec::new();
                for (index, scraper) in written.into_iter().enumerate() {
                    let scraper = scraper.resolve();
                    let scraper =
                        scraper.map_err(|error| format!("auth.scrapers[{index}]: {error}"))?;
                    scrapers.push(scraper);
                }
                Some(scrapers)
            }
        };
        Ok(Access { clients, scrapers })
    }
}

/// Some certificates, by a name in them: exactly that one, `*.example` for every DNS name below, or
/// `*` for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SanPattern {
    /// Any.
    Any,
    /// This one, in any case of its letters.
    Exact(String),
    /// What ends in a dot and this.
    Below(String),
}

impl SanPattern {
    /// Whether a certificate's name is one of them.
    pub fn matches(&self, san: &San) -> bool {
        match (self, san) {
            (Self::Any, _) => true,
            (Self::Exact(exact), san) => exact.eq_ignore_ascii_case(&san.text()),
            (Self::Below(suffix), San::Dns(name)) => {
                let name = name.to_ascii_lowercase();
                let rest = name.strip_suffix(suffix);
                let rest = rest.and_then(|rest| rest.strip_suffix('.'));
                rest.is_some_and(|rest| !rest.is_empty())
            }
            // They may end likewise, and are somebody else.
            (Self::Below(_), San::Email(_) | San::Ip(_) | San::Uri(_)) => false,
        }
    }
}

impl std::str::FromStr for SanPattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str =
            "expected a name that stands in a certificate, *.NAME for all below, or *";
        match text.strip_prefix('*') {
            Some("") => Ok(Self::Any),
            Some(rest) => match rest.strip_prefix('.') {
                Some(suffix) if !suffix.is_empty() && !suffix.contains('*') => {
                    Ok(Self::Below(suffix.to_ascii_lowercase()))
                }
                _ => Err(FORM),
            },
            None if text.is_empty() || text.contains('*') => Err(FORM),
            None => Ok(Self::Exact(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_known_by_their_names() {
        let dns = |name: &str| San::Dns(name.to_owned());
        for (text, san, matches) in [
            ("*", dns("anything"), true),
            ("pi.example", dns("PI.example"), true),
            ("pi.example", dns("a.pi.example"), false),
            ("*.example", dns("a.Example"), true),
            ("*.example", dns("a.b.example"), true),
            ("*.example", dns("example"), false),
            ("*.example", San::Email("me@a.example".into()), false),
            ("*.example", San::Uri("https://a.example".into()), false),
            ("spiffe://x/y", San::Uri("spiffe://x/y".into()), true),
            ("192.0.2.1", San::Ip([192, 0, 2, 1].into()), true),
        ] {
            let pattern: SanPattern = text.parse().unwrap();
            assert_eq!(pattern.matches(&san), matches, "{text} {san:?}");
        }
        for text in ["", "*x", "*.", "a.*", "*.*"] {
            assert!(text.parse::<SanPattern>().is_err(), "{text}");
        }
    }
}
