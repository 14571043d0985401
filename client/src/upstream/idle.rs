//! Connections that targets have kept open.
//!
//! None is ever opened ahead of a scrape: some targets serve one connection at a time, and an idle
//! one would lock everybody else out.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_common::target::Scheme;
use tokio::time::Instant;

use super::connection::Connection;

/// Kept for one upstream. A scraper uses one at a time; a Grafana behind the query side does not.
const MOST_KEPT: usize = 16;
/// How long an unused connection is kept: as long as Prometheus keeps its own.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// What one upstream has open, and which of its addresses answered last.
#[derive(Debug, Default)]
pub(super) struct Idle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: Vec<(Scheme, Connection)>,
    winner: Option<IpAddr>,
}

impl Idle {
    /// The connection used last, if one is still open.
    pub(super) fn take(&self, scheme: Scheme) -> Option<Connection> {
        let mut state = self.lock();
        state.kept.retain(|(_, c)| !c.sender.is_closed());
        let at = state.kept.iter().rposition(|(s, _)| *s == scheme)?;
        Some(state.kept.remove(at).1)
    }

    /// A scrape by this connection has ended well. Its target may be about to close it; then
    /// nobody takes it.
    pub(super) fn put(&self, scheme: Scheme, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        connection.lease_until(Instant::now() + KEPT_FOR);
        let mut state = self.lock();
        state.kept.retain(|(_, c)| !c.sender.is_closed());
        if state.kept.len() < MOST_KEPT {
            state.kept.push((scheme, connection));
        }
    }

    /// The address that answered last.
    pub(super) fn winner(&self) -> Option<IpAddr> {
        self.lock().winner
    }

    pub(super) fn won(&self, address: IpAddr) {
        self.lock().winner = Some(address);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
