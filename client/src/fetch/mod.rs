//! From a request in the tunnel to the target and back.
//!
//! 1. [`fetch`] reads the target and asks the policy whether it may be asked that, and where it
//!    really is; then its [`crate::upstream`] for a turn.
//! 2. [`request`] makes what the target is sent: origin-form, byte for byte, the head in one write.
//! 3. [`exchange`] sends it, by a connection the upstream has kept or opens, and waits for the head
//!    of the answer.
//! 4. [`body`] streams it back, and turns every truncation into a broken stream.
//! 5. [`raw`] is the way of a CONNECT: bytes both ways.
//!
//! What goes wrong is told as a [`Report`]; the proxy makes the scraper's answer of it.

mod request;

mod exchange;

mod body;
mod flight;

mod raw;

use std::sync::Arc;
use std::time::Duration;

use adit_common::deadline::Deadline;
use adit_common::fault::{Fault, Report};
use adit_common::headers;
use adit_common::target::{Scheme, Target};
use adit_common::tunnel::tasks::Tasks;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

pub(crate) use self::body::Answer;

use self::flight::InFlight;
use crate::Client;
use crate::upstream::Upstream;

/// How long a scrape may take: the proxy's longest deadline by default.
pub(crate) const LONGEST_SCRAPE: Duration = Duration::from_secs(300);
/// When the proxy says no deadline, which ours always does.
const DEFAULT_TIME: Duration = Duration::from_secs(15);
/// Whatever it says.
const MAX_TIME: Duration = Duration::from_secs(3600);

/// What a request came by.
pub(crate) struct Carrier {
    /// Ends with the tunnel.
    pub(crate) tasks: Tasks,
    /// Cancelled when the tunnel is to end as soon as what is under way has finished.
    pub(crate) leaving: CancellationToken,
}

/// Answers a request for a target. Dropped when its stream is reset: then the connection to the
/// target is closed.
pub(crate) async fn fetch(
    client: Arc<Client>,
    carrier: Carrier,
    request: Request<Incoming>,
) -> Response<Answer> {
    let flight = InFlight::start(Arc::clone(&client));
    let deadline = Deadline::from_header(request.headers().get(headers::TIMEOUT), MAX_TIME)
        .unwrap_or_else(|| Deadline::after(DEFAULT_TIME));
    let outcome = if request.method() == Method::CONNECT {
        raw::connect(&client, carrier, request, deadline).await
    } else {
        exchange::exchange(&client, request, deadline, flight).await
    };
    outcome.unwrap_or_else(|report| {
        let faults = &client.metrics.faults;
        faults.with_label_values(&[report.fault.as_str()]).inc();
        tracing::debug!(fault = %report.fault, reason = %report.reason, "no answer");
        reported(&report)
    })
}

/// A fault is told in the head alone. The status is never the scraper's: that the proxy chooses.
fn reported(report: &Report) -> Response<Answer> {
    let mut response = Response::new(Either::Left(Empty::new()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    report.write_to(response.headers_mut());
    response
}

/// The earlier of the scrape's deadline and what the target may take.
fn capped(deadline: Deadline, upstream: &Upstream) -> Deadline {
    match upstream.timeout {
        Some(most) if most < deadline.left() => Deadline::after(most),
        _ => deadline,
    }
}

/// The target a request in the tunnel names.
fn target(request: &Request<Incoming>, scheme: Option<Scheme>) -> Result<Target, Report> {
    let authority = request.uri().authority();
    Target::parse(authority.map_or("", |a| a.as_str()), scheme).map_err(|error| {
        // Never the authority itself: it may hold a password.
        let host = authority.map_or("", |a| a.host());
        Report::new(Fault::NotOffered, format!("target {host:?}: {error}"))
    })
}
