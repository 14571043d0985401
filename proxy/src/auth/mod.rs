//! Who is asking, and what they may.
//!
//! 1. [`shown`] reads what a request shows: a token, a user with a password, the names in a client
//!    certificate that was verified.
//! 2. [`client`] holds it against what clients may show, and gives a [`Grant`]: the names it may take,
//!    for as long as [`Auth::renew`] finds it good.
//! 3. [`scraper`] does the same for those who scrape and see pages, and gives a [`Caller`].
//! 4. [`denied`] is whoever is not let in, and what they are told.
//!
//! [`throttle`] keeps those who guess from costing more than they are worth. What may be configured is
//! in `config::access`; users and their passwords are in the web configuration.

mod shown;

mod client;
mod scraper;

mod denied;
mod throttle;

use std::sync::Arc;

use adit_common::secret::Secret;
use adit_common::web_config::{PasswordHash, Passwords, Verdict, Web};
use tokio::sync::watch;

pub(crate) use self::client::{Grant, Place};
pub(crate) use self::denied::{Denied, Way};
pub(crate) use self::scraper::Caller;
pub(crate) use self::shown::Visitor;
pub(crate) use self::throttle::network;

use self::client::Places;
use self::throttle::Throttle;
use crate::config::access::Access;
use crate::metrics::Metrics;

/// Everything that is known of who may what.
#[derive(Debug)]
pub(crate) struct Auth {
    access: watch::Sender<Arc<Access>>,
    web: Arc<Web>,
    passwords: Passwords,
    throttle: Throttle,
    places: Arc<Places>,
    sessions_per_credential: usize,
    failures: prometheus::IntCounterVec,
}

impl Auth {
    pub(crate) fn new(
        access: Access,
        web: Arc<Web>,
        sessions_per_credential: usize,
        metrics: &Metrics,
    ) -> Self {
        Self {
            access: watch::Sender::new(Arc::new(access)),
            web,
            passwords: Passwords::new(),
            throttle: Throttle::default(),
            places: Arc::default(),
            sessions_per_credential,
            failures: metrics.auth_failures.clone(),
        }
    }

    /// The web configuration, which is read again by itself.
    pub(crate) fn web(&self) -> &Arc<Web> {
        &self.web
    }

    /// From now on this holds, also for sessions that are there.
    pub(crate) fn replace(&self, access: Access) {
        self.access.send_replace(Arc::new(access));
    }

    /// Tells of every change that may end a grant.
    pub(crate) fn changes(&self) -> Changes {
        Changes {
            access: self.access.subscribe(),
            web: self.web.subscribe(),
        }
    }

    fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.borrow())
    }

    /// Whether it is the user's password. What is known is known at once; every other check costs an
    /// address that fails often its turn.
    async fn is_password(
        &self,
        visitor: &Visitor,
        hash: Option<&PasswordHash>,
        cost: u32,
        user: &str,
        password: &Secret,
    ) -> Result<bool, Denied> {
        if let Some(known) = self.passwords.known(hash, user, password) {
            return Ok(known);
        }
        if !self.throttle.may_try(visitor.address()) {
            return Err(Denied::Throttled);
        }
        match self.passwords.check(hash, cost, user, password).await {
            Verdict::Right => {
                self.throttle.succeeded(visitor.address());
                Ok(true)
            }
            Verdict::Wrong => Ok(false),
            Verdict::Busy => Err(Denied::Busy),
        }
    }

    /// Counts it, and says in the log what is new.
    fn note(&self, role: &'static str, visitor: &Visitor, denied: &Denied) {
        let labels = [role, denied.as_str()];
        self.failures.with_label_values(&labels).inc();
        // Somebody who guesses a million times is worth some lines.
        let peer = visitor.peer();
        // Without a parent: a session's span has a peer as well, and a field stands in a line once.
        match self.throttle.is_news(visitor.address()) {
            true => tracing::warn!(parent: None, %peer, role, reason = %denied, "not let in"),
            false => tracing::debug!(parent: None, %peer, role, reason = %denied, "not let in"),
        }
    }
}

/// Whoever guesses may have written a thousand requests at once, and hyper answers many of what it has
/// read before anybody else has a turn.
async fn others_first() {
    tokio::task::yield_now().await;
}

/// Waits for changes of who may what.
#[derive(Debug)]
pub(crate) struct Changes {
    access: watch::Receiver<Arc<Access>>,
    web: watch::Receiver<Arc<adit_common::web_config::WebConfig>>,
}

impl Changes {
    /// Resolves after the next change. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        let ended = tokio::select! {
            changed = self.access.changed() => changed.is_err(),
            changed = self.web.changed() => changed.is_err(),
        };
        if ended {
            // Nobody is left to change anything.
            std::future::pending::<()>().await;
        }
    }
}
