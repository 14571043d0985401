//! A backend that we dial.

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
    outbound: Outbound,
    scheme: Scheme,
    shown: Shown,
}

impl Direct {
    pub(super) fn new(scheme: Scheme, outbound: Outbound, shown: Shown) -> Self {
        Self {
            outbound,
            scheme,
            shown,
        }
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
        let answer = match repeatable {
            true => self.outbound.send_repeatable(request, deadline).await,
            false => self.outbound.send(request, deadline).await,
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
