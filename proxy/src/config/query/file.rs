//! How the query side is written.

use std::path::Path;

use serde::Deserialize;

use super::Query;

/// The key `query`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileQuery {}

impl FileQuery {
    /// What is meant, with the files found that it names: they are beside it, in `directory`.
    ///
    /// # Errors
    /// Which entry cannot be used, and why.
    pub fn resolve(self, _directory: &Path) -> Result<Query, String> {
        Ok(Query::default())
    }
}
