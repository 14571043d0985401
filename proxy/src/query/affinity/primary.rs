//! Everybody with the same backend, for strategies that choose anew for each request: the first that was
//! chosen is kept as long as it is one of the best. Grafana keeps no cookies, and whoever looks at a
//! dashboard should see one server's samples.

use std::sync::{Arc, Mutex, PoisonError};

use super::Became;
use crate::query::strategy::{Candidate, Order};

/// By name.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<Arc<str>>>);

impl Kept {
    pub(super) fn name(&self) -> Option<Arc<str>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn apply(&self, order: &mut Order, candidates: &[Candidate]) -> Became {
        let Some(first) = order.alike().first().copied() else {
            return Became::Broken;
        };
        // Then it is the strategy that keeps one.
        if order.settled {
            return Became::Hit;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_kept = |i: &&usize| kept.as_ref() == Some(&candidates[**i].name);
        if let Some(i) = order.alike().iter().find(is_kept).copied() {
            order.prefer(i, "primary");
            return Became::Hit;
        }
        match kept.replace(Arc::clone(&candidates[first].name)) {
            Some(_) => Became::Broken,
            None => Became::Miss,
        }
    }
}
