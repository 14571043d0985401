//! One Prometheus out of many, from a query's head to the last byte of its answer.
//!
//! 1. [`asked`] is the request: what kind of thing is asked for, which decides what may be repeated and
//!    what is refused; and, read whole, what it asks.
//! 2. [`pool`] has the backends among which one is chosen, as `discovery` finds them. It looks at how
//!    they are, and asks [`strategy`] for an order of them, which [`affinity`] may change for one caller.
//! 3. [`attempt`] asks one after the other until one has answered, and holds the answer back until it is
//!    sure of it.
//! 4. [`refusal`] has every answer of our own.
//!
//! [`backend`] is a Prometheus that answers, whatever the way to it; [`standing`] is what is known of how
//! it is, [`health`] finds that out. [`view`] tells why.

mod asked;

mod standing;
mod backend;

mod health;
mod strategy;
mod affinity;

mod attempt;

mod pool;
mod view;

mod refusal;

use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use self::refusal::Refusal;
use crate::Proxy;
use crate::auth::Caller;
use crate::clock::Clock;

pub(crate) use self::attempt::QueryBody;

/// Answers whatever came to `--query.listen-address`, from a caller who was let in. Dropped when the
/// caller leaves: then the backend is told, and nothing is held against it.
pub(crate) async fn answer(
    _proxy: Arc<Proxy>,
    _caller: Caller,
    _clock: Clock,
    request: Request<Incoming>,
) -> Response<QueryBody> {
    let refusal = Refusal::NoPool(request.uri().path().to_owned());
    refusal
        .answer()
        .map(|words| words.map_err(|never| match never {}).boxed())
}
