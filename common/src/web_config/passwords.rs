//! Passwords are checked off the runtime, few at a time, and not twice.
//!
//! bcrypt takes 75 ms of a core for what a Prometheus sends with every scrape. An answer is kept
//! under a keyed hash of who was asked about, so that nothing in memory is a password; right and
//! wrong ones apart, so that whoever guesses does not push out who knows. Who asks the same at once
//! waits for the one answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::users::PasswordHash;
use crate::secret::Secret;

/// Answers kept, of either kind. A Prometheus has one.
const KEPT: usize = 256;
/// Checks that wait for their turn: some seconds of work for two cores.
const WAITING: usize = 64;
/// How long a check waits. Who asked has a deadline of its own, and may be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a password is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The user's.
    Right,
    /// Not the user's, or the user is unknown.
    Wrong,
    /// Not known: too many wait to be told.
    Busy,
}

impl From<bool> for Verdict {
    fn from(right: bool) -> Self {
        if right { Self::Right } else { Self::Wrong }
    }
}

/// Checks passwords; one for the whole program.
pub struct Passwords {
    key: hmac::Key,
    answers: Arc<Mutex<Answers>>,
    turns: Arc<Mutex<HashMap<Tag, Turn>>>,
    waiting: Semaphore,
    running: Arc<Semaphore>,
}

/// User, hash and password, under a key that ends with the process.
type Tag = [u8; 32];

/// Who may find out, and how many want to know.
struct Turn {
    next: Arc<Semaphore>,
    wanted: usize,
}

#[derive(Default)]
struct Answers {
    right: Kept,
    wrong: Kept,
    /// How often bcrypt was asked, by cost: what time would show.
    #[cfg(test)]
    asked: Vec<u32>,
}

/// Answers of one kind, each with when it was last of use.
#[derive(Default)]
struct Kept {
    used: HashMap<Tag, u64>,
    clock: u64,
}

impl Kept {
    fn has(&mut self, tag: &Tag) -> bool {
        self.clock += 1;
        let used = self.used.get_mut(tag);
        used.map(|used| *used = self.clock).is_some()
    }

    fn put(&mut self, tag: Tag) {
        self.clock += 1;
        if self.used.len() >= KEPT && !self.used.contains_key(&tag) {
            let oldest = self.used.iter().min_by_key(|(_, used)| **used);
            if let Some(oldest) = oldest.map(|(tag, _)| *tag) {
                self.used.remove(&oldest);
            }
        }
        self.used.insert(tag, self.clock);
    }
}

impl Answers {
    fn about(&mut self, tag: &Tag) -> Option<bool> {
        if self.right.has(tag) {
            return Some(true);
        }
        self.wrong.has(tag).then_some(false)
    }

    fn put(&mut self, tag: Tag, right: bool) {
        let kept = if right {
            &mut self.right
        } else {
            &mut self.wrong
        };
        kept.put(tag);
    }
}

/// What is in these tables is whole after every statement.
fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place in the line for one tag, which is forgotten with the last of them.
struct Place {
    turns: Arc<Mutex<HashMap<Tag, Turn>>>,
    tag: Tag,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut turns = lock(&self.turns);
        if let Some(turn) = turns.get_mut(&self.tag) {
            turn.wanted -= 1;
            if turn.wanted == 0 {
                turns.remove(&self.tag);
            }
        }
    }
}

impl Passwords {
    /// With nothing known yet. At most half of the cores find out, and at least one.
    ///
    /// # Panics
    /// When the system has no randomness.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with((cores / 2).max(1))
    }

    fn with(running: usize) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            // Without it no handshake of TLS works, either.
            .expect("the system has randomness");
        Self {
            key,
            answers: Arc::default(),
            turns: Arc::default(),
            waiting: Semaphore::new(WAITING),
            running: Arc::new(Semaphore::new(running)),
        }
    }

    /// What is known already, at once. `None` for `hash` is an unknown user, who is never right.
    pub fn known(
        &self,
        hash: Option<&PasswordHash>,
        user: &str,
        password: &Secret,
    ) -> Option<bool> {
        lock(&self.answers).about(&self.tag(hash, user, password))
    }

    /// Whether this is the user's password. An unknown user, without a `hash`, is wrong after as
    /// much work as a known one of `unknown_cost`. Dropping it leaves the line; a check that runs
    /// already ends by itself, and its answer is kept.
    pub async fn check(
        &self,
        hash: Option<&PasswordHash>,
        unknown_cost: u32,
        user: &str,
        password: &Secret,
    ) -> Verdict {
        let tag = self.tag(hash, user, password);
        if let Some(right) = lock(&self.answers).about(&tag) {
            return right.into();
        }
        let deadline = Instant::now() + PATIENCE;
        let (place, next) = self.line_up(tag);
        // Neither semaphore is ever closed: an error is the deadline.
        let Ok(Ok(turn)) = timeout_at(deadline, next.acquire_owned()).await else {
            return Verdict::Busy;
        };
        // Somebody may have found out meanwhile. Whoever only waits for that takes no place.
        if let Some(right) = lock(&self.answers).about(&tag) {
            return right.into();
        }
        let Ok(waiting) = self.waiting.try_acquire() else {
            return Verdict::Busy;
        };
        let run = Arc::clone(&self.running).acquire_owned();
        let Ok(Ok(run)) = timeout_at(deadline, run).await else {
            return Verdict::Busy;
        };
        drop(waiting);
        let known = hash.is_some();
        let hash = hash.cloned();
        let hash = hash.unwrap_or_else(|| PasswordHash::nobodys(unknown_cost));
        let password = password.clone();
        let answers = Arc::clone(&self.answers);
        let found_out = tokio::task::spawn_blocking(move || {
            #[cfg(test)]
            lock(&answers).asked.push(hash.cost());
            let right = hash.is_of(&password) && known;
            lock(&answers).put(tag, right);
            // Only now the next of the line looks.
            drop((turn, place, run));
            right
        });
        // It fails when the program ends.
        found_out.await.map_or(Verdict::Busy, Verdict::from)
    }

    fn line_up(&self, tag: Tag) -> (Place, Arc<Semaphore>) {
        let mut turns = lock(&self.turns);
        let turn = turns.entry(tag).or_insert_with(|| Turn {
            next: Arc::new(Semaphore::new(1)),
            wanted: 0,
        });
        turn.wanted += 1;
        let next = Arc::clone(&turn.next);
        let turns = Arc::clone(&self.turns);
        (Place { turns, tag }, next)
    }

    fn tag(&self, hash: Option<&PasswordHash>, user: &str, password: &Secret) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        let hash = hash.map_or(&b"unknown"[..], PasswordHash::as_bytes);
        for part in [user.as_bytes(), hash, password.expose().as_bytes()] {
            // So that no two triples are the same bytes.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
