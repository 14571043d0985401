//! A carrier, while one scrape has it.

use std::ops::Deref;
use std::sync::Arc;

use super::memory::Registry;
use crate::carrier::Carrier;

/// Dropping it gives back a poll that has carried nothing: its scraper left first, or what was to be
/// sent cannot go by a poll.
#[derive(Debug)]
pub(crate) struct Lease {
    carrier: Carrier,
    registry: Arc<Registry>,
}

impl Lease {
    /// Of a carrier that `registry` has just found.
    pub(crate) fn new(carrier: Carrier, registry: &Arc<Registry>) -> Self {
        Self {
            carrier,
            registry: Arc::clone(registry),
        }
    }

    /// Takes it out of the registry for good: it has failed.
    pub(crate) fn dismiss(&self) {
        self.registry.dismiss(&self.carrier);
    }
}

impl Deref for Lease {
    type Target = Carrier;

    fn deref(&self) -> &Carrier {
        &self.carrier
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Carrier::Poll(poll) = &self.carrier
            && poll.is_free()
        {
            self.registry.give_back(poll);
        }
    }
}
