//! Requests that fail: after too many in a row a backend is left alone for a while.
//!
//! A probe asks little, and now and then; requests tell sooner. What a caller does, such as leaving, is
//! none of this.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Member, Standing, State};
use crate::config::query::Health;

/// What requests have told.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures {
    /// Since the last answer.
    in_a_row: u32,
    /// The last one.
    why: Option<Arc<str>>,
    /// How long it was left alone last, and until when.
    last: Option<(Duration, Instant)>,
}

impl Standing {
    /// Whether the last request failed, and so an answer would be news.
    pub(crate) fn has_failed(&self) -> bool {
        self.failures.in_a_row > 0
    }

    /// A request was answered, in whatever words of its own.
    pub(crate) fn answered(&mut self) {
        self.failures.in_a_row = 0;
    }

    /// A request got no answer, or only a part of it. Whether the backend is left alone from now on.
    pub(crate) fn failed(
        &mut self,
        why: &str,
        rules: &Health,
        member: &Member,
        now: Instant,
    ) -> bool {
        // Whatever was under way when it was left alone tells nothing new.
        if self.is_ejected(now) {
            return false;
        }
        self.failures.in_a_row = self.failures.in_a_row.saturating_add(1);
        self.failures.why = Some(why.into());
        let enough = (1..=self.failures.in_a_row).contains(&rules.consecutive_failures);
        // Others are asked after the healthy ones anyway.
        if !enough || self.state != State::Healthy {
            return false;
        }
        let time = self.failures.next_time(rules, now);
        let until = now + time;
        if !member.eject(until, rules.max_ejected, now) {
            return false;
        }
        self.failures.in_a_row = 0;
        self.failures.last = Some((time, until));
        self.ejected_until = Some(until);
        true
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.is_some_and(|until| until > now)
    }

    /// It is left alone no longer: for now it is out anyway.
    pub(super) fn readmit(&mut self, member: &Member) {
        if self.ejected_until.take().is_some() {
            member.readmit();
        }
    }

    /// Its time is over, or the pool has become too small for it.
    pub(super) fn readmit_in_time(&mut self, rules: &Health, member: &Member, now: Instant) {
        if !self.is_ejected(now) || member.too_many_ejected(rules.max_ejected, now) {
            self.readmit(member);
        }
    }

    /// For how much longer, and why.
    pub(crate) fn ejection(&self, now: Instant) -> Option<(Duration, &str)> {
        let left = self.ejected_until?.checked_duration_since(now)?;
        (!left.is_zero()).then_some((left, self.failures.why.as_deref().unwrap_or("")))
    }
}

impl Failures {
    /// Twice as long as before, unless it has been well for as long since.
    fn next_time(&self, rules: &Health, now: Instant) -> Duration {
        let time = match self.last {
            Some((time, until)) if now < until + time => time.saturating_mul(2),
            _ => rules.ejection,
        };
        time.min(rules.max_ejection)
    }
}
