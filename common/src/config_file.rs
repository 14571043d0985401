//! A program's YAML file, read strictly: an unknown key is an error that names the nearest one, and
//! every error says where it is.
//!
//! The text of an error never quotes a line: secrets stand in such files.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::fault::one_line;

/// Largest file read, in bytes: 4096 targets with ten labels each stay below half of it.
const MAX_SIZE: u64 = 8 << 20;

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

/// Reads the file, and says in which line it is wrong. It blocks.
///
/// # Errors
/// The path and why it cannot be read, or `PATH:LINE:COLUMN: what is wrong`; one line, and nothing
/// that stands in the file but the key or value that is wrong.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    parse_of(path, &text(path)?)
}

/// The text of a file. It blocks.
///
/// # Errors
/// The path, and why it cannot be read.
pub fn text(path: &Path) -> Result<String, FileError> {
    let failed = |error| FileError::Read(path.to_owned(), error);
    let file = std::fs::File::open(path).map_err(failed)?;
    // Not its size beforehand: a pipe has none, and a file may grow.
    let mut text = String::new();
    let limited = &mut file.take(MAX_SIZE + 1);
    limited.read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_SIZE {
        let text = format!("{}: has over {MAX_SIZE} bytes", path.display());
        return Err(FileError::Syntax(text));
    }
    Ok(text)
}

/// Reads the text of this file.
pub(crate) fn parse_of<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, FileError> {
    parse(text).map_err(|error| FileError::Syntax(format!("{}{error}", path.display())))
}

/// Reads the text of a file. Nothing but space is a file that says nothing.
///
/// # Errors
/// Starts with `:LINE:COLUMN: `, or with `: ` where there is no place; one line.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let place = error
            .location()
            .map(|at| format!(":{}:{}", at.line(), at.column()));
        format!("{}: {}", place.unwrap_or_default(), describe(error))
    })
}

/// A value that is written as a string and parsed by its own rules.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        // Not which: where keys are users, it may be a hash that was put in a user's place.
        E::DuplicateMappingKey { .. } => "this key stands here for the second time".to_owned(),
        // The rendered text repeats the place, which stands in front already, in a second line
        // or behind "at".
        error => {
            let mut options = serde_saphyr::RenderOptions::default();
            options.snippets = serde_saphyr::SnippetMode::Off;
            let text = error.render_with_options(options);
            let text = text.lines().next().unwrap_or("malformed");
            let end = error
                .location()
                .map(|at| format!(" at line {}, column {}", at.line(), at.column()));
            one_line(end.and_then(|end| text.strip_suffix(&end)).unwrap_or(text))
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
    use std::collections::BTreeMap;

    use super::*;
    use crate::name::Name;
    use crate::target::Target;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        names: Vec<Name>,
        targets: Vec<Entry>,
        labels: BTreeMap<String, String>,
        port: Option<Parsed<std::net::SocketAddr>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        target: Target,
        #[serde(default)]
        ca_file: Option<PathBuf>,
    }

    #[test]
    fn what_is_written_is_read() {
        let text = "names: [pi]\nport: 127.0.0.1:1\ntargets: [{target: pi:1, ca_file: x}]\n";
        let sample: Sample = parse(text).unwrap();
        assert_eq!(sample.names[0].as_str(), "pi");
        assert_eq!(sample.port.unwrap().0.port(), 1);
        assert_eq!(sample.targets[0].target.port, 1);
        assert_eq!(sample.targets[0].ca_file, Some("x".into()));
    }

    #[test]
    fn an_empty_file_says_nothing() {
        for text in ["", " \n", "\n---\n", "# nothing yet\n"] {
            let sample: Sample = parse(text).unwrap();
            assert!(sample.targets.is_empty() && sample.labels.is_empty());
        }
        let error = parse::<Entry>("").unwrap_err();
        assert!(error.contains("key \"target\" is missing"), "{error}");
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
                "expected one of names, targets",
            ),
            ("targets:\n- ca_file: x\n", "key \"target\" is missing"),
            (
                "targets:\n- {target: pi:9100, cafile: x}\n",
                ":2:21: unknown key \"cafile\", did you mean \"ca_file\"?",
            ),
            ("targets:\n- target: pi\n", "expected HOST:PORT"),
            (
                "names: [pi]\nnames: [nas]\n",
                ":2:1: this key stands here for the second time",
            ),
            ("port: \"99\"\n", "invalid socket address"),
            ("names: [\"a b\"]\n", "must not stand in a name"),
            ("a: [\n", ":"),
        ] {
            let error = parse::<Sample>(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(!error.contains("at line"), "the place twice: {error}");
        }
    }

    #[test]
    fn no_neighbouring_line_is_quoted() {
        let error = parse::<Sample>("labels: {token: s3cret}\nnmaes: [pi]\n").unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_read_or_is_too_large_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("adit.yml");
        let error = read::<Sample>(&path).unwrap_err().to_string();
        assert!(error.starts_with(path.to_str().unwrap()), "{error}");
        assert!(error.contains("No such file"), "{error}");

        std::fs::write(&path, "nmaes: []").unwrap();
        let error = read::<Sample>(&path).unwrap_err().to_string();
        assert!(error.contains("adit.yml:1:1: unknown key"), "{error}");

        let size = usize::try_from(MAX_SIZE).unwrap();
        for (size, fits) in [(size, true), (size + 1, false)] {
            std::fs::write(&path, "#".repeat(size)).unwrap();
            assert_eq!(read::<Sample>(&path).is_ok(), fits);
        }
    }
}
