//! From a request in the tunnel to the target and back.
//!
//! 1. [`fetch`] reads the target and asks the policy where it really is.
//! 2. [`request`] makes what the target is sent: origin-form, byte for byte, the head in one write.
//! 3. [`idle`] lends a connection the target has kept open; [`upstream`] opens one otherwise, and
//!    never before it is needed.
//! 4. [`exchange`] sends and waits for the head of the answer.
//! 5. [`body`] streams it back, and turns every truncation into a broken stream.
//! 6. [`raw`] is the way of a CONNECT: bytes both ways.
//!
//! What goes wrong is told as a [`Report`]; the proxy makes the scraper's answer of it.

mod body;
mod exchange;
mod idle;
mod raw;
mod request;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use adit_common::deadline::Deadline;
use adit_common::fault::{Fault, Report};
use adit_common::headers;
use adit_common::target::{Scheme, Target};
use adit_common::tunnel::tasks::Tasks;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

pub(crate) use self::body::{BrokeOff, Fetched};
pub(crate) use self::idle::Idle;

use crate::Client;
use crate::session::ClientBody;

/// When the proxy says no deadline, which ours always does.
const DEFAULT_TIME: Duration = Duration::from_secs(15);
/// Whatever it says.
const MAX_TIME: Duration = Duration::from_secs(3600);

/// Answers a request for a target. Dropped when its stream is reset: then the connection to the
/// target is closed.
pub(crate) async fn fetch(
    client: Arc<Client>,
    tasks: Tasks,
    request: Request<Incoming>,
) -> Response<ClientBody> {
    let flight = InFlight::start(Arc::clone(&client));
    let deadline = Deadline::from_header(request.headers().get(headers::TIMEOUT), MAX_TIME)
        .unwrap_or_else(|| Deadline::after(DEFAULT_TIME));
    let outcome = if request.method() == Method::CONNECT {
        raw::connect(&client, tasks, request, deadline).await
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
fn reported(report: &Report) -> Response<ClientBody> {
    let mut response = Response::new(ClientBody::Empty);
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    report.write_to(response.headers_mut());
    response
}

/// The target a request in the tunnel names.
fn target(request: &Request<Incoming>, scheme: Option<Scheme>) -> Result<Target, Report> {
    let authority = request.uri().authority().map_or("", |a| a.as_str());
    Target::parse(authority, scheme)
        .map_err(|error| Report::new(Fault::NotOffered, format!("target {authority:?}: {error}")))
}

/// A scrape under way, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Client>);

impl InFlight {
    fn start(client: Arc<Client>) -> Self {
        client.metrics.scrapes_in_flight.inc();
        Self(client)
    }

    fn bytes(&self, n: usize) {
        self.0.metrics.response_bytes.inc_by(n as u64);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.scrapes_in_flight.dec();
    }
}
