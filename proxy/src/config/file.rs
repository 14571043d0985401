//! The YAML file: what was written. Strict: an unknown key is an error that names the nearest one.

use std::path::Path;

use adit_common::config_file::{self, FileError, Parsed};
use serde::Deserialize;

use super::Settings;
use super::access::FileAuth;
use super::duplicates::{Duplicates, Rules};
use super::limits::FileLimits;
use super::pattern::Pattern;
use super::query::QueryFlags;
use super::query::file::FileQuery;
use super::trusted::Trusted;

/// The file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// When two machines claim one name.
    duplicates: Duplicates,
    /// What holds for some names.
    names: Vec<FileNames>,
    /// Who may what.
    auth: FileAuth,
    /// How much of everything there may be.
    limits: FileLimits,
    /// Whom we believe where a request comes from.
    trusted_proxies: Vec<Parsed<Trusted>>,
    /// One Prometheus out of many.
    query: FileQuery,
}

/// Some names, and what holds for them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileNames {
    #[serde(rename = "match")]
    pattern: Parsed<Pattern>,
    duplicates: Duplicates,
}

impl File {
    /// Reads the file. It blocks.
    ///
    /// # Errors
    /// In one line, with the place.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        config_file::read(path)
    }

    /// What is meant, with the files read that it names, which are beside it in `directory`, and with
    /// what flags say. It blocks.
    ///
    /// # Errors
    /// Which entry cannot be used, and why.
    pub fn settings(
        self,
        directory: &Path,
        token_file: Option<&Path>,
        query: &QueryFlags,
    ) -> Result<Settings, String> {
        let names = self.names.into_iter();
        let rules = Rules {
            default: self.duplicates,
            names: names
                .map(|some| (some.pattern.0, some.duplicates))
                .collect(),
        };
        let limits = self.limits.resolve()?;
        let trusted = self.trusted_proxies.into_iter();
        let trusted_proxies = trusted.map(|trusted| trusted.0).collect();
        let access = self.auth.resolve(directory, token_file)?;
        let query = self.query.resolve(directory, query, limits.query_memory)?;
        access.check_pools(&query)?;
        Ok(Settings {
            rules,
            query,
            access,
            limits,
            trusted_proxies,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Rules, String> {
        let file = config_file::parse::<File>(text)?;
        file.settings(Path::new("/"), None, &QueryFlags::default())
            .map(|settings| settings.rules)
    }

    #[test]
    fn a_whole_file() {
        let rules = parse(
            "duplicates: reject\n\
             names:\n\
             - {match: '*.ha', duplicates: replicas}\n\
             - {match: pi, duplicates: replace}\n",
        )
        .unwrap();
        assert_eq!(rules.default, Duplicates::Reject);
        assert_eq!(rules.names.len(), 2);
        assert_eq!(parse("").unwrap(), Rules::default());
    }

    #[test]
    fn a_wrong_file_says_where_and_how() {
        for (text, says) in [
            (
                "duplicate: reject\n",
                ":1:1: unknown key \"duplicate\", did you mean \"duplicates\"?",
            ),
            ("duplicates: refuse\n", ":1:13: "),
            (
                "names: [{match: 'a*', duplicates: replace}]\n",
                "must not stand in a name",
            ),
            ("names: [{match: pi}]\n", "key \"duplicates\" is missing"),
            ("limits: {waiting: 0}\n", "limits.waiting: 0 is not between"),
            ("trusted_proxies: [127.0.0.1, front]\n", ":1:30: "),
            ("trusted_proxies: [10.0.0.1/8]\n", "write 10.0.0.0/8"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
