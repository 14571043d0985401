//! What the rest of the proxy sees of a client's tunnel.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use adit_common::registration::Instance;
use adit_common::tunnel::coalesce::Coalesced;
use adit_common::tunnel::goodbye::{Ending, Farewell, Goodbye};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::Limits;

/// The body of a request into a tunnel.
pub(crate) type TunnelBody = Either<Empty<Bytes>, Coalesced<Incoming>>;

/// A tunnel that has been authenticated and registered.
pub(crate) struct Session {
    id: u64,
    instance: Instance,
    /// Taken at the end: hyper closes the connection when the last sender is gone.
    sender: Mutex<Option<SendRequest<TunnelBody>>>,
    scrapes: Arc<Semaphore>,
    connects: Arc<Semaphore>,
    ending: Ending,
    over: CancellationToken,
}

/// Why a request got no answer by this session.
#[derive(Debug)]
pub(crate) enum SendError {
    /// Not a byte of it left: it may go another way.
    Unsent(Box<Request<TunnelBody>>),
    /// The session ended, or broke the stream off.
    Lost(hyper::Error),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsent(_) => f.write_str("its session has ended"),
            Self::Lost(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(
        instance: Instance,
        sender: Option<SendRequest<TunnelBody>>,
        limits: &Limits,
        ending: Ending,
    ) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            instance,
            sender: Mutex::new(sender),
            scrapes: Arc::new(Semaphore::new(limits.scrapes_per_client)),
            connects: Arc::new(Semaphore::new(limits.connects_per_client)),
            ending,
            over: CancellationToken::new(),
        })
    }

    /// Unique in this process.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Which run of which client.
    pub(crate) fn instance(&self) -> Instance {
        self.instance
    }

    /// A permit for each scrape under way in it.
    pub(crate) fn scrapes(&self) -> &Arc<Semaphore> {
        &self.scrapes
    }

    /// A permit for each CONNECT.
    pub(crate) fn connects(&self) -> &Arc<Semaphore> {
        &self.connects
    }

    /// Sends a request as one stream and waits for the head of its answer. Dropping the future,
    /// or the answer's body, resets the stream.
    pub(crate) async fn send(
        &self,
        request: Request<TunnelBody>,
    ) -> Result<Response<Incoming>, SendError> {
        let Some(mut sender) = self.sender() else {
            return Err(SendError::Unsent(Box::new(request)));
        };
        match sender.try_send_request(request).await {
            Ok(response) => Ok(response),
            Err(mut error) => Err(match error.take_message() {
                Some(request) => SendError::Unsent(Box::new(request)),
                None => SendError::Lost(error.into_error()),
            }),
        }
    }

    /// Ends it with a word to the client. Its own task does the rest.
    pub(crate) fn dismiss(&self, farewell: Farewell, reason: impl fmt::Display) {
        self.ending.say(Goodbye::new(farewell, reason));
        self.over.cancel();
    }

    /// Why it ended, when it has.
    pub(crate) fn ending(&self) -> &Ending {
        &self.ending
    }

    pub(super) fn dismissed(&self) -> &CancellationToken {
        &self.over
    }

    /// From now on nothing can be sent. Streams under way go on.
    pub(super) fn close(&self) {
        self.lock().take();
    }

    pub(super) fn sender(&self) -> Option<SendRequest<TunnelBody>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<SendRequest<TunnelBody>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn for_tests(instance: Instance) -> Arc<Self> {
        Self::new(instance, None, &Limits::default(), Ending::default())
    }
}
