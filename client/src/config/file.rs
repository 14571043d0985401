//! The YAML file: what was written. Strict: an unknown key is an error that names the nearest one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use adit_common::fault::one_line;
use adit_common::name::Name;
use adit_common::net::tls::ClientTls;
use adit_common::target::Target;
use http::HeaderValue;
use serde::Deserialize;

use super::TargetConfig;
use super::url::{ProxyUrl, UpstreamUrl};

/// Largest file read, in bytes: 4096 targets with ten labels each stay below half of it.
const MAX_SIZE: u64 = 8 << 20;

/// The file as written. Every key has the flag of the same meaning; flags win.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// `--proxy-url`.
    pub proxies: Vec<Parsed<ProxyUrl>>,
    /// `--name`.
    pub names: Vec<Name>,
    /// `--target`, with more to say of each.
    pub targets: Vec<FileTarget>,
    /// `--allow-any-port`.
    pub allow_any_port: bool,
    /// On every target.
    pub labels: BTreeMap<String, String>,
    /// `--tls.…`.
    pub tls: FileTls,
}

/// A target in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTarget {
    target: Target,
    #[serde(default)]
    url: Option<Parsed<UpstreamUrl>>,
    #[serde(default)]
    host: Option<Parsed<HeaderValue>>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    tls: FileTls,
}

/// TLS towards a proxy or a target. Files are relative to the configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileTls {
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    server_name: Option<String>,
    insecure_skip_verify: bool,
}

impl FileTls {
    /// With its files found.
    pub fn resolve(self, directory: &Path) -> ClientTls {
        let at = |file: Option<PathBuf>| file.map(|file| directory.join(file));
        ClientTls {
            ca_file: at(self.ca_file),
            cert_file: at(self.cert_file),
            key_file: at(self.key_file),
            server_name: self.server_name,
            insecure_skip_verify: self.insecure_skip_verify,
        }
    }
}

impl FileTarget {
    /// With its files found.
    pub fn resolve(self, directory: &Path) -> TargetConfig {
        TargetConfig {
            target: self.target,
            url: self.url.map(|url| url.0),
            host: self.host.map(|host| host.0),
            labels: self.labels,
            tls: self.tls.resolve(directory),
        }
    }
}

/// A value that is written as a string and parsed by its own rules.
#[derive(Debug)]
pub struct Parsed<T>(pub T);

impl<'de, T> Deserialize<'de> for Parsed<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// It is no configuration.
    #[error("{0}")]
    Syntax(String),
}

impl File {
    /// Reads the file, and says in which line it is wrong.
    ///
    /// # Errors
    /// Never quotes a line: secrets stand in such files.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let read = |error| FileError::Read(path.to_owned(), error);
        let size = std::fs::metadata(path).map_err(read)?.len();
        if size > MAX_SIZE {
            let text = format!(
                "{}: has {size} bytes, {MAX_SIZE} are allowed",
                path.display()
            );
            return Err(FileError::Syntax(text));
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        Self::parse(&text).map_err(|error| FileError::Syntax(format!("{}{error}", path.display())))
    }

    /// The error starts with `:LINE:COLUMN: `, or with `: `.
    fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(text).map_err(|error| {
            let error = error.without_snippet();
            let place = error
                .location()
                .map(|at| format!(":{}:{}", at.line(), at.column()));
            format!("{}: {}", place.unwrap_or_default(), describe(error))
        })
    }
}

fn describe(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error as E;
    match error {
        E::SerdeUnknownField {
            field, expected, ..
        } => {
            let field = one_line(field);
            match nearest(&field, expected) {
                Some(near) => format!("unknown key {field:?}, did you mean {near:?}?"),
                None => format!(
                    "unknown key {field:?}, expected one of {}",
                    expected.join(", ")
                ),
            }
        }
        E::SerdeMissingField { field, .. } => format!("key {field:?} is missing"),
        // The rendered text repeats the place, which stands in front already, in a second line
        // or behind "at".
        error => {
            let mut options = serde_saphyr::RenderOptions::default();
            options.snippets = serde_saphyr::SnippetMode::Off;
            let text = error.render_with_options(options);
            one_line(text.lines().next().unwrap_or("malformed"))
        }
    }
}

fn nearest<'a>(field: &str, expected: &[&'a str]) -> Option<&'a str> {
    expected
        .iter()
        .map(|key| (strsim::jaro_winkler(field, key), *key))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file() {
        let file = File::parse(
            "proxies: [https://proxy.example/adit]\n\
             names: [pi]\n\
             allow_any_port: true\n\
             labels: {site: berlin}\n\
             tls: {ca_file: ca.pem}\n\
             targets:\n\
             - target: tls.example:9443\n  \
               url: https://127.0.0.1:9443\n  \
               host: other.example\n  \
               labels: {job: x}\n  \
               tls: {ca_file: /etc/ca.pem, server_name: tls.example, insecure_skip_verify: false}\n",
        )
        .unwrap();
        assert_eq!(file.proxies[0].0.path, "/adit/tunnel");
        let tls = file.tls.resolve(Path::new("/etc/adit"));
        assert_eq!(tls.ca_file, Some("/etc/adit/ca.pem".into()));
        let target = file.targets.into_iter().next().unwrap();
        let target = target.resolve(Path::new("/etc/adit"));
        assert_eq!(target.tls.ca_file, Some("/etc/ca.pem".into()));
        assert_eq!(target.host.unwrap(), "other.example");
    }

    #[test]
    fn an_empty_file_says_nothing() {
        assert!(File::parse("").unwrap().targets.is_empty());
        assert!(File::parse("\n---\n").is_ok());
    }

    #[test]
    fn a_wrong_file_says_where_and_how() {
        for (text, says) in [
            (
                "nmaes: [pi]\n",
                ":1:1: unknown key \"nmaes\", did you mean \"names\"?",
            ),
            (
                "names: [pi]\ncolour: red\n",
                "expected one of proxies, names",
            ),
            ("targets:\n- url: http://x\n", "key \"target\" is missing"),
            (
                "targets:\n- {target: pi:9100, tls: {cafile: x}}\n",
                "did you mean \"ca_file\"?",
            ),
            ("targets:\n- target: pi\n", "expected HOST:PORT"),
            ("names: [pi]\nnames: [nas]\n", ":2:"),
            ("proxies: [\"ftp://x\"]\n", "http(s)://"),
            ("names: [\"a b\"]\n", "must not stand in a name"),
            ("a: [\n", ":"),
        ] {
            let error = File::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn no_neighbouring_line_is_quoted() {
        let error = File::parse("labels: {token: s3cret}\nnmaes: [pi]\n").unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
