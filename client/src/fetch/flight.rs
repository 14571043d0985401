//! A scrape under way.

use std::sync::Arc;

use crate::Client;

/// A scrape under way, counted until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Client>);

impl InFlight {
    pub(super) fn start(client: Arc<Client>) -> Self {
        client.metrics.scrapes_in_flight.inc();
        Self(client)
    }

    pub(super) fn bytes(&self, n: usize) {
        self.0.metrics.response_bytes.inc_by(n as u64);
    }

    /// The answer had begun, and its end will not come.
    pub(super) fn cut(&self, why: &dyn std::error::Error, reason: &str) {
        let cut = &self.0.metrics.responses_cut;
        cut.with_label_values(&[reason]).inc();
        tracing::debug!(%why, "an answer was cut");
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.scrapes_in_flight.dec();
    }
}
