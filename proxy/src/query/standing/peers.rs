//! What the backends of one pool have to know of each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Shared by the backends of one pool: who scrapes most, and how many are left alone.
#[derive(Debug, Default)]
pub(crate) struct Peers(Mutex<Pool>);

#[derive(Debug, Default)]
struct Pool {
    next: u64,
    /// As long as there is a [`Member`].
    members: HashMap<u64, Seen>,
}

/// What one has told the others.
#[derive(Debug, Default)]
struct Seen {
    /// How many targets it scrapes, while that says anything.
    targets: Option<f64>,
    healthy: bool,
    ejected_until: Option<Instant>,
}

/// One backend's place among its peers; dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Member {
    peers: Arc<Peers>,
    id: u64,
}

impl Peers {
    /// One more.
    pub(crate) fn join(self: &Arc<Self>) -> Member {
        let mut pool = self.lock();
        let id = pool.next;
        pool.next += 1;
        pool.members.insert(id, Seen::default());
        drop(pool);
        Member {
            peers: Arc::clone(self),
            id,
        }
    }

    /// Held for a look at some tens of backends.
    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    fn ejected(&self, now: Instant) -> usize {
        let alone = |seen: &&Seen| seen.ejected_until.is_some_and(|until| until > now);
        self.members.values().filter(alone).count()
    }

    /// How many may be left alone at once: this share, and never all.
    fn cap(&self, share: f64) -> usize {
        let all = self.members.len();
        // Rounded down, and a share of nothing less or more than the pool.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let cap = (all as f64 * share.clamp(0.0, 1.0)) as usize;
        cap.min(all.saturating_sub(1))
    }
}

impl Member {
    /// What the others look at.
    pub(super) fn tell(&self, healthy: bool, targets: Option<f64>) {
        if let Some(seen) = self.peers.lock().members.get_mut(&self.id) {
            seen.healthy = healthy;
            seen.targets = targets;
        }
    }

    /// How many targets the best of the pool scrapes.
    pub(super) fn best_targets(&self) -> Option<f64> {
        let pool = self.peers.lock();
        let known = pool.members.values().filter_map(|seen| seen.targets);
        known.reduce(f64::max)
    }

    /// Whether this one may be left alone until then, which is noted: at most `share` of the pool is,
    /// and only if another one is healthy and is not.
    pub(super) fn eject(&self, until: Instant, share: f64, now: Instant) -> bool {
        let mut pool = self.peers.lock();
        let another = pool.members.iter().any(|(id, seen)| {
            *id != self.id && seen.healthy && seen.ejected_until.is_none_or(|until| until <= now)
        });
        if !another || pool.ejected(now) >= pool.cap(share) {
            return false;
        }
        match pool.members.get_mut(&self.id) {
            Some(seen) => {
                seen.ejected_until = Some(until);
                true
            }
            None => false,
        }
    }

    /// It is no longer left alone.
    pub(super) fn readmit(&self) {
        if let Some(seen) = self.peers.lock().members.get_mut(&self.id) {
            seen.ejected_until = None;
        }
    }

    /// Whether more are left alone than may be, since others have gone.
    pub(super) fn too_many_ejected(&self, share: f64, now: Instant) -> bool {
        let pool = self.peers.lock();
        pool.ejected(now) > pool.cap(share)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.peers.lock().members.remove(&self.id);
    }
}
