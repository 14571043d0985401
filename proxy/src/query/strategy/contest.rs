//! One is first, and others may be ahead of it: who has to be for how long to take its place.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Change, Occasion};

/// So long replicas of the same data may differ in what they have in blocks and in memory: they write
/// blocks every two hours, each in its own time, 3.x by a tenth of that later if it is told to.
const COMPACTION: Duration = Duration::from_secs(15 * 60);

/// By what somebody is ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// It is to be asked first.
    Priority,
    /// The amount that is looked at first.
    Data,
    /// Another, since they are equal in the first.
    Detail,
}

/// What is remembered from one check to the next.
#[derive(Debug, Default)]
pub(super) struct Contest {
    primary: Option<Arc<str>>,
    /// Who is ahead of it. Never more than there are candidates.
    ahead: HashMap<Arc<str>, Ahead>,
    /// How often it was looked at.
    checks: u32,
    /// Everybody has been seen once. Until then there is nothing to hold on to.
    opened: bool,
}

#[derive(Debug, Clone, Copy)]
struct Ahead {
    /// Checks in a row, by whatever.
    checks: u32,
    /// Checks in a row by more than a detail.
    clearly: u32,
    since: Instant,
}

impl Contest {
    pub(super) fn primary(&self) -> Option<&Arc<str>> {
        self.primary.as_ref()
    }

    /// Another one is first from now on; or still the same.
    pub(super) fn becomes(&mut self, to: Option<Arc<str>>, reason: &'static str) -> Option<Change> {
        self.ahead.clear();
        if self.primary == to {
            return None;
        }
        let from = std::mem::replace(&mut self.primary, to.clone());
        Some(Change { from, to, reason })
    }

    /// These are ahead of the first, and nobody else.
    pub(super) fn count(&mut self, names: &[Arc<str>], by: By, occasion: Occasion, now: Instant) {
        self.ahead.retain(|name, _| names.contains(name));
        if occasion == Occasion::Event {
            return;
        }
        for name in names {
            let ahead = self.ahead.entry(Arc::clone(name)).or_insert(Ahead {
                checks: 0,
                clearly: 0,
                since: now,
            });
            ahead.checks = ahead.checks.saturating_add(1);
            ahead.clearly = match by {
                By::Priority | By::Data => ahead.clearly.saturating_add(1),
                By::Detail => 0,
            };
        }
    }

    /// Nobody is ahead of the first.
    pub(super) fn holds(&mut self) {
        self.ahead.clear();
    }

    /// How many are ahead of the first.
    #[cfg(test)]
    pub(super) fn waits_for(&self) -> usize {
        self.ahead.len()
    }

    /// Whether this one has been ahead for long enough.
    pub(super) fn has_won(&self, name: &str, hold: u32, now: Instant) -> bool {
        if !self.opened {
            return true;
        }
        self.ahead.get(name).is_some_and(|ahead| {
            let lasts = now.saturating_duration_since(ahead.since) >= COMPACTION;
            ahead.clearly >= hold.max(1) || (lasts && ahead.checks >= hold.max(1))
        })
    }

    /// The pool was looked at; `all_seen`: nobody in it has yet to show what it has.
    pub(super) fn looked(&mut self, occasion: Occasion, all_seen: bool, hold: u32) {
        if occasion == Occasion::Interval {
            self.checks = self.checks.saturating_add(1);
            self.opened |= all_seen || self.checks >= hold;
        }
    }
}
