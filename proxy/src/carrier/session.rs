//! A client's tunnel, as the rest of the proxy sees it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use adit_common::registration::{Instance, Registration};
use adit_common::tunnel::goodbye::{Ending, Farewell, Goodbye};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{CarrierBody, RequestBody, SendError};
use crate::config::Limits;

/// A tunnel that has been authenticated and registered.
pub(crate) struct Session {
    id: u64,
    instance: Instance,
    /// Taken at the end: hyper closes the connection when the last sender is gone.
    sender: Mutex<Option<SendRequest<RequestBody>>>,
    scrapes: Arc<Semaphore>,
    connects: Arc<Semaphore>,
    /// What it offers as of now.
    offer: Mutex<Arc<Registration>>,
    ending: Ending,
    over: CancellationToken,
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
    pub(crate) fn new(
        instance: Instance,
        offer: Registration,
        sender: Option<SendRequest<RequestBody>>,
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
            offer: Mutex::new(Arc::new(offer)),
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

    /// What it offers as of now.
    pub(crate) fn offer(&self) -> Arc<Registration> {
        let offer = self.offer.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&offer)
    }

    /// It offers something else from now on.
    pub(crate) fn offers(&self, offer: Registration) {
        *self.offer.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(offer);
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
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendError> {
        let Some(mut sender) = self.sender() else {
            return Err(SendError::Unsent(Some(Box::new(request))));
        };
        let asking = sender.try_send_request(request);
        // What is handed over while the session ends may stay in hyper's queue, which goes with its
        // last holder (hyper#4122): that is the session, and not whoever waits for an answer.
        drop(sender);
        match asking.await {
            Ok(response) => Ok(response),
            Err(mut error) => Err(match (error.take_message(), self.ending.end()) {
                (Some(request), _) => SendError::Unsent(Some(Box::new(request))),
                (None, Some(end)) => SendError::Lost(end.to_string()),
                (None, None) => SendError::BrokeOff,
            }),
        }
    }

    /// The same, with a body that keeps the session to ask what became of it.
    pub(super) async fn carry(
        session: &Arc<Self>,
        request: Request<RequestBody>,
    ) -> Result<Response<CarrierBody>, SendError> {
        let response = session.send(request).await?;
        Ok(response.map(|stream| CarrierBody::Tunnel {
            stream,
            session: Arc::clone(session),
        }))
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

    pub(crate) fn dismissed(&self) -> &CancellationToken {
        &self.over
    }

    /// From now on nothing can be sent. Streams under way go on.
    pub(crate) fn close(&self) {
        self.lock().take();
    }

    pub(crate) fn sender(&self) -> Option<SendRequest<RequestBody>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<SendRequest<RequestBody>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn for_tests(instance: Instance) -> Arc<Self> {
        let offer = Registration::default();
        Self::new(instance, offer, None, &Limits::default(), Ending::default())
    }
}
