//! Scrapers and people: what each may scrape, see and query.

use std::str::FromStr;

use adit_common::config_file::Parsed;
use adit_common::name::Name;
use adit_common::target::Target;
use serde::Deserialize;

use super::SanPattern;
use crate::config::pattern::TargetPattern;

/// An entry of `auth.scrapers`, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileScraper {
    user: Option<String>,
    san: Option<Parsed<SanPattern>>,
    #[serde(default)]
    targets: Vec<Parsed<TargetPattern>>,
    #[serde(default)]
    pages: Vec<Page>,
    #[serde(default)]
    pools: Vec<Parsed<PoolPattern>>,
}

/// Some pools of the query side: the one of this name, or `*` for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolPattern {
    /// Any.
    Any,
    /// This one.
    Named(String),
}

impl FromStr for PoolPattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "*" => Ok(Self::Any),
            text if text.is_empty() || text.contains('*') => {
                Err("expected the name of a pool, or * for all")
            }
            text => Ok(Self::Named(text.to_owned())),
        }
    }
}

/// Some of our own pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Page {
    /// `/clients`.
    Clients,
    /// `/sd/targets`.
    Sd,
    /// The status page and what is behind it.
    Status,
    /// `/metrics`.
    Metrics,
    /// `/-/reload`.
    Reload,
}

/// Who an entry is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// A user of the web configuration.
    User(String),
    /// Whoever has a certificate with such a name.
    San(SanPattern),
}

/// Somebody with rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scraper {
    /// Who.
    pub whom: Whom,
    /// What they may.
    pub rights: Rights,
}

/// What somebody may scrape, see and query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    targets: Vec<TargetPattern>,
    pages: Vec<Page>,
    pools: Vec<PoolPattern>,
}

impl Rights {
    /// Whether this target may be scraped.
    pub fn may_scrape(&self, target: &Target) -> bool {
        self.targets.iter().any(|pattern| pattern.matches(target))
    }

    /// Whether some target of this name may be.
    pub fn may_know(&self, name: &Name) -> bool {
        self.targets
            .iter()
            .any(|pattern| pattern.name.matches(name))
    }

    /// Whether this page may be seen.
    pub fn may_see(&self, page: Page) -> bool {
        self.pages.contains(&page)
    }

    /// Whether this pool may be asked.
    pub fn may_query(&self, pool: &str) -> bool {
        self.pools.iter().any(|pattern| match pattern {
            PoolPattern::Any => true,
            PoolPattern::Named(name) => name == pool,
        })
    }

    /// The pools that are named.
    pub(super) fn pools(&self) -> impl Iterator<Item = &str> {
        self.pools.iter().filter_map(|pattern| match pattern {
            PoolPattern::Any => None,
            PoolPattern::Named(name) => Some(&**name),
        })
    }

    /// With those of another entry about the same.
    pub fn join(&mut self, other: &Self) {
        self.targets.extend_from_slice(&other.targets);
        self.pages.extend_from_slice(&other.pages);
        self.pools.extend_from_slice(&other.pools);
    }
}

impl FileScraper {
    pub(super) fn resolve(self) -> Result<Scraper, String> {
        let whom = match (self.user, self.san) {
            (Some(user), None) => Whom::User(user),
            (None, Some(san)) => Whom::San(san.0),
            _ => return Err("expected one of user, san".to_owned()),
        };
        Ok(Scraper {
            whom,
            rights: Rights {
                targets: self.targets.into_iter().map(|pattern| pattern.0).collect(),
                pages: self.pages,
                pools: self.pools.into_iter().map(|pattern| pattern.0).collect(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::access::{Access, FileAuth};

    fn access(text: &str) -> Result<Access, String> {
        let file: FileAuth = adit_common::config_file::parse(text)?;
        file.resolve(Path::new("/"), None)
    }

    #[test]
    fn rights_are_what_is_written() {
        let access = access(
            "scrapers:\n\
             - {user: prometheus, targets: ['*:9100', pi], pages: [clients, sd]}\n\
             - {san: ops.example, pages: [metrics, status, reload], pools: [main]}\n\
             - {user: grafana, pools: ['*']}\n",
        )
        .unwrap();
        let scrapers = access.scrapers.unwrap();
        let rights = &scrapers[0].rights;
        assert_eq!(scrapers[0].whom, Whom::User("prometheus".into()));
        for (target, may) in [("nas:9100", true), ("pi:1", true), ("nas:1", false)] {
            assert_eq!(rights.may_scrape(&target.parse().unwrap()), may, "{target}");
        }
        assert!(rights.may_know(&"nas".parse().unwrap()));
        assert!(rights.may_see(Page::Clients) && !rights.may_see(Page::Metrics));
        let rights = &scrapers[1].rights;
        assert!(!rights.may_know(&"pi".parse().unwrap()) && rights.may_see(Page::Reload));
        assert!(rights.may_query("main") && !rights.may_query("mainly"));
        assert!(!scrapers[0].rights.may_query("main"));
        assert!(scrapers[2].rights.may_query("main") && scrapers[2].rights.may_query("other"));
        let mut both = rights.clone();
        both.join(&scrapers[0].rights);
        assert!(both.may_see(Page::Clients) && both.may_see(Page::Reload));
        assert!(both.may_query("main"));
    }

    #[test]
    fn what_is_written_wrong_is_named() {
        for (text, says) in [
            (
                "scrapers: [{targets: ['*']}]",
                "auth.scrapers[0]: expected one of user, san",
            ),
            ("scrapers: [{user: a, san: b}]", "expected one of user, san"),
            ("scrapers: [{user: a, pages: [metricz]}]", "metricz"),
            ("scrapers: [{user: a, pools: ['ma*']}]", "name of a pool"),
            (
                "scrapers: [{user: a, targets: ['pi:x']}]",
                "a port behind a colon",
            ),
        ] {
            let error = access(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
