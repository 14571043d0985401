//! What carries a scrape to a client: a session's tunnel, or one poll of a PushProx client's.
//!
//! A scrape knows no difference: it hands a [`Carrier`] its request and gets the head of an answer
//! and its body, or one of the ways a carrier fails.
//!
//! * [`session`] sends it as a stream of the tunnel.
//! * [`poll`] hands it to the request that waits at `/poll`, and waits for the client's push, which
//!   [`pushes`] knows by its id.
//! * [`sending`] is a request's body on its way, [`body`] what both return.

mod sending;
mod body;

mod session;

mod poll;
mod pushes;

use std::sync::Arc;

use adit_common::deadline::Deadline;
use adit_common::tunnel::coalesce::Coalesced;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use tokio::sync::Semaphore;

pub(crate) use self::body::{Break, CarrierBody, PushedBody};
pub(crate) use self::poll::{Handed, Poll, Poller, Writer};
pub(crate) use self::pushes::{Expected, Pushes};
pub(crate) use self::sending::{Sending, Spoilt};
pub(crate) use self::session::Session;

/// The body of a request to a client: what is at hand, most often nothing, or what the scraper is
/// still sending.
pub(crate) type RequestBody = Either<Full<Bytes>, Coalesced<Sending>>;

/// Who carries a scrape.
#[derive(Debug, Clone)]
pub(crate) enum Carrier {
    /// A client's tunnel.
    Session(Arc<Session>),
    /// One long-poll of a PushProx client.
    Poll(Arc<Poll>),
}

/// Why a request got no answer by its carrier.
#[derive(Debug)]
pub(crate) enum SendError {
    /// Not a byte of it left: it may go another way, whatever its method. Without the request when
    /// that went down with the carrier.
    Unsent(Option<Box<Request<RequestBody>>>),
    /// The carrier ended before there was an answer.
    Lost(String),
    /// The client broke it off, and its carrier goes on: that is about the target.
    BrokeOff,
    /// This kind of carrier cannot take such a request.
    Unable(String),
}

impl Carrier {
    /// Sends a request and waits for the head of its answer. Dropping the future, or the answer's
    /// body, withdraws it.
    pub(crate) async fn send(
        &self,
        request: Request<RequestBody>,
        deadline: Deadline,
    ) -> Result<Response<CarrierBody>, SendError> {
        match self {
            Self::Session(session) => Session::carry(session, request).await,
            Self::Poll(poll) => poll.carry(request, deadline).await,
        }
    }

    /// A permit for each scrape under way at this client.
    pub(crate) fn scrapes(&self) -> &Arc<Semaphore> {
        match self {
            Self::Session(session) => session.scrapes(),
            Self::Poll(poll) => poll.scrapes(),
        }
    }
}
