//! A client of PushProx' as it was released, without its Go: it polls, scrapes and pushes as that
//! one does, slips included.
//!
//! 1. [`poll`] asks for work, follows redirects, and backs off after errors.
//! 2. [`handed`] is the request that came as the body of the answer.
//! 3. [`scrape`] asks the target for it; [`push`] writes what came as `http.Response.Write` does.
//! 4. [`wire`] is a connection to the proxy, which a test may cut; [`message`] reads heads.
//!
//! By [`Builder::manual`] the test itself takes what is handed out and pushes what it likes.
//!
//! What the released client has and this one has not: TLS, gzip in the answer to a poll, redirects
//! of targets, keep-alive to targets, trailers. Fields of a target's answer that are no UTF-8 are
//! not pushed as they came.

pub mod handed;
mod poll;

pub mod push;
mod scrape;

mod message;
pub mod wire;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::wait::{PATIENCE, within};
pub use handed::HandedRequest;
pub use push::{OpenPush, PushAnswer};
pub use wire::Loss;
use wire::Wire;

/// Requests a test has not taken yet.
const HANDED: usize = 1024;

/// A fake of the released client. Dropping it closes its connections, as a process that ends does.
#[derive(Debug)]
pub struct FakePushProx {
    client: Arc<Client>,
    _polling: JoinSet<()>,
}

/// One whose requests go to the test.
#[derive(Debug)]
pub struct Manual {
    fake: FakePushProx,
    handed: mpsc::Receiver<HandedRequest>,
}

/// What a fake client is started with.
#[derive(Debug, Clone)]
pub struct Builder {
    proxy: SocketAddr,
    fqdn: String,
    prefix: String,
    upstream: Option<SocketAddr>,
    local: Option<IpAddr>,
    retry: Retry,
}

/// What a client did so far.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Connections opened to the proxy.
    pub connections: u64,
    /// Requests for `/poll`, those after a redirect included.
    pub polls: u64,
    /// 102s and other interim answers.
    pub interim: u64,
    /// Redirects followed.
    pub redirects: u64,
    /// Scrapes handed to it.
    pub requests: u64,
    /// Polls that brought none, each with a back-off.
    pub poll_errors: u64,
    /// What was wrong with the last of them.
    pub last_poll_error: String,
    /// Scrapes without an answer of the target.
    pub scrape_errors: u64,
    /// The statuses of its pushes, as they came.
    pub pushes: Vec<u16>,
    /// Pushes without an answer, and those for which there was no time left.
    pub push_errors: u64,
}

/// The flags `--proxy.retry.initial-wait` and `--proxy.retry.max-wait`.
#[derive(Debug, Clone, Copy)]
struct Retry {
    initial: Duration,
    max: Duration,
}

/// What every step looks at.
#[derive(Debug)]
struct Client {
    settings: Builder,
    counters: watch::Sender<Counters>,
    polling: watch::Sender<bool>,
    cuts_of_polls: watch::Sender<Loss>,
    cuts_of_pushes: watch::Sender<Loss>,
    /// Free for the next request of either kind.
    idle: Mutex<Vec<Wire>>,
    /// Never free again: Go waits for someone to read the body of a push's answer.
    leaked: Mutex<Vec<Wire>>,
    /// Cut by silence: open as far as the proxy can tell.
    silent: wire::Silent,
}

impl FakePushProx {
    /// Polls `proxy` as `fqdn`, and scrapes `upstream` whatever port is asked for.
    pub fn start(proxy: SocketAddr, fqdn: &str, upstream: SocketAddr) -> Self {
        Self::builder(proxy, fqdn).upstream(upstream).start()
    }

    /// One to be adjusted: it scrapes 127.0.0.1, at the port that is asked for.
    pub fn builder(proxy: SocketAddr, fqdn: &str) -> Builder {
        Builder {
            proxy,
            fqdn: fqdn.to_owned(),
            prefix: String::new(),
            upstream: None,
            local: None,
            retry: Retry {
                initial: Duration::from_secs(1),
                max: Duration::from_secs(5),
            },
        }
    }

    /// What it did so far.
    pub fn counters(&self) -> Counters {
        self.client.counters.borrow().clone()
    }

    /// The same as soon as `is` holds of it.
    ///
    /// # Panics
    /// When that takes too long, with `what` and with what it did instead.
    pub async fn until(&self, what: &str, is: impl FnMut(&Counters) -> bool) -> Counters {
        let mut counters = self.client.counters.subscribe();
        let held = tokio::time::timeout(PATIENCE, counters.wait_for(is)).await;
        match held {
            Ok(counters) => counters.expect("we hold the sender").clone(),
            Err(_) => panic!("not within {PATIENCE:?}: {what}; {:?}", self.counters()),
        }
    }

    /// Ends every connection so. A poll that is cut is an error: another follows after a back-off.
    pub fn cut(&self, loss: Loss) {
        self.client.cuts_of_pushes.send_replace(loss);
        self.cut_polls(loss);
        let leaked = std::mem::take(&mut *lock(&self.client.leaked));
        leaked.into_iter().for_each(|wire| wire.lose(loss));
    }

    /// The same, and a push under way goes on.
    pub fn cut_polls(&self, loss: Loss) {
        self.client.cuts_of_polls.send_replace(loss);
        let idle = std::mem::take(&mut *lock(&self.client.idle));
        idle.into_iter().for_each(|wire| wire.lose(loss));
    }

    /// Sends no more polls; one that is under way stays.
    pub fn pause(&self) {
        self.client.polling.send_replace(false);
    }

    /// Polls again.
    pub fn resume(&self) {
        self.client.polling.send_replace(true);
    }

    /// Pushes exactly these bytes, with their length known.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn push(&self, bytes: impl AsRef<[u8]>) -> PushAnswer {
        let pushing = push::push(&self.client, bytes.as_ref());
        let answer = within(PATIENCE, "the answer to a push", pushing).await;
        answer.unwrap_or_else(|error| panic!("no answer to a push: {error}"))
    }

    /// Begins a push of so many bytes, or with `None` one in chunks, which the released client
    /// never sends.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn begin_push(&self, length: Option<usize>) -> OpenPush {
        OpenPush::begin(Arc::clone(&self.client), length).await
    }
}

impl Manual {
    /// The next scrape handed out. The next poll is on its way already.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next(&mut self) -> HandedRequest {
        let handed = within(PATIENCE, "a scrape for a manual client", self.handed.recv()).await;
        handed.expect("the polling task holds the sender")
    }
}

impl Deref for Manual {
    type Target = FakePushProx;

    fn deref(&self) -> &FakePushProx {
        &self.fake
    }
}

impl Builder {
    /// Scrapes this address, whatever port is asked for.
    pub fn upstream(mut self, upstream: SocketAddr) -> Self {
        self.upstream = Some(upstream);
        self
    }

    /// Dials from this address.
    pub fn local(mut self, local: impl Into<IpAddr>) -> Self {
        self.local = Some(local.into());
        self
    }

    /// Puts this before `/poll` and `/push`: the path of `--proxy-url`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Waits otherwise than 1 s to 5 s after an error, half more or less.
    pub fn retry(mut self, initial: Duration, max: Duration) -> Self {
        self.retry = Retry { initial, max };
        self
    }

    /// Starts to poll, scrape and push.
    pub fn start(self) -> FakePushProx {
        self.run(None)
    }

    /// Starts to poll, and leaves the rest to the test.
    pub fn manual(self) -> Manual {
        let (sender, handed) = mpsc::channel(HANDED);
        let fake = self.run(Some(sender));
        Manual { fake, handed }
    }

    fn run(self, to_test: Option<mpsc::Sender<HandedRequest>>) -> FakePushProx {
        let client = Arc::new(Client {
            settings: self,
            counters: watch::Sender::default(),
            polling: watch::Sender::new(true),
            cuts_of_polls: watch::Sender::new(Loss::Fin),
            cuts_of_pushes: watch::Sender::new(Loss::Fin),
            idle: Mutex::default(),
            leaked: Mutex::default(),
            silent: wire::Silent::default(),
        });
        let mut polling = JoinSet::new();
        polling.spawn(poll::forever(Arc::clone(&client), to_test));
        FakePushProx {
            client,
            _polling: polling,
        }
    }
}

impl Client {
    fn count(&self, change: impl FnOnce(&mut Counters)) {
        self.counters.send_modify(change);
    }
}

/// A list is never left half changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|error| error.into_inner())
}
