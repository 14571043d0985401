//! Those whose tunnel is away. When nobody else is left, the first of them that is back in time is asked:
//! a tunnel is a connection, and the server behind it has not failed.

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use prometheus::IntGauge;
use tokio::time::{Instant, timeout_at};

use crate::query::backend::Backend;

/// Of one request.
#[derive(Debug, Default)]
pub(super) struct Away {
    backends: Vec<Arc<Backend>>,
    /// They were waited for, and nobody came.
    given_up: bool,
}

impl Away {
    /// There is no way to it now.
    pub(super) fn add(&mut self, backend: Arc<Backend>) {
        self.backends.push(backend);
    }

    /// Whether somebody may yet return.
    pub(super) fn may_return(&self) -> bool {
        !self.backends.is_empty() && !self.given_up
    }

    /// Who is not back, for people.
    pub(super) fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// Waits for the first that is back, as long as each is worth waiting for; `waiting` counts it
    /// meanwhile.
    pub(super) async fn returned(
        &mut self,
        until: Instant,
        waiting: &IntGauge,
    ) -> Option<Arc<Backend>> {
        if !self.may_return() {
            return None;
        }
        let back = {
            let _counted = Counted::new(waiting);
            let returns = self.backends.iter().enumerate().map(async |(n, backend)| {
                let is_back = backend.returned().await;
                is_back.then_some(n)
            });
            let returns: FuturesUnordered<_> = returns.collect();
            let mut back = pin!(returns.filter_map(ready));
            timeout_at(until, back.next()).await.ok().flatten()
        };
        self.given_up = back.is_none();
        back.map(|n| self.backends.swap_remove(n))
    }
}

/// One who waits.
struct Counted<'a>(&'a IntGauge);

impl<'a> Counted<'a> {
    fn new(waiting: &'a IntGauge) -> Self {
        waiting.inc();
        Self(waiting)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
