//! What was done to whom and when, for the moment when something is wrong.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Events kept; older ones go. A run of ten minutes has some thousands.
const MOST: usize = 20_000;

/// The last events.
#[derive(Debug)]
pub(super) struct Chronicle {
    started: Instant,
    events: Mutex<VecDeque<Event>>,
}

#[derive(Debug, Clone)]
struct Event {
    at: Instant,
    who: String,
    what: String,
}

impl Chronicle {
    /// Empty, with its zero now.
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            events: Mutex::default(),
        }
    }

    /// Something happens to `who`.
    pub(super) fn note(&self, who: &str, what: impl Into<String>) {
        let mut events = self.lock();
        if events.len() >= MOST {
            events.pop_front();
        }
        events.push_back(Event {
            at: Instant::now(),
            who: who.to_owned(),
            what: what.into(),
        });
    }

    /// Everything, a line each.
    pub(super) fn all(&self) -> String {
        let events = self.lock();
        events.iter().map(|event| self.line(event)).collect()
    }

    /// What happened to any of `whom` since so long before `from`, a line each.
    pub(super) fn about(&self, whom: &[String], from: Instant, before: Duration) -> String {
        let since = from.checked_sub(before).unwrap_or(self.started);
        let events = self.lock();
        let told = events.iter().filter(|event| {
            let matches = |who: &String| event.who.split(' ').any(|word| word == who);
            event.at >= since && whom.iter().any(matches)
        });
        told.map(|event| self.line(event)).collect()
    }

    fn line(&self, event: &Event) -> String {
        let at = self.seconds(event.at);
        format!("    {at:9.3}s {}: {}\n", event.who, event.what)
    }

    /// Whether anything happened to any of `whom` within so long before `until`, and `until`.
    pub(super) fn is_quiet(&self, whom: &[String], until: Instant, before: Duration) -> bool {
        let since = until.checked_sub(before).unwrap_or(self.started);
        let events = self.lock();
        let told = |event: &Event| {
            let matches = |who: &String| event.who.split(' ').any(|word| word == who);
            event.at >= since && event.at <= until && whom.iter().any(matches)
        };
        !events.iter().any(told)
    }

    /// Seconds from the start of the run.
    pub(super) fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.started).as_secs_f64()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_somebody_is_found_by_any_word_of_the_name() {
        let chronicle = Chronicle::new();
        chronicle.note("s01 p0", "cut");
        chronicle.note("s02 p0", "stalled");
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let told = |who: &str| chronicle.about(&[who.to_owned()], now, minute);
        assert!(told("s01").contains("cut") && !told("s01").contains("stalled"));
        assert_eq!(told("p0").lines().count(), 2);
        assert_eq!(told("s0"), "");
        assert!(chronicle.is_quiet(&["s03".to_owned()], now, minute));
        assert!(!chronicle.is_quiet(&["s02".to_owned()], now, minute));
    }

    #[test]
    fn the_oldest_go_first() {
        let chronicle = Chronicle::new();
        for n in 0..=MOST {
            chronicle.note("x", n.to_string());
        }
        let told = chronicle.about(&["x".to_owned()], Instant::now(), Duration::from_secs(60));
        assert_eq!(told.lines().count(), MOST);
        assert!(told.starts_with(|_| true) && told.contains(": 1\n") && !told.contains(": 0\n"));
    }
}
