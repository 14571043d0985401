//! A scrape, from its head to the last byte of its answer.
//!
//! 1. [`request`] reads one of three forms (absolute, path-style, CONNECT) into a target and a
//!    deadline, and takes off what must not pass.
//! 2. [`route`] finds who carries the name, or waits for its return.
//! 3. [`forward`] sends it by that carrier and waits until the deadline; [`relay`] passes the answer
//!    on as it comes, and cuts the scraper off when it breaks. [`connect`] does the same for raw
//!    bytes. [`flight`] counts it meanwhile, and [`course`] says what each event means for it.
//! 4. [`reply`] has every answer of our own: one table from what went wrong to status and words.

mod request;

mod route;

mod connect;
mod forward;

mod course;
mod flight;
mod relay;

mod reply;

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

pub(crate) use self::connect::connect;
pub(crate) use self::relay::{Broken, ScrapeBody};
pub(crate) use self::reply::{Refusal, bad_request, misdirected};
pub(crate) use self::request::PATH_STYLE;
#[cfg(fuzzing)]
pub(crate) use self::request::{absolute_form, connect as connect_form, path_form};

use crate::Proxy;
use crate::auth::Caller;
use crate::clock::Clock;
use crate::metrics::Metrics;

/// Every way a scrape can end is counted from the start, so that a rate does not miss the first.
pub(crate) fn prepare(metrics: &Metrics) {
    for terminal in course::Terminal::ALL {
        let outcomes = &metrics.scrape_outcomes;
        outcomes.with_label_values(&[terminal.as_str()]);
    }
}

/// `GET http://pi:9100/metrics`: what a `proxy_url` makes of a scrape.
pub(crate) async fn absolute(
    proxy: Arc<Proxy>,
    caller: Caller,
    clock: Clock,
    request: Request<Incoming>,
) -> Response<ScrapeBody> {
    let scrape = request::absolute(request, &proxy.config.timeouts);
    forward::answer(proxy, caller, clock, request::Form::Absolute, scrape).await
}

/// `GET {prefix}/scrape/http/pi:9100/metrics`: what every front proxy passes.
pub(crate) async fn path_style(
    proxy: Arc<Proxy>,
    caller: Caller,
    clock: Clock,
    request: Request<Incoming>,
) -> Response<ScrapeBody> {
    let scrape = request::path_style(request, &proxy.config);
    forward::answer(proxy, caller, clock, request::Form::Path, scrape).await
}
