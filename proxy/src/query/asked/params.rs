//! What a request says, in its URL and its form.

use std::time::Duration;

/// Of the parameters those that somebody here looks at.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Params {
    /// PromQL.
    pub(crate) query: Option<String>,
    /// `match[]`.
    pub(crate) matchers: Vec<String>,
    /// Unix seconds.
    pub(crate) time: Option<f64>,
    /// Unix seconds.
    pub(crate) start: Option<f64>,
    /// Unix seconds.
    pub(crate) end: Option<f64>,
    /// Seconds.
    pub(crate) step: Option<f64>,
    /// How long its evaluation may take.
    pub(crate) timeout: Option<Duration>,
}
