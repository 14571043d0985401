//! A PushProx client's long-poll: it carries one scrape, and the answer comes by another request.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_common::deadline::Deadline;
use adit_common::name::Name;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Either, Full, Limited};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::pushes::Pushes;
use super::{CarrierBody, RequestBody, SendError};

/// A body over this is in no case read by the released clients, which take the head of a request
/// and its body in their first read.
const MAX_BODY: usize = 4096;

/// How long after a poll's connection was closed its client's next poll may come, when it closed the
/// connection itself: Go does so when it keeps enough others, and polls by one of those in the same
/// instant. One whose answer was lost backs off first, half a second by default.
const POLLS_AGAIN: Duration = Duration::from_millis(150);

/// Writes a request as the client reads it, given its head and body, the id of its push and the time
/// it has; or says why it cannot be put to such a client.
pub(crate) type Writer =
    Box<dyn Fn(&Parts, &[u8], Uuid, Duration) -> Result<Vec<u8>, String> + Send + Sync>;

/// One request that waits at `/poll`.
pub(crate) struct Poll {
    id: u64,
    name: Name,
    poller: Poller,
    writer: Writer,
    /// Taken by the one scrape it carries.
    hand: Mutex<Option<oneshot::Sender<Handed>>>,
    pushes: Arc<Pushes>,
}

/// Whoever polls for a name: as far as can be told one machine, known by its address. Clones are
/// the same.
#[derive(Debug, Clone)]
pub(crate) struct Poller {
    /// Where it polls from; `None` on a Unix socket.
    pub(crate) from: Option<IpAddr>,
    /// Its newest poll.
    latest: Arc<AtomicU64>,
    scrapes: Arc<Semaphore>,
}

/// A scrape on its way into the answer of a poll.
#[derive(Debug)]
pub(crate) struct Handed {
    /// What the answer says.
    pub(crate) text: Vec<u8>,
    /// There is a body in it, which the client may leave unread.
    pub(crate) has_body: bool,
    /// Tells that it is being written, and what is cancelled if the connection closes before the
    /// client has used it again.
    pub(crate) taken: oneshot::Sender<CancellationToken>,
}

impl fmt::Debug for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poll")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("poller", &self.poller)
            .finish_non_exhaustive()
    }
}

impl Poller {
    /// Nothing has polled yet.
    pub(crate) fn new(from: Option<IpAddr>, scrapes: usize) -> Self {
        Self {
            from,
            latest: Arc::default(),
            scrapes: Arc::new(Semaphore::new(scrapes)),
        }
    }
}

impl Poll {
    /// One more poll, and where what it is handed goes. That is dropped when another poll takes its
    /// place.
    pub(crate) fn new(
        name: Name,
        poller: Poller,
        writer: Writer,
        pushes: Arc<Pushes>,
        hand: oneshot::Sender<Handed>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        poller.latest.store(id, Ordering::Relaxed);
        Self {
            id,
            name,
            poller,
            writer,
            hand: Mutex::new(Some(hand)),
            pushes,
        }
    }

    /// One whose client can read anything, and where what it is handed arrives.
    #[cfg(test)]
    pub(crate) fn for_tests(name: &str, poller: Poller) -> (Self, oneshot::Receiver<Handed>) {
        // The id, so that a test can push.
        let writer: Writer = Box::new(|_, _, id, _| Ok(id.to_string().into()));
        let (hand, handed) = oneshot::channel();
        // As a literal of a test.
        let name = name.parse().expect("a name");
        (
            Self::new(name, poller, writer, Arc::default(), hand),
            handed,
        )
    }

    /// Unique in this process.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// For whom.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// By whom.
    pub(crate) fn poller(&self) -> &Poller {
        &self.poller
    }

    /// A permit for each scrape under way at its client.
    pub(super) fn scrapes(&self) -> &Arc<Semaphore> {
        &self.poller.scrapes
    }

    /// It has carried nothing, and whoever sent it still waits.
    pub(crate) fn is_free(&self) -> bool {
        let hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner);
        hand.as_ref().is_some_and(|hand| !hand.is_closed())
    }

    /// Ends it without a scrape.
    pub(crate) fn dismiss(&self) {
        self.take_hand();
    }

    fn take_hand(&self) -> Option<oneshot::Sender<Handed>> {
        let mut hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner);
        hand.take()
    }

    /// Hands a request over and waits for the push. Dropping the future withdraws it: the push will
    /// be refused.
    pub(super) async fn carry(
        &self,
        request: Request<RequestBody>,
        deadline: Deadline,
    ) -> Result<Response<CarrierBody>, SendError> {
        let (head, body) = request.into_parts();
        let body = collect(body).await?;
        let mut expecting =
            self.pushes
                .expect(self.name.clone(), head.method.clone(), deadline.instant());
        let text = (self.writer)(&head, &body, expecting.id, deadline.left());
        let (taken, is_taken) = oneshot::channel();
        let handed = Handed {
            text: text.map_err(SendError::Unable)?,
            has_body: !body.is_empty(),
            taken,
        };
        let unsent = match self.take_hand() {
            Some(hand) => hand.send(handed).is_err(),
            None => true,
        };
        if unsent {
            let request = Request::from_parts(head, Either::Left(Full::from(body)));
            return Err(SendError::Unsent(Some(Box::new(request))));
        }
        // Its connection closed at the very moment: nothing was written.
        let Ok(closed) = is_taken.await else {
            return Err(SendError::Unsent(None));
        };
        tokio::select! {
            biased;
            pushed = &mut expecting.answer => match pushed {
                Ok(response) => Ok(response.map(|body| CarrierBody::Pushed { body })),
                Err(_) => Err(SendError::Lost("its push broke off".into())),
            },
            () = self.vanishes(closed) => {
                Err(SendError::Lost("its poll was closed before it had been read".into()))
            }
        }
    }

    /// Resolves when the connection closed, and the client shows by no further poll that it has
    /// got what was handed to it.
    async fn vanishes(&self, closed: CancellationToken) {
        closed.cancelled().await;
        tokio::time::sleep(POLLS_AGAIN).await;
        if self.poller.latest.load(Ordering::Relaxed) != self.id {
            std::future::pending::<()>().await;
        }
    }
}

async fn collect(body: RequestBody) -> Result<Bytes, SendError> {
    let unable = |_| SendError::Unable("a PushProx client cannot take its body".into());
    let collected = Limited::new(body, MAX_BODY).collect().await;
    collected.map(|body| body.to_bytes()).map_err(unable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(poller: &Poller) -> (Poll, oneshot::Receiver<Handed>) {
        Poll::for_tests("pi", poller.clone())
    }

    fn request() -> Request<RequestBody> {
        let request = Request::get("http://pi:9100/metrics");
        request.body(Either::Left(Full::default())).unwrap()
    }

    fn deadline() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_is_gone_gives_the_request_back() {
        let poller = Poller::new(None, 8);
        let (poll, handed) = poll(&poller);
        drop(handed);
        let error = poll.carry(request(), deadline()).await.unwrap_err();
        assert!(matches!(error, SendError::Unsent(Some(_))), "{error:?}");
        assert_eq!(poll.pushes.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_carries_one_scrape() {
        let poller = Poller::new(None, 8);
        let (poll, handed) = poll(&poller);
        let first = poll.carry(request(), deadline());
        let second = async {
            let handed = handed.await.unwrap();
            let error = poll.carry(request(), deadline()).await.unwrap_err();
            assert!(matches!(error, SendError::Unsent(Some(_))), "{error:?}");
            let id = Uuid::try_parse_ascii(&handed.text).unwrap();
            let expected = poll.pushes.take(&id, |_| true).unwrap();
            handed.taken.send(CancellationToken::new()).unwrap();
            let body = Full::from("x").map_err(|never| match never {}).boxed();
            expected.answer.send(Response::new(body)).unwrap();
        };
        let (response, ()) = tokio::join!(first, second);
        assert_eq!(response.unwrap().status(), 200);
        assert_eq!(poll.pushes.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_whose_connection_closes_is_lost_unless_its_client_polls_again() {
        for again in [false, true] {
            let poller = Poller::new(None, 8);
            let (first, handed) = poll(&poller);
            let close = async {
                let closed = CancellationToken::new();
                handed.await.unwrap().taken.send(closed.clone()).unwrap();
                closed.cancel();
                again.then(|| poll(&poller))
            };
            let deadline = deadline();
            let carrying = first.carry(request(), deadline);
            let carrying = tokio::time::timeout_at(deadline.instant(), carrying);
            let (result, _second) = tokio::join!(carrying, close);
            match result {
                Ok(Err(SendError::Lost(_))) => assert!(!again),
                Err(_) => assert!(again, "it waits on for the push"),
                other => panic!("{other:?}"),
            }
            assert_eq!(first.pushes.len(), 0, "a late push is refused");
        }
    }
}
