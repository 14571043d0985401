//! Telling of every change of one member, in the log and to whoever selects.

use std::sync::Arc;

use tokio::time::Instant;

use super::State;
use crate::query::backend::Backend;
use crate::query::standing::{self, Standing, Tier};

/// For as long as it is a member.
pub(super) async fn follow(state: Arc<State>, backend: Arc<Backend>) {
    let mut standing = backend.standing.subscribe();
    let mut before: Option<(standing::State, Tier, bool)> = None;
    loop {
        let now = standing.borrow_and_update().clone();
        let tier = now.tier(Instant::now());
        let ejected = now.ejected_until.filter(|until| *until > Instant::now());
        let is = (now.state, tier, ejected.is_some());
        if before != Some(is) {
            tell(&state, &backend, before, &now, ejected.is_some());
            before = Some(is);
            state.changed.notify_waiters();
        }
        // Nobody tells when the time of an ejection is over.
        let returns = async {
            match ejected {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = standing.changed() => if changed.is_err() { return },
            () = returns => {}
        }
    }
}

fn tell(
    state: &State,
    backend: &Backend,
    before: Option<(standing::State, Tier, bool)>,
    now: &Standing,
    ejected: bool,
) {
    let (pool, backend) = (&*state.config.name, &*backend.name);
    let was_ejected = before.is_some_and(|(_, _, ejected)| ejected);
    if ejected && !was_ejected {
        tracing::warn!(pool, backend, why = %now.why, "backend left alone for a while: requests to it failed");
    }
    match before {
        Some((was, ..)) if was != now.state => {
            let (from, to) = (was.as_str(), now.state.as_str());
            match now.state {
                standing::State::Healthy => tracing::info!(pool, backend, from, to, "backend"),
                _ => tracing::warn!(pool, backend, from, to, why = %now.why, "backend"),
            }
        }
        _ => {}
    }
}
