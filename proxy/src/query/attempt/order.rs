//! Who is asked next: the strategy's order, each once.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::away::Away;
use super::counted::{Counts, Visit};
use super::resting::Resting;
use crate::query::asked::Class;
use crate::query::backend::Backend;

/// Those who have not been asked, best first.
#[derive(Debug)]
pub(super) struct Order<'a> {
    left: VecDeque<Arc<Backend>>,
    class: Class,
    /// Requests under way at one backend.
    most: usize,
    counts: &'a Arc<Counts>,
    /// Who was passed over since it had enough to do.
    busy: Vec<Arc<Backend>>,
    /// Who was passed over since there was no way to it, and to whom it was lost.
    pub(super) away: Away,
}

impl<'a> Order<'a> {
    /// Without those who want to be left alone, unless that is everybody. What is sent once goes where
    /// the strategy says.
    pub(super) fn new(
        order: Vec<Arc<Backend>>,
        class: Class,
        most: usize,
        resting: &Resting,
        counts: &'a Arc<Counts>,
    ) -> Self {
        let mut left = VecDeque::from(order);
        let now = Instant::now();
        let rests = |backend: &Arc<Backend>| resting.rests(&backend.name, now);
        if class.retry && !left.iter().all(rests) {
            left.retain(|backend| !rests(backend));
        }
        Self {
            left,
            class,
            most,
            counts,
            busy: Vec::new(),
            away: Away::default(),
        }
    }

    /// The next that can be reached and has a place for one more request, which is taken.
    pub(super) fn next(&mut self) -> Option<Visit> {
        let mut passed = Vec::new();
        while let Some(backend) = self.left.pop_front() {
            if !backend.is_linked() {
                passed.push((Arc::clone(&backend.name), "tunnel-lost"));
                self.away.add(backend);
                continue;
            }
            let kind = self.class.kind;
            if let Some(visit) = Visit::begin(Arc::clone(&backend), kind, self.most, self.counts) {
                for (name, reason) in passed {
                    self.counts.retried(&name, reason);
                }
                return Some(visit);
            }
            passed.push((Arc::clone(&backend.name), "busy"));
            self.busy.push(backend);
        }
        None
    }

    /// It may be asked again: what was lost was the way to it.
    pub(super) fn again(&mut self, backend: Arc<Backend>) {
        self.left.push_front(backend);
    }

    /// Nobody is left who could be asked now.
    pub(super) fn is_over(&self) -> bool {
        !self.left.iter().any(|backend| backend.is_linked())
    }

    /// Who was passed over.
    pub(super) fn busy(&self) -> &[Arc<Backend>] {
        &self.busy
    }

    /// Requests under way at one backend.
    pub(super) fn most(&self) -> usize {
        self.most
    }
}
