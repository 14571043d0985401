//! One scrape, one stream: sent, and waited for until the deadline.

use std::sync::Arc;

use adit_common::deadline::Deadline;
use adit_common::fault::{Fault, Report};
use adit_common::headers::{self, strip_hop_by_hop};
use adit_common::target::Target;
use http::{Request, Response};
use http_body_util::Either;
use tokio::time::timeout_at;

use super::course::{Event, Step};
use super::flight::InFlight;
use super::relay::{Relayed, ScrapeBody};
use super::reply::Refusal;
use super::request::{Form, Scrape, Spare};
use super::route::route;
use crate::Proxy;
use crate::auth::Caller;
use crate::carrier::{CarrierBody, RequestBody, SendError, Spoilt};
use crate::clock::Clock;

/// Answers a scrape, whatever becomes of it. Dropped when the scraper leaves: then the stream is
/// reset, and the client drops its request to the target.
pub(super) async fn answer(
    proxy: Arc<Proxy>,
    caller: Caller,
    clock: Clock,
    form: Form,
    scrape: Result<Scrape, Refusal>,
) -> Response<ScrapeBody> {
    let mut flight = InFlight::start(Arc::clone(&proxy), form);
    let outcome = match scrape {
        Ok(scrape) => {
            clock.extend(scrape.deadline.instant());
            flight.of(&scrape.target);
            let (deadline, version) = (scrape.deadline, scrape.version);
            let answered = match allow(&proxy, &caller, &scrape.target) {
                Ok(()) => forward(&proxy, &mut flight, scrape).await,
                Err(refusal) => Err(refusal),
            };
            answered.map(|response| (response, deadline, version))
        }
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok((mut response, deadline, version)) => {
            flight.on(Event::Head);
            flight.answered(response.status().as_u16());
            strip_hop_by_hop(response.headers_mut());
            // Before HTTP/1.1 the end of the connection is taken for the end of the body.
            let clock = (version < http::Version::HTTP_11).then_some(clock);
            let deadline = deadline.instant();
            response.map(|body| Either::Right(Relayed::new(body, deadline, flight, clock)))
        }
        Err(refusal) => {
            let response = refusal.answer();
            flight.refused(&refusal);
            flight.answered(response.status().as_u16());
            let peer = caller.visitor().peer();
            tracing::debug!(%peer, form = form.as_str(), ?refusal, "scrape refused");
            response.map(Either::Left)
        }
    }
}

/// Whether whoever asks may scrape it.
pub(super) fn allow(proxy: &Proxy, caller: &Caller, target: &Target) -> Result<(), Refusal> {
    caller.may_scrape(target).map_err(|words| {
        proxy.auth.note_forbidden(caller, &words);
        Refusal::Forbidden(words)
    })
}

/// Sends it, and sends it again when its carrier was lost and it may be.
async fn forward(
    proxy: &Arc<Proxy>,
    flight: &mut InFlight,
    scrape: Scrape,
) -> Result<Response<CarrierBody>, Refusal> {
    flight.hold(&proxy.scrapes, || Refusal::Busy(proxy.limits.scrapes))?;
    let spare = Spare::of(&scrape.request);
    if spare.is_some() {
        flight.allow_repeating();
    }
    let attempt = Attempt {
        proxy,
        target: &scrape.target,
        deadline: scrape.deadline,
        spoilt: &scrape.spoilt,
        spare: &spare,
    };
    let mut request = scrape.request;
    let response = loop {
        match attempt.make(flight, request).await? {
            Made::Answered(response) => break response,
            Made::Again(again) => request = *again,
        }
    };
    match Report::read_from(response.headers()) {
        Some(report) => Err(Refusal::Reported(report)),
        None => Ok(response),
    }
}

/// What does not change between two attempts.
struct Attempt<'a> {
    proxy: &'a Arc<Proxy>,
    target: &'a Target,
    deadline: Deadline,
    spoilt: &'a Spoilt,
    spare: &'a Option<Spare>,
}

enum Made {
    Answered(Response<CarrierBody>),
    /// By another carrier.
    Again(Box<Request<RequestBody>>),
}

impl Attempt<'_> {
    async fn make(
        &self,
        flight: &mut InFlight,
        mut request: Request<RequestBody>,
    ) -> Result<Made, Refusal> {
        let (name, limits) = (&self.target.name, &self.proxy.limits);
        let carrier = route(self.proxy, name, self.deadline).await?;
        flight.on(Event::Sent);
        flight.hold_only(carrier.scrapes(), || {
            Refusal::ClientBusy(name.clone(), limits.scrapes_per_client)
        })?;
        let left = self.deadline.to_header();
        request.headers_mut().insert(headers::TIMEOUT, left);
        let sending = carrier.send(request, self.deadline);
        let error = match timeout_at(self.deadline.instant(), sending).await {
            Ok(Ok(response)) => return Ok(Made::Answered(response)),
            Ok(Err(error)) => error,
            Err(_) => {
                let granted = self.deadline.granted();
                return Err(Refusal::Deadline(self.target.clone(), granted));
            }
        };
        if matches!(error, SendError::Unsent(_) | SendError::Lost(_)) {
            // Its own task may not have noticed yet.
            carrier.dismiss();
        }
        let spare = || self.spare.as_ref().map(Spare::request);
        let again = match &error {
            SendError::Unsent(_) => flight.on(Event::Unsent) == Step::Continue,
            SendError::Lost(_) => flight.on(Event::Lost) == Step::Again,
            SendError::BrokeOff | SendError::Unable(_) => false,
        };
        match (again, error) {
            (true, SendError::Unsent(Some(request))) => Ok(Made::Again(request)),
            (true, error) => match spare() {
                Some(request) => Ok(Made::Again(Box::new(request))),
                None => Err(self.failed(error)),
            },
            (false, error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: SendError) -> Refusal {
        if self.spoilt.is_so() {
            let words = "the request's body is malformed or not whole";
            return Refusal::BadRequest(words.to_owned());
        }
        failed(self.target, error)
    }
}

/// Whose fault it is that a request got no answer.
pub(super) fn failed(target: &Target, error: SendError) -> Refusal {
    match error {
        SendError::Unsent(_) => {
            Refusal::CarrierLost(target.clone(), "its session has ended".into())
        }
        SendError::Lost(why) => Refusal::CarrierLost(target.clone(), why),
        SendError::Unable(why) => Refusal::Unable(target.clone(), why),
        SendError::BrokeOff => {
            let words = format!("{target} broke off before it had answered");
            Refusal::Reported(Report::new(Fault::BrokeOff, words))
        }
    }
}
