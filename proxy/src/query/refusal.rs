//! Every answer of our own to a query.

use std::time::Duration;

use adit_common::fault::one_line;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

/// Why a query gets no answer of a backend.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    /// No pool has this host and path.
    #[error("no pool answers to {0}")]
    NoPool(String),
    /// It is no path, or one to us and another to somebody behind us.
    #[error("the path is not passed on: it has {0}")]
    BadPath(&'static str),
    /// It changes something, or shows what is nobody's business.
    #[error("{what} is not passed on: it is refused unless the pool's \"allow\" has {key}")]
    Denied {
        /// The path.
        what: String,
        /// Which key would let it through.
        key: &'static str,
    },
    /// Another method.
    #[error("{what} is asked for with {allowed}")]
    Method {
        /// The path.
        what: String,
        /// Those that would do.
        allowed: &'static str,
    },
    /// They may not ask this pool.
    #[error("{0}")]
    Forbidden(String),
    /// The body cannot be held.
    #[error("the request's body is larger than {0} bytes (the pool's request_body)")]
    BodyTooLarge(usize),
    /// The body did not come whole.
    #[error("the request's body is malformed or not whole")]
    BadBody,
    /// The body took too long.
    #[error("the request's body took longer than {}", humantime::format_duration(*.0))]
    BodyTooSlow(Duration),
    /// As much is under way as may be.
    #[error("{0}")]
    Busy(String),
    /// There is nobody to ask.
    #[error("pool {0} has no backend")]
    Nobody(String),
    /// Everybody who was asked failed; the last one like this.
    #[error("{0}")]
    Failed(String),
    /// Time was up.
    #[error("no backend answered within {}", humantime::format_duration(*.0))]
    Deadline(Duration),
    /// We are stopping.
    #[error("this proxy is stopping")]
    Draining,
}

impl Refusal {
    /// The status, and Prometheus' word for the kind of error.
    fn meaning(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoPool(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::Denied { .. } | Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            // Grafana asks again with GET on 405, and on 400 too, where it would help nobody.
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "bad_data"),
            Self::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "bad_data"),
            Self::BadPath(_) | Self::BadBody => (StatusCode::BAD_REQUEST, "bad_data"),
            Self::BodyTooSlow(_) => (StatusCode::REQUEST_TIMEOUT, "timeout"),
            Self::Busy(_) => (StatusCode::TOO_MANY_REQUESTS, "unavailable"),
            Self::Nobody(_) | Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Failed(_) => (StatusCode::BAD_GATEWAY, "unavailable"),
            Self::Deadline(_) => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
        }
    }

    /// As Prometheus' API says it, so that Grafana shows the reason and not its shape.
    pub(crate) fn answer(&self) -> Response<Full<Bytes>> {
        let (status, kind) = self.meaning();
        let words = one_line(&self.to_string());
        let body = serde_json::json!({"status": "error", "errorType": kind, "error": words});
        let mut response = Response::new(Full::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Self::Method { allowed, .. } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        if matches!(
            status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
