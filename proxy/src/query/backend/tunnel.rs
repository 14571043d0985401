//! A backend that some client offers as a target.
//!
//! A request does not wait for a client that is away: the other backends are there for that. Whoever has
//! no other may wait for [`Tunnel::returned`].

use std::future::pending;
use std::sync::Arc;

use adit_common::deadline::Deadline;
use adit_common::fault::{Fault, Report};
use adit_common::headers;
use adit_common::target::{Scheme, Target};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Either, Full};
use tokio::time::{Instant, timeout_at};

use super::answer::passing;
use super::body::{BackendBody, Carried};
use super::credentials::Shown;
use super::{Failure, Question};
use crate::carrier::{Carrier, RequestBody, SendError};
use crate::config::query::url::BackendUrl;
use crate::registry::{Lease, Registry, Tunnel as Held};

/// How it is reached.
#[derive(Debug)]
pub(super) struct Tunnel {
    registry: Arc<Registry>,
    target: Target,
    /// Instead of the caller's; the client may have its own.
    shown: Shown,
}

impl Tunnel {
    pub(super) fn new(registry: &Arc<Registry>, target: &Target, shown: Shown) -> Self {
        Self {
            registry: Arc::clone(registry),
            target: target.clone(),
            shown,
        }
    }

    pub(super) async fn send(
        &self,
        url: &BackendUrl,
        question: Question,
        deadline: Instant,
    ) -> Result<Response<BackendBody>, Failure> {
        // How the target is spoken to its client knows.
        let mut request = question.to(url, Scheme::Http.as_str())?;
        *request.version_mut() = Version::HTTP_2;
        if let Some(authorization) = self.shown.now().await {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let deadline = Deadline::after(left);
        let answer = match timeout_at(deadline.instant(), self.ask(request, deadline)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Failure::Deadline("no answer in time".to_owned())),
        };
        match Report::read_from(answer.headers()) {
            Some(report) => Err(failure(report)),
            None => passing(answer).map(|answer| answer.map(BodyExt::boxed)),
        }
    }

    /// By the client's newest session; by another only when not a byte left by that.
    async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Deadline,
    ) -> Result<Response<Carried>, Failure> {
        loop {
            let lease = self.lease()?;
            let permits = Arc::clone(lease.scrapes());
            let place = permits.try_acquire_owned().map_err(|_| {
                let name = &self.target.name;
                Failure::Busy(format!(
                    "as much is under way at the client of {name} as may be (scrapes_per_client)"
                ))
            })?;
            let mut request: Request<RequestBody> = request.clone().map(Either::Left);
            let left = deadline.to_header();
            request.headers_mut().insert(headers::TIMEOUT, left);
            match lease.send(request, deadline).await {
                Ok(answer) => return Ok(answer.map(|body| Carried::new(body, place, lease))),
                // Its own task may not have noticed yet; it is not found again.
                Err(SendError::Unsent(_)) => lease.dismiss(),
                Err(SendError::Lost(why)) => {
                    lease.dismiss();
                    return Err(self.lost(&why));
                }
                Err(SendError::BrokeOff) => {
                    let words = "it broke off before it had answered";
                    return Err(Failure::Reset(words.to_owned()));
                }
                // Only a poll is.
                Err(SendError::Unable(why)) => return Err(Failure::Connect(why)),
            }
        }
    }

    fn lease(&self) -> Result<Lease, Failure> {
        let name = &self.target.name;
        match self.registry.tunnel(name) {
            Held::Here(session) => Ok(Lease::new(Carrier::Session(session), &self.registry)),
            Held::Polled => Err(Failure::TunnelLost(format!(
                "{name} polls, and does not hold a tunnel"
            ))),
            Held::Nobody => Err(Failure::TunnelLost(format!("no client for {name}"))),
        }
    }

    fn lost(&self, why: &str) -> Failure {
        Failure::TunnelLost(format!("the client for {} went away: {why}", self.target))
    }

    /// Whether somebody holds a tunnel for it.
    pub(super) fn is_linked(&self) -> bool {
        matches!(self.registry.tunnel(&self.target.name), Held::Here(_))
    }

    /// Why nobody does, if so.
    pub(super) fn unlinked(&self) -> Option<String> {
        self.lease().err().map(|failure| failure.to_string())
    }

    /// Waits for a client that may be dialling again, as a scrape does; whether it is back.
    pub(super) async fn returned(&self) -> bool {
        let arrived = Instant::now();
        let until = self.registry.tunnel_patience(&self.target.name, arrived);
        // A link that is there by now is seen at once.
        timeout_at(until, self.link_other_than(false)).await.is_ok()
    }

    /// Resolves when that is something else than `was`.
    pub(super) async fn link_other_than(&self, was: bool) {
        // Followed before it is looked at: no change in between is missed.
        let mut changes = self.registry.changes();
        while self.is_linked() == was {
            if changes.changed().await.is_err() {
                pending::<()>().await;
            }
        }
    }
}

/// Why its client has no answer.
fn failure(Report { fault, reason }: Report) -> Failure {
    match fault {
        Fault::NotOffered | Fault::Oversized => Failure::Unaskable(reason),
        Fault::Forbidden | Fault::Unresolved | Fault::Refused | Fault::Unreachable => {
            Failure::Connect(reason)
        }
        Fault::Tls | Fault::Certificate => Failure::Tls(reason),
        Fault::BrokeOff | Fault::Malformed | Fault::TooLarge => Failure::Reset(reason),
        Fault::Busy => Failure::Busy(reason),
        Fault::Deadline => Failure::Deadline(reason),
        Fault::Draining => Failure::TunnelLost(reason),
    }
}
