//! Who is selected, in mpp's sense: whoever the next request may go to first.

use crate::query::view::{BackendView, PoolView};

/// Best first. Those of the last are asked when there is nobody else, and are selected then: mpp's page
/// said none while it went on asking them.
const TIERS: [&str; 4] = ["good", "poor", "raw", "out"];

/// The one that is first for everybody; where there is none, all that are as good as the best.
pub(super) fn is_chosen(pool: &PoolView, backend: &BackendView) -> bool {
    if pool.primary.is_some() {
        return backend.selected;
    }
    let rank = |backend: &BackendView| {
        let tier = TIERS.iter().position(|tier| *tier == backend.tier);
        (!backend.eligible, tier, backend.priority)
    };
    pool.backends.iter().map(rank).min() == Some(rank(backend))
}
