//! `--check-config`: says of every step whether it would work, a line each, and runs nothing.
//!
//! 1. [`files`] reads what the configuration names: certificates, tokens, passwords.
//! 2. [`online`] dials every proxy as far as it lets us in, and registers nothing: a client that
//!    runs is not disturbed, and whether our names are given to us only running tells.
//! 3. [`target`] asks every target once, by the way a scrape takes.

mod files;

mod online;
mod target;

use std::fmt;

use clap::ValueEnum;

pub use self::files::files;
pub use self::online::online;

/// How far it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Check {
    /// To the files.
    Files,
    /// To the proxies and the targets.
    Online,
}

/// What came of a step. Displays as its line.
#[derive(Debug, Clone)]
pub struct Step {
    what: String,
    came: Result<String, String>,
}

impl Step {
    /// Of `what`; either way in words, or with none.
    pub fn new(what: impl Into<String>, came: Result<String, String>) -> Self {
        let what = what.into();
        Self { what, came }
    }

    /// Whether it works.
    pub fn is_ok(&self) -> bool {
        self.came.is_ok()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, says) = match &self.came {
            Ok(says) => ("ok  ", says),
            Err(says) => ("FAIL", says),
        };
        write!(f, "{word} {}", self.what)?;
        match says.is_empty() {
            true => Ok(()),
            false => write!(f, ": {says}"),
        }
    }
}
