//! A Prometheus that is what the test says it is: ready or not, old or new, slow, broken, gone, back.
//!
//! ```ignore
//! let fake = FakePrometheus::start("a");
//! fake.set(|state| state.age = Some(600.0));
//! fake.set(|state| state.once("/api/v1/query", Fixed::status(502)));
//! fake.kill().await;
//! fake.restart().await;
//! let journal = fake.until("a query", |journal| journal.queries().len() == 1).await;
//! ```
//!
//! 1. [`state`] is all that can be set, also while it runs. Whatever is not set is that of a healthy
//!    Prometheus with fresh data, and every answer names the fake: [`SERVED_BY`], and for a query
//!    [`result_of`].
//! 2. [`fixed`] is an answer to the byte: status, fields, how its end is told, where it is cut, when it
//!    comes.
//! 3. [`answering`] makes steps of a request, [`pages`] has what Prometheus' own pages say.
//! 4. [`journal`] is what it was asked, probes and the rest apart, and whether the asker stayed.
//!
//! The bytes are written by a [`Target`](crate::target::Target).

mod answering;
mod fixed;
mod journal;
mod pages;
mod state;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustls::ServerConfig;
use tokio::sync::watch;

use crate::ports;
use crate::target::{Ear, Journal as TargetJournal, Request, Step, Target};
use crate::wait::{PATIENCE, within};
pub use fixed::{Ending, Fixed};
pub use journal::{Journal, Seen};
pub use pages::{SERVED_BY, result_of};
pub use state::{Block, Hangs, Ready, State};

/// A scripted Prometheus on the loopback. Dropping it closes its listener and its connections.
#[derive(Debug)]
pub struct FakePrometheus {
    id: String,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    state: Shared,
    journal: watch::Sender<TargetJournal>,
    /// None while nobody listens.
    target: Option<Target>,
}

/// What it is at the moment.
#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<State>>);

impl FakePrometheus {
    /// On a free port of 127.0.0.1, healthy.
    ///
    /// # Panics
    /// When there is none.
    pub fn start(id: &str) -> Self {
        Self::start_as(id, |_| {})
    }

    /// As `set` makes it, from its first request on.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn start_as(id: &str, set: impl FnOnce(&mut State)) -> Self {
        Self::on(id, None, set)
    }

    /// With TLS, healthy.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn start_tls(id: &str, tls: Arc<ServerConfig>) -> Self {
        Self::on(id, Some(tls), |_| {})
    }

    fn on(id: &str, tls: Option<Arc<ServerConfig>>, set: impl FnOnce(&mut State)) -> Self {
        let mut state = State::new(id);
        set(&mut state);
        let listener = ports::listener();
        let mut fake = Self {
            id: id.to_owned(),
            address: listener.local_addr().expect("bound"),
            tls,
            state: Shared(Arc::new(Mutex::new(state))),
            journal: watch::Sender::default(),
            target: None,
        };
        fake.listen(listener);
        fake
    }

    fn listen(&mut self, listener: TcpListener) {
        let ear = match &self.tls {
            Some(tls) => Ear::Tls(listener, Arc::clone(tls)),
            None => Ear::Tcp(listener),
        };
        let state = self.state.clone();
        let script = move |request: &Request| -> Vec<Step> { state.steps(request) };
        self.target = Some(Target::again(ear, script, self.journal.clone()));
    }

    /// What it is called in its answers.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it listens, or did.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What `--query.backend` wants, without a path.
    pub fn url(&self) -> String {
        let scheme = match self.tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}", self.address)
    }

    /// Makes it something else. What is being answered goes on as it was.
    pub fn set(&self, change: impl FnOnce(&mut State)) {
        self.state.with(change);
    }

    /// Nobody listens any more, and whoever is connected is reset.
    ///
    /// # Panics
    /// When a connection stays.
    pub async fn kill(&mut self) {
        if let Some(mut target) = self.target.take() {
            target.kill().await;
        }
    }

    /// Listens again where it did, with the state and the journal it has.
    ///
    /// # Panics
    /// When its port is somebody else's by now.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.listen(TcpListener::bind(self.address).expect("the port it had"));
    }

    /// An event for everyone who follows `/api/v1/notifications/live`: `data` is a line.
    pub fn event(&self, data: &str) {
        self.state.with(|state| state.event(data));
    }

    /// What it was asked so far, before and after its restarts.
    pub fn journal(&self) -> Journal<'static> {
        Journal::owned(self.journal.borrow().clone())
    }

    /// The journal as soon as `is` holds of it.
    ///
    /// # Panics
    /// When that takes too long, with `what`.
    pub async fn until(
        &self,
        what: &str,
        mut is: impl FnMut(&Journal<'_>) -> bool,
    ) -> Journal<'static> {
        let mut journal = self.journal.subscribe();
        let what = format!("{what} at the fake Prometheus {}", self.id);
        let is = |journal: &TargetJournal| is(&Journal::borrowed(journal));
        let held = within(PATIENCE, &what, journal.wait_for(is)).await;
        Journal::owned(held.expect("the sender is ours").clone())
    }

    /// Waits until nobody is connected, and gives the moment when the last one left.
    ///
    /// # Panics
    /// When somebody stays, or nobody came.
    pub async fn all_closed(&self) -> Instant {
        let journal = self
            .until("every connection closed", |journal| {
                journal.connections() > 0 && journal.open() == 0
            })
            .await;
        journal.last_closed().expect("there was one")
    }
}

impl Shared {
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        // A test that panics while it sets something has failed anyway.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn steps(&self, request: &Request) -> Vec<Step> {
        self.with(|state| answering::steps(state, request))
    }
}
