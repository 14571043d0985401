//! Backends that asked to be left alone for a while.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use tokio::time::Instant;

/// However long a backend says: it is probed meanwhile, and others may be worse.
const LONGEST: Duration = Duration::from_secs(60);
/// Nobody has more backends than this that are all limited at once.
const MOST: usize = 256;

/// Who sent 429 with `Retry-After`, and until when.
#[derive(Debug, Default)]
pub(super) struct Resting(Mutex<Vec<(Arc<str>, Instant)>>);

impl Resting {
    /// A backend sent 429 with these headers. A date is not understood: Prometheus and the limiters
    /// before it send seconds.
    pub(super) fn told(&self, name: &Arc<str>, headers: &HeaderMap, now: Instant) {
        let seconds = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let Some(seconds) = seconds else { return };
        let until = now + Duration::from_secs(seconds).min(LONGEST);
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|(other, until)| other != name && *until > now);
        if resting.len() < MOST {
            resting.push((Arc::clone(name), until));
        }
    }

    /// Whether it is to be left alone now.
    pub(super) fn rests(&self, name: &str, now: Instant) -> bool {
        let resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        resting
            .iter()
            .any(|(other, until)| **other == *name && *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_for_it_is_left_alone_that_long() {
        let resting = Resting::default();
        let now = Instant::now();
        let told = |name: &str, value: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            resting.told(&name.into(), &headers, now);
        };
        told("a", "5");
        told("b", "86400");
        told("c", "soon");
        told("d", "-1");
        let at = |name, seconds| resting.rests(name, now + Duration::from_secs(seconds));
        assert!(at("a", 4) && !at("a", 5));
        assert!(at("b", 59) && !at("b", 60), "no longer than {LONGEST:?}");
        assert!(!at("c", 0) && !at("d", 0) && !at("e", 0));
        told("a", "1");
        assert!(!at("a", 2), "what it said last");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_remembered_has_a_bound() {
        let resting = Resting::default();
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "5".parse().unwrap())]);
        for n in 0..10 * MOST {
            resting.told(&n.to_string().into(), &headers, Instant::now());
        }
        assert_eq!(resting.0.lock().unwrap().len(), MOST);
        let later = Instant::now() + Duration::from_secs(6);
        resting.told(&"x".into(), &headers, later);
        assert_eq!(resting.0.lock().unwrap().len(), 1, "the others are over");
    }
}
