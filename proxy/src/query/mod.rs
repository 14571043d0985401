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

use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use hyper::body::{Bytes, Incoming};

pub(crate) use self::backend::Failure;
use self::refusal::Refusal;
use crate::Proxy;
use crate::auth::Caller;
use crate::clock::Clock;

/// What goes back: our own words, or a backend's answer. When it breaks the caller's connection is cut.
pub(crate) type QueryBody = BoxBody<Bytes, Failure>;

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

/// Whether queries can be answered.
///
/// # Errors
/// Which pool has nobody to ask.
pub(crate) fn is_ready(proxy: &Proxy) -> Result<(), String> {
    match proxy.config.settings.query.pools.first() {
        Some(pool) => Err(format!(
            "pool {} has no backend that can be asked",
            pool.name
        )),
        None => Err("there is no pool".to_owned()),
    }
}

/// Every backend of the pools that the caller may ask, and how it is.
pub(crate) fn backends(_proxy: &Proxy, _caller: &Caller) -> serde_json::Value {
    serde_json::Value::Array(Vec::new())
}

/// Whom `path_and_query` would be sent to, and why.
///
/// # Errors
/// Why to nobody.
pub(crate) fn explain(
    _proxy: &Proxy,
    _caller: &Caller,
    _headers: &HeaderMap,
    _host: Option<&str>,
    path_and_query: &str,
) -> Result<serde_json::Value, String> {
    Err(Refusal::NoPool(path_and_query.to_owned()).to_string())
}
