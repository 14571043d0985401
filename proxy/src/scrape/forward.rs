//! One scrape, one stream: sent, and waited for until the deadline.

use std::sync::Arc;

use adit_common::fault::Report;
use adit_common::headers::{self, strip_hop_by_hop};
use adit_common::net::socket::Peer;
use adit_common::target::Target;
use http::Response;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::relay::Relayed;
use super::reply::Refusal;
use super::request::{Form, Scrape};
use super::route::route;
use crate::Proxy;
use crate::body::AnswerBody;
use crate::listener::Clock;
use crate::session::SendError;

/// Answers a scrape, whatever becomes of it. Dropped when the scraper leaves: then the stream is
/// reset, and the client drops its request to the target.
pub(super) async fn answer(
    proxy: Arc<Proxy>,
    peer: Peer,
    clock: Clock,
    form: Form,
    scrape: Result<Scrape, Refusal>,
) -> Response<AnswerBody> {
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
            response
                .map(|body| AnswerBody::relayed(Relayed::new(body, scrape_deadline, flight, clock)))
        }
        Err(refusal) => {
            let response = refusal.answer();
            flight.answered(response.status().as_u16());
            tracing::debug!(%peer, form = form.as_str(), ?refusal, "scrape refused");
            response
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
            Ok(Err(error)) => {
                let why = session.end_or(&error);
                return Err(Refusal::CarrierLost(target, why));
            }
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

/// A scrape that is under way: counted, and its permits held, until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    proxy: Arc<Proxy>,
    form: Form,
    started: Instant,
    target: Option<Target>,
    code: Option<u16>,
    bytes: u64,
    in_all: Option<OwnedSemaphorePermit>,
    at_client: Option<OwnedSemaphorePermit>,
}

impl InFlight {
    pub(super) fn start(proxy: Arc<Proxy>, form: Form) -> Self {
        proxy.metrics.scrapes_in_flight.inc();
        Self {
            proxy,
            form,
            started: Instant::now(),
            target: None,
            code: None,
            bytes: 0,
            in_all: None,
            at_client: None,
        }
    }

    fn hold(
        &mut self,
        permits: &Arc<Semaphore>,
        or: impl FnOnce() -> Refusal,
    ) -> Result<(), Refusal> {
        let permit = Arc::clone(permits).try_acquire_owned().map_err(|_| or())?;
        self.in_all = Some(permit);
        Ok(())
    }

    fn hold_only(
        &mut self,
        permits: &Arc<Semaphore>,
        or: impl FnOnce() -> Refusal,
    ) -> Result<(), Refusal> {
        let permit = Arc::clone(permits).try_acquire_owned().map_err(|_| or())?;
        self.at_client = Some(permit);
        Ok(())
    }

    pub(super) fn answered(&mut self, code: u16) {
        self.code = Some(code);
    }

    /// Who is meant, for the log.
    pub(super) fn of(&mut self, target: &Target) {
        self.target = Some(target.clone());
    }

    pub(super) fn bytes(&mut self, n: usize) {
        self.bytes += n as u64;
        self.proxy.metrics.scrape_bytes.inc_by(n as u64);
    }

    pub(super) fn cut(&self, reason: &str) {
        let cut = &self.proxy.metrics.scrapes_cut;
        cut.with_label_values(&[reason]).inc();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let metrics = &self.proxy.metrics;
        metrics.scrapes_in_flight.dec();
        metrics
            .scrape_duration
            .observe(self.started.elapsed().as_secs_f64());
        let mut text = [0u8; 3];
        // 499 is nginx' code for a peer that left before it was answered.
        let code = three_digits(self.code.unwrap_or(499), &mut text);
        let form = self.form.as_str();
        metrics.scrapes.with_label_values(&[form, code]).inc();
        tracing::debug!(
            form,
            target = self.target.as_ref().map(tracing::field::display),
            code,
            bytes = self.bytes,
            seconds = self.started.elapsed().as_secs_f64(),
            "scrape"
        );
    }
}

/// A status as text without an allocation. Statuses have three digits (RFC 9110 §15).
fn three_digits(code: u16, text: &mut [u8; 3]) -> &str {
    for (digit, place) in text.iter_mut().zip([100, 10, 1]) {
        // Below ten, always.
        *digit = b'0' + u8::try_from(code / place % 10).unwrap_or(0);
    }
    std::str::from_utf8(text).unwrap_or("000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_three_digits() {
        let mut text = [0; 3];
        assert_eq!(three_digits(200, &mut text), "200");
        assert_eq!(three_digits(499, &mut text), "499");
        assert_eq!(three_digits(507, &mut text), "507");
    }
}
