//! Telling of every change of one member, in the log and to whoever selects.

use std::sync::Arc;

use tokio::time::Instant;

use super::State;
use crate::query::backend::Backend;
use crate::query::standing::{self, Standing, Tier};

/// What was told last.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    state: standing::State,
    tier: Tier,
    is_ejected: bool,
}

/// For as long as it is a member.
pub(super) async fn follow(state: Arc<State>, backend: Arc<Backend>) {
    let mut standing = backend.standing.subscribe();
    let mut before: Option<Seen> = None;
    loop {
        let now = standing.borrow_and_update().clone();
        let tier = now.tier(Instant::now());
        let ejected = now.ejected_until.filter(|until| *until > Instant::now());
        let is = Seen {
            state: now.state,
            tier,
            is_ejected: ejected.is_some(),
        };
        if before != Some(is) {
            if let Some(was) = before {
                tell(&state, &backend, was, is, &now);
            }
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

/// What an operator wants to know, once.
fn tell(pool: &State, backend: &Backend, was: Seen, is: Seen, now: &Standing) {
    let (pool, backend) = (&*pool.config.name, &*backend.name);
    if is.state != was.state {
        let (from, to) = (was.state.as_str(), is.state.as_str());
        let why = Some(&*now.why).filter(|why| !why.is_empty());
        match is.state.tier() > was.state.tier() {
            true => tracing::warn!(pool, backend, from, to, why, "backend is {to}"),
            false => tracing::info!(pool, backend, from, to, why, "backend is {to}"),
        }
    }
    let ejection = now.ejection(Instant::now());
    match ejection {
        Some((left, why)) if is.is_ejected && !was.is_ejected => {
            let seconds = left.as_secs_f64().round();
            tracing::warn!(
                pool,
                backend,
                seconds,
                why,
                "backend left alone: requests to it fail"
            );
        }
        None if was.is_ejected && is.state == was.state => {
            tracing::info!(pool, backend, "backend no longer left alone");
        }
        _ => {}
    }
}
