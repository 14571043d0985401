//! What a request asks, and what a backend says of itself, for `fuzz/`.

use http::Method;

use super::asked::{self, Kind, Params};
use super::health;
use crate::config::query::Allow;

/// Whether a request may be sent to another backend, when it is let through at all.
pub(crate) fn is_repeatable(method: &Method, path: &str) -> Option<bool> {
    let class = asked::classify(method, path, &Allow::default()).ok()?;
    // Nobody asked for these to be let through.
    assert!(!matches!(
        class.kind,
        Kind::Write | Kind::Admin | Kind::Lifecycle | Kind::Debug
    ));
    Some(class.retry)
}

/// The parameters of a URL and of a form.
pub(crate) fn params(query: Option<&str>, form: Option<&[u8]>) -> Params {
    Params::read(query, form)
}

/// What a page of metrics says, in these pieces.
pub(crate) fn exposition(pieces: &[&[u8]]) -> String {
    health::exposition(pieces)
}

/// What is understood of a backend's answer to each thing that it is asked.
pub(crate) fn said(body: &[u8]) -> String {
    health::said(body)
}
