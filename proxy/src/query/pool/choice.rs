//! An order of the members for one request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::{Instant, timeout_at};

use super::Pool;
use super::members::Member;
use crate::query::affinity::Wish;
use crate::query::asked::Asked;
use crate::query::backend::Backend;

/// After the start of a pool a request waits so long for somebody to be found.
const FIRST_FOUND: Duration = Duration::from_secs(2);

/// Who is asked for one request, and why.
#[derive(Debug)]
pub(crate) struct Choice {
    /// Best first.
    pub(crate) order: Vec<Arc<Backend>>,
    /// Why the first is the first.
    pub(crate) reason: &'static str,
    wish: Wish,
}

impl Pool {
    /// For this request of this caller.
    pub(crate) async fn choose(&self, asked: &mut Asked, address: Option<IpAddr>) -> Choice {
        let members = self.found().await;
        let candidates = self.candidates(&members);
        let state = &self.state;
        let wish = state.affinities.read(&asked.headers, address, &candidates);
        state.affinities.strip(&mut asked.headers);
        let now = Instant::now();
        let mut order = state
            .chooser
            .order(asked, wish.key.as_deref(), &candidates, now);
        for outcome in state.affinities.apply(&wish, &mut order, &candidates) {
            let labels = [&*state.config.name, outcome.kind, outcome.became.as_str()];
            state.metrics.affinity.with_label_values(&labels).inc();
        }
        let backend = |index: &usize| Arc::clone(&members[*index].backend);
        Choice {
            order: order.indices.iter().map(backend).collect(),
            reason: order.reason,
            wish,
        }
    }

    /// What the answer tells the caller to keep.
    pub(crate) fn cookie(&self, choice: &Choice, by: &str, https: bool) -> Option<HeaderValue> {
        self.state.affinities.cookie(&choice.wish, by, https)
    }

    /// The members; right after the start, as soon as there are some.
    async fn found(&self) -> Arc<Vec<Member>> {
        let until = self.state.started + FIRST_FOUND;
        loop {
            let changed = self.state.changed.notified();
            tokio::pin!(changed);
            // Before looking: who comes from now on is noticed.
            changed.as_mut().enable();
            let members = self.members();
            if !members.is_empty() || Instant::now() >= until {
                return members;
            }
            // At the end there may be nobody, and that is said.
            let _ = timeout_at(until, changed).await;
        }
    }
}
