//! A backend that we dial.

use std::sync::{PoisonError, RwLock};

use adit_common::net::tls::ClientTls;
use adit_common::target::Scheme;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Response};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::answer::passing;
use super::body::BackendBody;
use super::credentials::Shown;
use super::{Failure, Question};
use crate::config::query::url::BackendUrl;
use crate::outbound::{Outbound, OutboundError};

/// How it is reached.
#[derive(Debug)]
pub(super) struct Direct {
    outbound: RwLock<Outbound>,
    tls: ClientTls,
    scheme: Scheme,
    shown: Shown,
}

impl Direct {
    /// With what TLS needs read. It blocks.
    ///
    /// # Errors
    /// Which file, and what is wrong with it.
    pub(super) fn new(scheme: Scheme, tls: &ClientTls, shown: Shown) -> Result<Self, String> {
        let outbound = Outbound::new(tls).map_err(|error| error.to_string())?;
        Ok(Self {
            outbound: RwLock::new(outbound),
            tls: tls.clone(),
            scheme,
            shown,
        })
    }

    /// Reads what TLS needs again, for connections to come. It blocks.
    ///
    /// # Errors
    /// Which file, and what is wrong with it: what was read before stays.
    pub(super) fn read_again(&self) -> Result<(), String> {
        let tls = &self.tls;
        let has_files = tls.ca_file.is_some() || tls.cert_file.is_some() || tls.key_file.is_some();
        // Another one has no connections of the one there is.
        if has_files && self.scheme == Scheme::Https {
            let outbound = Outbound::new(tls).map_err(|error| error.to_string())?;
            *self
                .outbound
                .write()
                .unwrap_or_else(PoisonError::into_inner) = outbound;
        }
        Ok(())
    }

    fn outbound(&self) -> Outbound {
        let outbound = self.outbound.read().unwrap_or_else(PoisonError::into_inner);
        outbound.clone()
    }

    pub(super) async fn send(
        &self,
        url: &BackendUrl,
        question: Question,
        deadline: Instant,
    ) -> Result<Response<BackendBody>, Failure> {
        let repeatable = question.repeatable;
        let mut request = question.to(url, self.scheme.as_str())?;
        let headers = request.headers_mut();
        if let Ok(host) = HeaderValue::from_str(url.authority.as_str()) {
            headers.insert(HOST, host);
        }
        if let Some(authorization) = self.shown.now().await {
            headers.insert(AUTHORIZATION, authorization);
        }
        let outbound = self.outbound();
        let answer = match repeatable {
            true => outbound.send_repeatable(request, deadline).await,
            false => outbound.send(request, deadline).await,
        };
        let answer = passing(answer.map_err(failure)?)?;
        Ok(answer.map(|body| {
            body.map_err(|error| Failure::Truncated(format!("its answer broke off: {error}")))
                .boxed()
        }))
    }
}

fn failure(error: OutboundError) -> Failure {
    match error {
        OutboundError::Connect(why) => Failure::Connect(why),
        OutboundError::Tls(why) => Failure::Tls(why),
        OutboundError::Reset(why) => Failure::Reset(why),
        OutboundError::Deadline => Failure::Deadline(error.to_string()),
    }
}
