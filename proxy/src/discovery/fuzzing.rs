//! Lists of backends, for `fuzz/`.

use super::{Found, file, groups};
use crate::config::query::Manner;

/// A URL a line.
pub(crate) fn lines(text: &str) -> Result<Vec<Found>, String> {
    file::lines::found(text, &Manner::default())
}

/// Prometheus' list, in JSON.
pub(crate) fn json(bytes: &[u8]) -> Result<Vec<Found>, String> {
    groups::found(groups::json(bytes)?, &Manner::default())
}

/// Prometheus' list, in YAML.
pub(crate) fn yaml(text: &str) -> Result<Vec<Found>, String> {
    groups::found(groups::yaml(text)?, &Manner::default())
}
