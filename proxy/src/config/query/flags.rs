//! What is typed of the query side: it stays when the file is read again.

use std::sync::Arc;

use super::Pool;
use super::url::BackendUrl;

/// What flags say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryFlags {
    /// Whether there is a `--query.listen-address`.
    pub listens: bool,
    /// `--query.backend`: of the one pool, `main`.
    pub backends: Vec<BackendUrl>,
    /// What `--compat.mpp` and mpp's own flags come to.
    pub(crate) mpp: Option<Arc<Pool>>,
}

impl QueryFlags {
    /// Reads the values of `--query.backend`.
    ///
    /// # Errors
    /// Which of them is none, and never what stands before an `@` in it.
    pub fn new(listens: bool, backends: &[String]) -> Result<Self, String> {
        let mut read = Vec::new();
        for text in backends {
            let shown = match text.contains('@') {
                true => String::new(),
                false => format!(" {text:?}"),
            };
            let named = |words: &dyn std::fmt::Display| format!("--query.backend{shown}: {words}");
            let url: BackendUrl = text.parse().map_err(|error| named(&error))?;
            if url.user.is_some() {
                return Err(named(
                    &"a user or password does not belong in a flag: write query.backends in \
                      --config.file, with basic_auth and a password_file",
                ));
            }
            read.push(url);
        }
        Ok(Self {
            listens,
            backends: read,
            mpp: None,
        })
    }

    /// An address without backends would answer nothing, and backends without an address nobody.
    ///
    /// # Errors
    /// What is missing, and how it is given.
    pub(crate) fn check(&self, pools: &[Pool]) -> Result<(), String> {
        match (self.listens, pools.is_empty()) {
            (true, true) => Err(
                "--query.listen-address: there is no backend to ask: give --query.backend=URL, or \
                 query.backends in --config.file"
                    .to_owned(),
            ),
            (false, false) => {
                let given = match self.backends.is_empty() {
                    true => "query in --config.file",
                    false => "--query.backend",
                };
                Err(format!(
                    "{given}: nobody could ask these backends: give --query.listen-address=ADDR"
                ))
            }
            _ => Ok(()),
        }
    }
}
