//! What may happen a thousand times a second, and is said once a minute.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const PAUSE: Duration = Duration::from_secs(60);

/// Knows when something was said last.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it may be said again; then it was.
    pub(super) fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now >= last + PAUSE);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn once_a_minute() {
        let seldom = Seldom::default();
        let said = |n: usize| (0..n).filter(|_| seldom.is_due()).count();
        assert_eq!(said(1000), 1);
        tokio::time::advance(PAUSE - Duration::from_secs(1)).await;
        assert_eq!(said(1000), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(said(1000), 1);
    }
}
