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
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.scrapes_in_flight.dec();
    }
}
