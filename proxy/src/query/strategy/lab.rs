//! Backends for tests.

use std::time::Duration;

use super::*;

/// Healthy, and nothing is known of it.
pub(crate) fn candidate(name: &str) -> Candidate {
    Candidate {
        name: name.into(),
        tier: Tier::Good,
        priority: 0,
        weight: 1,
        data: Data::default(),
        under_way: 0,
        latency: None,
    }
}

/// One that goes back so many seconds.
pub(crate) fn with_history(name: &str, seconds: f64) -> Candidate {
    let mut candidate = candidate(name);
    candidate.data.now = Some(1.8e9);
    candidate.data.oldest = Some(1.8e9 - seconds);
    candidate
}

/// As many as there are names.
pub(crate) fn candidates<const N: usize>(names: [&str; N]) -> Vec<Candidate> {
    names.into_iter().map(candidate).collect()
}

/// A time, and the same some seconds later.
pub(crate) fn times() -> impl Fn(u64) -> Instant {
    let start = Instant::now();
    move |seconds| start + Duration::from_secs(seconds)
}

impl Chooser {
    /// The same with chance that is no chance.
    pub(crate) fn seeded(strategy: &Strategy, seed: u64) -> Self {
        Self::with(strategy, fastrand::Rng::with_seed(seed))
    }

    /// Names in the order for one request.
    pub(crate) fn names(
        &self,
        key: Option<&[u8]>,
        candidates: &[Candidate],
        now: Instant,
    ) -> Vec<String> {
        let order = self.arrange(key, candidates, now);
        let name = |i: &usize| String::from(&*candidates[*i].name);
        order.indices.iter().map(name).collect()
    }

    /// Who is asked first.
    pub(crate) fn first(&self, candidates: &[Candidate], now: Instant) -> String {
        self.names(None, candidates, now).swap_remove(0)
    }

    /// The order for a caller with this key.
    pub(crate) fn order_for(
        &self,
        key: Option<&[u8]>,
        candidates: &[Candidate],
        now: Instant,
    ) -> Order {
        self.arrange(key, candidates, now)
    }
}
