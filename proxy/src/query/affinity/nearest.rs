//! The backend a key belongs to: the nearest of those that are as good as each other.

use super::Became;
use crate::query::strategy::{Candidate, Order, distance};

/// Moves it to the front. The key's own backend is the one it would have if nobody were in a worse state.
pub(super) fn apply(
    key: &[u8],
    order: &mut Order,
    candidates: &[Candidate],
    kind: &'static str,
) -> Became {
    let nearest = |places: &mut dyn Iterator<Item = usize>| {
        places
            .map(|i| (distance(key, &candidates[i]), i))
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
            .map(|(_, i)| i)
    };
    let Some(best) = nearest(&mut order.alike().iter().copied()) else {
        return Became::Broken;
    };
    let could = |i: &usize| {
        let (candidate, best) = (&candidates[*i], &candidates[best]);
        let ails = candidate.tier > best.tier && candidate.priority <= best.priority;
        ails || order.alike().contains(i)
    };
    let own = nearest(&mut (0..candidates.len()).filter(could));
    order.prefer(best, kind);
    if own == Some(best) {
        Became::Hit
    } else {
        Became::Broken
    }
}
