//! Lists of targets as Prometheus' `file_sd_configs` and `http_sd_configs` have them:
//! <https://prometheus.io/docs/prometheus/latest/http_sd/>.
//!
//! A target is `HOST:PORT`. How it is spoken to is among the group's labels, as Prometheus has it:
//! `__scheme__` (also `tunnel`) and, in our own words, `__path_prefix__`, `__priority__`, `__weight__`.
//! All other labels are ignored.

use std::collections::BTreeMap;

use adit_common::fault::one_line;
use adit_common::target::{Scheme, Target};
use serde::Deserialize;

use super::Found;
use crate::config::query::Manner;
use crate::config::query::url::BackendUrl;

/// Targets that have their labels in common.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    #[serde(default)]
    targets: Option<Vec<Address>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// `HOST:PORT`; without a port, what the scheme means.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Address(String);

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // Not quoted where a user could stand in it.
        if text.contains(['@', '/', '?', '#']) {
            return Err(
                "expected a target as HOST:PORT, without a scheme, a user or a path".to_owned(),
            );
        }
        match Target::parse(&text, Some(Scheme::Http)) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(format!("target {:?}: {error}", one_line(&text))),
        }
    }
}

/// Reads JSON.
///
/// # Errors
/// Starts with `:LINE:COLUMN: `, or with `: ` where there is no place; one line.
pub(super) fn json(bytes: &[u8]) -> Result<Vec<Group>, String> {
    serde_json::from_slice::<Option<Vec<Group>>>(bytes)
        .map(Option::unwrap_or_default)
        .map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let text = error.to_string();
            let end = format!(" at line {line} column {column}");
            let text = text.strip_suffix(&end).unwrap_or(&text);
            format!(":{line}:{column}: {}", one_line(text))
        })
}

/// Reads YAML. Nothing but space and comments is a list of none.
///
/// # Errors
/// As [`json`].
pub(super) fn yaml(text: &str) -> Result<Vec<Group>, String> {
    let says_nothing = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---"
    };
    match text.lines().all(says_nothing) {
        true => Ok(Vec::new()),
        false => adit_common::config_file::parse(text),
    }
}

/// The backends in it.
///
/// # Errors
/// Starts with `: `, and names the target.
pub(super) fn found(groups: Vec<Group>, manner: &Manner) -> Result<Vec<Found>, String> {
    let mut all = Vec::new();
    for group in groups {
        let labels = group.labels.unwrap_or_default();
        for Address(target) in group.targets.unwrap_or_default() {
            let found = backend(&target, &labels, manner);
            all.push(found.map_err(|why| format!(": target {:?}: {why}", one_line(&target)))?);
        }
    }
    Ok(all)
}

fn backend(
    target: &str,
    labels: &BTreeMap<String, String>,
    manner: &Manner,
) -> Result<Found, String> {
    let label = |name: &str| labels.get(name).map(String::as_str);
    let scheme = label("__scheme__").unwrap_or("http");
    let prefix = label("__path_prefix__").unwrap_or("").trim_matches('/');
    if prefix.contains(['@', '?', '#']) {
        return Err("__path_prefix__ is no path".to_owned());
    }
    let url: BackendUrl = format!("{scheme}://{target}/{prefix}")
        .parse()
        .map_err(|error| format!("{error}"))?;
    let priority = number(label("__priority__"), "__priority__")?.unwrap_or(manner.priority);
    let weight = number(label("__weight__"), "__weight__")?.unwrap_or(manner.weight);
    Ok(Found::new(url, manner).weighing(priority, weight))
}

fn number<N: std::str::FromStr>(text: Option<&str>, name: &str) -> Result<Option<N>, String> {
    let Some(text) = text else { return Ok(None) };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(format!("{name}: {:?} is no such number", one_line(text))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JSON: &str = r#"[
        {"targets": ["a:9090", "[fd00::1]:9090"], "labels": {"__scheme__": "https", "site": "x"}},
        {"targets": ["pi:9090"], "labels": {"__scheme__": "tunnel", "__path_prefix__": "/p/"}},
        {"targets": ["b"], "labels": {"__priority__": "2", "__weight__": "7"}},
        {"targets": null, "labels": null},
        {}
    ]"#;

    const YAML: &str = "
- targets: ['a:9090', '[fd00::1]:9090']
  labels: {__scheme__: https, site: x}
- targets: [pi:9090]
  labels:
    __scheme__: tunnel
    __path_prefix__: /p/
- targets:
  - b
  labels: {__priority__: '2', __weight__: 7}
- targets:
- labels: {}
";

    #[test]
    fn prometheus_lists_are_read_in_both_forms() {
        let manner = Manner::default();
        for groups in [json(JSON.as_bytes()).unwrap(), yaml(YAML).unwrap()] {
            let found = found(groups, &manner).unwrap();
            let urls: Vec<String> = found.iter().map(|found| found.url.to_string()).collect();
            assert_eq!(
                urls,
                [
                    "https://a:9090",
                    "https://[fd00::1]:9090",
                    "tunnel://pi:9090/p",
                    "http://b:80"
                ]
            );
            let manners: Vec<(u32, u32)> = found
                .iter()
                .map(|found| (found.manner.priority, found.manner.weight.get()))
                .collect();
            assert_eq!(manners, [(0, 1), (0, 1), (0, 1), (2, 7)]);
        }
    }

    #[test]
    fn nothing_is_a_list_of_none() {
        assert!(json(b"[]").unwrap().is_empty());
        for text in ["", "\n# none yet\n", "---\n", "[]\n"] {
            assert!(yaml(text).unwrap().is_empty(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_list_says_where_and_how() {
        for (text, says) in [
            ("[{\"targets\":\n[\"a\", {}]}]", ":2:"),
            ("[{\"targtes\": []}]", "unknown"),
            ("{}", "expected"),
            ("[{\"targets\": [\"http://a:1\"]}]", "without a scheme"),
            ("[{\"targets\": [\"u:s3cret@a:1\"]}]", "without a scheme"),
            ("[{\"targets\": [\"a:x\"]}]", "no port"),
            ("[{\"targets\": [\"a b:1\"]}]", "must not stand in a name"),
            (
                "[{\"targets\": [\"a:1\"], \"labels\": {\"__scheme__\": \"ftp\"}}]",
                "target \"a:1\": expected http(s)",
            ),
            (
                "[{\"targets\": [\"a\"], \"labels\": {\"__scheme__\": \"tunnel\"}}]",
                "HOST:PORT",
            ),
            (
                "[{\"targets\": [\"a:1\"], \"labels\": {\"__weight__\": \"0\"}}]",
                "__weight__",
            ),
            (
                "[{\"targets\": [\"a:1\"], \"labels\": {\"__path_prefix__\": \"/x?y\"}}]",
                "no path",
            ),
        ] {
            let read = |groups: Result<Vec<Group>, String>| {
                groups.and_then(|groups| found(groups, &Manner::default()))
            };
            for error in [read(json(text.as_bytes())), read(yaml(text))] {
                let error = error.unwrap_err();
                assert!(
                    error.starts_with(':') && error.contains(says),
                    "{text}: {error}"
                );
                assert!(
                    !error.contains("s3cret") && !error.contains('\n'),
                    "{error}"
                );
            }
        }
        assert!(json(b"").unwrap_err().starts_with(":1:0: "));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,80}") {
            let _ = json(text.as_bytes()).map(|groups| found(groups, &Manner::default()));
            let _ = yaml(&text).map(|groups| found(groups, &Manner::default()));
        }
    }
}
