//! mpp, as its users know it.
//!
//! 1. [`arguments`] takes its flags and variables out of what was typed, in its own grammar.
//! 2. [`meaning`] makes a pool of them, and what else they mean here.
//! 3. [`chosen`] says who is selected, in mpp's sense: [`pages`] has `/mpp/health`, `/mpp/metrics` out of [`series`], and `/mpp/status` from [`page`].

mod arguments;
mod meaning;

mod chosen;

mod pages;
mod page;
mod series;

use std::ffi::OsString;
use std::sync::Arc;

pub(crate) use self::pages::{SERVED_BY, is_page, page};

use self::arguments::{FLAG, Given, take};
use crate::config::query::Pool;

/// What mpp's flags come to.
#[derive(Debug, Default)]
pub(crate) struct Translated {
    /// What was typed besides them, and flags of ours that say the same.
    pub(crate) arguments: Vec<OsString>,
    /// Where there is `--compat.mpp`.
    pub(crate) pool: Option<Arc<Pool>>,
    /// The flag by which a secret was given, in sight of everybody on this machine.
    pub(crate) bare_secret: Option<String>,
}

/// Understands mpp's flags where `--compat.mpp` is among the arguments, and its variables, as `variable`
/// gives them; else everything stays as it is.
///
/// # Errors
/// Which flag or variable, and what would be right.
pub(crate) fn translate(
    arguments: Vec<OsString>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Translated, String> {
    if !arguments.iter().any(|argument| argument == FLAG) {
        return Ok(Translated {
            arguments,
            ..Translated::default()
        });
    }
    let Given { values, rest } = take(arguments, variable)?;
    let meaning = meaning::of(&values, listens(&rest))?;
    let mut arguments = rest;
    arguments.extend(meaning.flags.into_iter().map(OsString::from));
    Ok(Translated {
        arguments,
        pool: Some(Arc::new(meaning.pool)),
        bare_secret: meaning.bare_secret,
    })
}

/// Whether what is not mpp's says where the query side listens: mpp knows every interface only.
fn listens(arguments: &[OsString]) -> bool {
    const ADDRESS: &str = "--query.listen-address";
    let mut typed = arguments.iter().filter_map(|argument| argument.to_str());
    typed.any(|argument| {
        let rest = argument.strip_prefix(ADDRESS);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}
