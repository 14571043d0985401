//! How much is under way at a backend, and how long it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Shared by all requests to one backend.
#[derive(Debug, Default)]
pub(crate) struct Load {
    under_way: Arc<AtomicUsize>,
    /// Microseconds until an answer's head, a moving average; 0: none yet.
    latency: AtomicUsize,
}

/// One request under way; dropping it is its end.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<AtomicUsize>);

impl Load {
    /// One more, unless there are `most`.
    pub(crate) fn begin(&self, most: usize) -> Option<UnderWay> {
        let one_more = |count| (count < most).then_some(count + 1);
        let began = self
            .under_way
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        began.is_ok().then(|| UnderWay(Arc::clone(&self.under_way)))
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// An answer's head has come after this time. A tenth of it counts.
    pub(crate) fn took(&self, time: Duration) {
        let now = usize::try_from(time.as_micros())
            .unwrap_or(usize::MAX)
            .max(1);
        let mix = |before: usize| match before {
            0 => now,
            before => (before - before / 10).saturating_add(now / 10).max(1),
        };
        let _ = self
            .latency
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
                Some(mix(before))
            });
    }

    /// On average; nothing before the first answer.
    pub(crate) fn latency(&self) -> Option<Duration> {
        match self.latency.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(
                u64::try_from(micros).unwrap_or(u64::MAX),
            )),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
