//! What a backend says of its data. Anything may be unknown.

/// As of the last probe. Times are Unix seconds by the server's own clock.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Data {
    /// Its oldest sample.
    pub(crate) oldest: Option<f64>,
    /// Its clock at the probe.
    pub(crate) now: Option<f64>,
    /// Seconds since its newest scrape.
    pub(crate) age: Option<f64>,
    /// How many targets it scrapes.
    pub(crate) targets: Option<f64>,
    /// When it was started.
    pub(crate) started: Option<f64>,
    /// Samples in blocks.
    pub(crate) stored_samples: Option<f64>,
    /// Series in memory.
    pub(crate) head_series: Option<f64>,
    /// Samples since its start.
    pub(crate) ingested_samples: Option<f64>,
    /// By how many seconds its clock is ahead of ours.
    pub(crate) clock_skew: Option<f64>,
    /// As it calls itself.
    pub(crate) version: Option<String>,
}

impl Data {
    /// How far back it goes, in seconds.
    pub(crate) fn history(&self) -> Option<f64> {
        Some((self.now? - self.oldest?).max(0.0))
    }
}
