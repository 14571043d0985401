//! What a backend says of its data. Anything may be unknown.

use std::sync::Arc;

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
    pub(crate) version: Option<Arc<str>>,
}

/// What is not asked at each probe, but for strategies. Same units.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) oldest: Option<f64>,
    pub(crate) started: Option<f64>,
    pub(crate) stored_samples: Option<f64>,
    pub(crate) head_series: Option<f64>,
    pub(crate) ingested_samples: Option<f64>,
    pub(crate) version: Option<Arc<str>>,
}

impl Data {
    /// How far back it goes, in seconds.
    pub(crate) fn history(&self) -> Option<f64> {
        Some((self.now? - self.oldest?).max(0.0))
    }

    /// Takes what is new. Whether something is known now that was not, or the other way round.
    pub(super) fn learn(&mut self, facts: Facts) -> bool {
        let known = |data: &Self| {
            [
                data.oldest.is_some(),
                data.stored_samples.is_some(),
                data.head_series.is_some(),
                data.ingested_samples.is_some(),
            ]
        };
        let before = known(self);
        self.oldest = facts.oldest;
        self.stored_samples = facts.stored_samples;
        self.head_series = facts.head_series;
        self.ingested_samples = facts.ingested_samples;
        // A server that does not say any more when it was started is the one that did.
        self.started = facts.started.or(self.started);
        self.version = facts.version.or(self.version.take());
        known(self) != before
    }
}
