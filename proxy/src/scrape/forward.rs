//! One scrape, one stream: sent, and waited for until the deadline.

use std::sync::Arc;

use adit_common::fault::{Fault, Report};
use adit_common::headers::{self, strip_hop_by_hop};
use adit_common::net::socket::Peer;
use adit_common::target::Target;
use http::Response;
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::flight::InFlight;
use super::relay::{Relayed, ScrapeBody};
use super::reply::Refusal;
use super::request::{Form, Scrape};
use super::route::route;
use crate::Proxy;
use crate::clock::Clock;
use crate::session::{SendError, Session};

/// Answers a scrape, whatever becomes of it. Dropped when the scraper leaves: then the stream is
/// reset, and the client drops its request to the target.
pub(super) async fn answer(
    proxy: Arc<Proxy>,
    peer: Peer,
    clock: Clock,
    form: Form,
    scrape: Result<Scrape, Refusal>,
) -> Response<ScrapeBody> {
    let mut flight = InFlight::start(Arc::clone(&proxy), form);
    let outcome = match scrape {
        Ok(scrape) => {
            clock.extend(scrape.deadline.instant());
            flight.of(&scrape.target);
            attempt(&proxy, &mut flight, scrape).await
        }
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok(answered) => {
            flight.answered(answered.response.status().as_u16());
            let Answered {
                scrape_deadline,
                legacy,
                mut response,
            } = answered;
            strip_hop_by_hop(response.headers_mut());
            let clock = legacy.then_some(clock);
            response.map(|body| Either::Right(Relayed::new(body, scrape_deadline, flight, clock)))
        }
        Err(refusal) => {
            let response = refusal.answer();
            flight.answered(response.status().as_u16());
            tracing::debug!(%peer, form = form.as_str(), ?refusal, "scrape refused");
            response.map(Either::Left)
        }
    }
}

/// Whose fault it is that a request got no answer: a stream that was reset in a session that goes
/// on is the target's.
pub(super) fn lost(session: &Session, target: Target, error: &SendError) -> Refusal {
    match (session.ending().end(), error) {
        (Some(end), _) => Refusal::CarrierLost(target, end.to_string()),
        (None, SendError::Unsent(_)) => Refusal::CarrierLost(target, error.to_string()),
        (None, SendError::Lost(_)) => {
            let words = format!("{target} broke off before it had answered");
            Refusal::Reported(Report::new(Fault::BrokeOff, words))
        }
    }
}

struct Answered {
    scrape_deadline: Instant,
    /// The scraper takes the end of the connection for the end of the body.
    legacy: bool,
    response: Response<Incoming>,
}

async fn attempt(
    proxy: &Arc<Proxy>,
    flight: &mut InFlight,
    scrape: Scrape,
) -> Result<Answered, Refusal> {
    let Scrape {
        target,
        deadline,
        version,
        mut request,
    } = scrape;
    flight.hold(&proxy.scrapes, || Refusal::Busy(proxy.limits.scrapes))?;
    let mut rerouted = false;
    let response = loop {
        let session = route(proxy, &target.name)?;
        flight.hold_only(session.scrapes(), || {
            Refusal::ClientBusy(target.name.clone(), proxy.limits.scrapes_per_client)
        })?;
        request
            .headers_mut()
            .insert(headers::TIMEOUT, deadline.to_header());
        let sent = timeout_at(deadline.instant(), session.send(request)).await;
        match sent {
            Ok(Ok(response)) => break response,
            // It never left: another session of the name may take it, whatever its method.
            Ok(Err(SendError::Unsent(unsent))) if !rerouted => {
                rerouted = true;
                proxy.registry.release(&session);
                request = *unsent;
            }
            Ok(Err(error)) => return Err(lost(&session, target, &error)),
            Err(_) => return Err(Refusal::Deadline(target, deadline.granted())),
        }
    };
    if let Some(report) = Report::read_from(response.headers()) {
        return Err(Refusal::Reported(report));
    }
    Ok(Answered {
        scrape_deadline: deadline.instant(),
        legacy: version < http::Version::HTTP_11,
        response,
    })
}
