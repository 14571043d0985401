//! What is scraped, to order: it answers with exactly the bytes it is told to, cut and timed as
//! told, and keeps a journal of every connection and request.
//!
//! [`script`] is what it does, [`journal`] what it saw, [`serve`] how; [`answers`] has heads and
//! bodies that many tests want.

pub mod answers;
pub mod journal;
pub mod script;
mod serve;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Instant;

use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::ports;
use crate::wait::{PATIENCE, within};
pub use journal::{Connection, Journal, Request};
pub use script::{Feed, Gate, Script, Step};

/// A scripted target. Dropping it closes its listeners and its connections.
#[derive(Debug)]
pub struct Target {
    address: Option<SocketAddr>,
    journal: watch::Sender<Journal>,
    listening: JoinSet<()>,
    cut: CancellationToken,
}

/// Where a target listens.
#[derive(Debug)]
pub enum Ear {
    /// In clear.
    Tcp(TcpListener),
    /// With TLS.
    Tls(TcpListener, Arc<ServerConfig>),
    /// On a path.
    Unix(UnixListener),
}

/// Whether a target takes a connection while it still has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Concurrent,
    OneByOne,
}

impl Target {
    /// On a free port of 127.0.0.1.
    pub fn start(script: impl Script) -> Self {
        Self::at(vec![Ear::loopback()], script)
    }

    /// The same, taking the next connection only when the last is closed, as small devices do.
    pub fn one_by_one(script: impl Script) -> Self {
        Self::with(vec![Ear::loopback()], Manner::OneByOne, script)
    }

    /// On listeners of the test's choice.
    pub fn at(ears: Vec<Ear>, script: impl Script) -> Self {
        Self::with(ears, Manner::Concurrent, script)
    }

    fn with(ears: Vec<Ear>, manner: Manner, script: impl Script) -> Self {
        Self::going_on(ears, manner, script, watch::Sender::default())
    }

    /// With the journal of one that was there before.
    pub(crate) fn again(ear: Ear, script: impl Script, journal: watch::Sender<Journal>) -> Self {
        Self::going_on(vec![ear], Manner::Concurrent, script, journal)
    }

    fn going_on(
        ears: Vec<Ear>,
        manner: Manner,
        script: impl Script,
        journal: watch::Sender<Journal>,
    ) -> Self {
        let cut = CancellationToken::new();
        let player = serve::Player::new(Arc::new(script), journal.clone(), cut.clone());
        let address = ears.iter().find_map(Ear::address);
        let mut listening = JoinSet::new();
        for ear in ears {
            listen(&mut listening, ear, manner, player.clone());
        }
        Self {
            address,
            journal,
            listening,
            cut,
        }
    }

    /// Ends it as the death of a process with bytes unread would: nobody listens, and whoever is
    /// connected is reset.
    ///
    /// # Panics
    /// When a connection stays.
    pub async fn kill(&mut self) {
        self.cut.cancel();
        let ended = async { while self.listening.join_next().await.is_some() {} };
        within(PATIENCE, "every connection to the target reset", ended).await;
    }

    /// The first address it listens on.
    ///
    /// # Panics
    /// When it has none, only a path.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("a target with an address")
    }

    /// Its port, for a flag.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// What it saw so far.
    pub fn journal(&self) -> Journal {
        self.journal.borrow().clone()
    }

    /// Every request so far, in the order of their coming.
    pub fn requests(&self) -> Vec<Request> {
        self.journal.borrow().in_order()
    }

    /// The only request so far.
    ///
    /// # Panics
    /// When there was none, or another.
    pub fn request(&self) -> Request {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// The journal as soon as `is` holds of it.
    ///
    /// # Panics
    /// When that takes too long, with `what`.
    pub async fn until(&self, what: &str, is: impl FnMut(&Journal) -> bool) -> Journal {
        let mut journal = self.journal.subscribe();
        let held = within(PATIENCE, what, journal.wait_for(is)).await;
        held.expect("the sender is ours").clone()
    }

    /// Waits for the request of that number, counting from 1.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn nth_request(&self, n: usize) -> Request {
        let what = format!("request {n} at the target");
        let journal = self
            .until(&what, |journal| journal.requests().count() >= n)
            .await;
        journal.in_order().swap_remove(n - 1)
    }

    /// Waits until nobody is connected, and gives the moment when the last one left.
    ///
    /// # Panics
    /// When somebody stays.
    pub async fn all_closed(&self) -> Instant {
        let all = |journal: &Journal| {
            !journal.connections.is_empty()
                && journal.connections.iter().all(|c| c.closed.is_some())
        };
        let journal = self
            .until("every connection to the target closed", all)
            .await;
        let last = journal
            .connections
            .iter()
            .filter_map(|connection| connection.closed)
            .max();
        last.expect("at least one")
    }
}

impl Ear {
    /// A free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    pub fn loopback() -> Self {
        Self::Tcp(ports::listener())
    }

    /// The same, with TLS.
    ///
    /// # Panics
    /// When there is none.
    pub fn tls(config: Arc<ServerConfig>) -> Self {
        Self::Tls(ports::listener(), config)
    }

    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

fn listen(listening: &mut JoinSet<()>, ear: Ear, manner: Manner, player: serve::Player) {
    let tcp = |listener: TcpListener| {
        listener
            .set_nonblocking(true)
            .expect("a listener can be non-blocking");
        tokio::net::TcpListener::from_std(listener).expect("a listener of tokio's")
    };
    match ear {
        Ear::Tcp(listener) => {
            let listener = tcp(listener);
            listening.spawn(async move {
                let mut open = JoinSet::new();
                while let Some(Ok((stream, _))) = player.unless_cut(listener.accept()).await {
                    let player = player.clone();
                    take(&mut open, manner, async move { player.play(stream).await }).await;
                }
                close(listener, open).await;
            });
        }
        Ear::Tls(listener, config) => {
            let (listener, tls) = (tcp(listener), TlsAcceptor::from(config));
            listening.spawn(async move {
                let mut open = JoinSet::new();
                while let Some(Ok((stream, _))) = player.unless_cut(listener.accept()).await {
                    let (player, tls) = (player.clone(), tls.clone());
                    let serve = async move {
                        if let Some(Ok(stream)) = player.unless_cut(tls.accept(stream)).await {
                            player.play(stream).await;
                        }
                    };
                    take(&mut open, manner, serve).await;
                }
                close(listener, open).await;
            });
        }
        Ear::Unix(listener) => {
            listener
                .set_nonblocking(true)
                .expect("a listener can be non-blocking");
            let listener = tokio::net::UnixListener::from_std(listener).expect("a listener");
            listening.spawn(async move {
                let mut open = JoinSet::new();
                while let Some(Ok((stream, _))) = player.unless_cut(listener.accept()).await {
                    let player = player.clone();
                    take(&mut open, manner, async move { player.play(stream).await }).await;
                }
                close(listener, open).await;
            });
        }
    }
}

async fn take(
    open: &mut JoinSet<()>,
    manner: Manner,
    serve: impl Future<Output = ()> + Send + 'static,
) {
    match manner {
        Manner::Concurrent => {
            open.spawn(serve);
        }
        Manner::OneByOne => serve.await,
    }
}

/// Nobody listens any more; those who are connected end as they do.
async fn close<L>(listener: L, mut open: JoinSet<()>) {
    drop(listener);
    while open.join_next().await.is_some() {}
}
