//! The pushes that somebody waits for, by their ids. An entry belongs to its scrape and goes with
//! it, so that a push that comes late finds nothing, and is refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit_common::name::Name;
use http::{Method, Response};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

use super::body::PushedBody;

/// Every scrape that was handed to a poll and has no answer yet.
#[derive(Debug, Default)]
pub(crate) struct Pushes {
    table: Mutex<HashMap<Uuid, Expected>>,
    /// Scrapes that were handed to a poll and are not over.
    under_way: TaskTracker,
}

/// What a push must be held against, and who gets it.
#[derive(Debug)]
pub(crate) struct Expected {
    /// Whose answer it is.
    name: Name,
    /// Of the scrape: it says whether a body follows.
    pub(crate) method: Method,
    /// Until when an answer is of use.
    pub(crate) deadline: Instant,
    /// Closed when the scrape is over.
    pub(crate) answer: oneshot::Sender<Response<PushedBody>>,
}

/// The scrape's end: dropped, it wants no push any more.
#[derive(Debug)]
pub(super) struct Expecting {
    pushes: Arc<Pushes>,
    _under_way: TaskTrackerToken,
    pub(super) id: Uuid,
    pub(super) answer: oneshot::Receiver<Response<PushedBody>>,
}

impl Pushes {
    /// Waits for a push from now on. The id is random: nobody else can know it.
    pub(super) fn expect(
        self: &Arc<Self>,
        name: Name,
        method: Method,
        deadline: Instant,
    ) -> Expecting {
        let id = Uuid::new_v4();
        let (sender, answer) = oneshot::channel();
        let expected = Expected {
            name,
            method,
            deadline,
            answer: sender,
        };
        self.lock().insert(id, expected);
        Expecting {
            pushes: Arc::clone(self),
            _under_way: self.under_way.token(),
            id,
            answer,
        }
    }

    /// Who waits for this push of somebody that `may` push for its name. The first one takes it; a
    /// second finds nobody.
    pub(crate) fn take(&self, id: &Uuid, may: impl FnOnce(&Name) -> bool) -> Option<Expected> {
        let mut table = self.lock();
        match may(&table.get(id)?.name) {
            true => table.remove(id),
            false => None,
        }
    }

    /// Resolves when none is waited for, and from then on none is expected.
    pub(crate) async fn all_came(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    /// How many are waited for.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Expected>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Expecting {
    fn drop(&mut self) {
        self.pushes.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_taken_once_and_only_while_it_is_waited_for() {
        let pushes = Arc::new(Pushes::default());
        let deadline = Instant::now();
        let expect = |method| pushes.expect("pi".parse().unwrap(), method, deadline);
        let take = |id: &Uuid| pushes.take(id, |name| name.as_str() == "pi");
        let expecting = expect(Method::GET);
        assert!(take(&Uuid::new_v4()).is_none(), "a foreign id");
        assert!(pushes.take(&expecting.id, |_| false).is_none(), "another's");
        let taken = take(&expecting.id).unwrap();
        assert!(take(&expecting.id).is_none(), "a second push");
        drop(expecting);
        assert!(taken.answer.is_closed(), "the scrape is over");
        let late = expect(Method::HEAD);
        let id = late.id;
        drop(late);
        assert!(take(&id).is_none(), "a late push");
        assert_eq!(pushes.len(), 0);
    }
}
