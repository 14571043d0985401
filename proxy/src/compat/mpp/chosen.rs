//! Who is selected, in mpp's sense: whoever the next request may go to first.

use crate::query::view::{BackendView, PoolView};

/// The one that is first for everybody; where there is none, all that are as good as the best.
pub(super) fn is_chosen(pool: &PoolView, backend: &BackendView) -> bool {
    if pool.primary.is_some() {
        return backend.selected;
    }
    let may = |backend: &&BackendView| backend.eligible && RANKS.contains(&backend.tier);
    let rank = |backend: &BackendView| {
        let tier = RANKS.iter().position(|tier| *tier == backend.tier);
        (tier, backend.priority)
    };
    let best = pool.backends.iter().filter(may).map(rank).min();
    may(&backend) && Some(rank(backend)) == best
}

/// Best first. Whoever is of none of them is not asked.
const RANKS: [&str; 3] = ["good", "poor", "raw"];
