//! A backend that we dial.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;

use super::body::BackendBody;
use super::{Failure, Question};
use crate::config::query::url::BackendUrl;
use crate::outbound::{Outbound, OutboundError};

/// How it is reached.
#[derive(Debug)]
pub(super) struct Direct {
    outbound: Outbound,
    /// `http://HOST:PORT`
    origin: String,
    host: Option<HeaderValue>,
    authorization: Option<HeaderValue>,
}

impl Direct {
    pub(super) fn new(
        url: &BackendUrl,
        scheme: adit_common::target::Scheme,
        outbound: Outbound,
        authorization: Option<HeaderValue>,
    ) -> Self {
        Self {
            outbound,
            origin: format!("{scheme}://{}{}", url.address, url.prefix),
            host: HeaderValue::from_str(url.authority.as_str()).ok(),
            authorization,
        }
    }

    pub(super) async fn send(
        &self,
        question: Question,
        deadline: Instant,
    ) -> Result<Response<BackendBody>, Failure> {
        let uri: Uri = format!("{}{}", self.origin, question.path_and_query)
            .parse()
            .map_err(|error| Failure::Connect(format!("no URI: {error}")))?;
        let mut request = Request::new(Full::from(question.body));
        *request.method_mut() = question.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = question.headers;
        let headers = request.headers_mut();
        // The body is at hand, and hyper says how long it is.
        headers.remove(CONTENT_LENGTH);
        if let Some(host) = &self.host {
            headers.insert(HOST, host.clone());
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let answer = self.outbound.send(request, deadline).await;
        let answer = answer.map_err(|error| match error {
            OutboundError::Connect(why) => Failure::Connect(why),
            OutboundError::Tls(why) => Failure::Tls(why),
            OutboundError::Reset(why) => Failure::Reset(why),
            OutboundError::Deadline => Failure::Deadline(error.to_string()),
        })?;
        Ok(answer.map(|body| {
            body.map_err(|error| Failure::Truncated(format!("its answer broke off: {error}")))
                .boxed()
        }))
    }
}
