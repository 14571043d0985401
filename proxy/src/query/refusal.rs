//! Every answer of our own to a query.

use std::time::Duration;

use adit_common::fault::one_line;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use crate::config::limits::size;
use crate::config::query::REQUEST_BODY;

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
    #[error("the request's body is larger than {} (the pool's request_body)", size(*.0))]
    BodyTooLarge(usize),
    /// The body did not come whole.
    #[error("the request's body is malformed or not whole")]
    BadBody,
    /// The body took too long.
    #[error("the request's body took longer than {}", humantime::format_duration(*.0))]
    BodyTooSlow(Duration),
    /// As much is under way as may be.
    #[error("{words}")]
    Busy {
        /// The key of the limit.
        limit: &'static str,
        /// What they are told, with that key.
        words: String,
    },
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
            Self::Busy { .. } => (StatusCode::TOO_MANY_REQUESTS, "unavailable"),
            Self::Nobody(_) | Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Failed(_) => (StatusCode::BAD_GATEWAY, "unavailable"),
            Self::Deadline(_) => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
        }
    }

    /// The limit that was reached, for it to be counted by its key.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Busy { limit, .. } => Some(limit),
            Self::BodyTooLarge(_) => Some(REQUEST_BODY),
            _ => None,
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// Every variant, with its status, Prometheus' word for it, and some of what it says.
    fn all() -> Vec<(Refusal, u16, &'static str, &'static str)> {
        let words = |text: &str| text.to_owned();
        let all = vec![
            (
                Refusal::NoPool(words("/x")),
                404,
                "not_found",
                "no pool answers to /x",
            ),
            (
                Refusal::BadPath("a segment of dots"),
                400,
                "bad_data",
                "the path is not passed on: it has a segment of dots",
            ),
            (
                Refusal::Denied {
                    what: words("POST /-/quit"),
                    key: "lifecycle",
                },
                403,
                "forbidden",
                "POST /-/quit is not passed on: it is refused unless the pool's \"allow\" has lifecycle",
            ),
            (
                Refusal::Method {
                    what: words("/federate"),
                    allowed: "GET, HEAD, OPTIONS",
                },
                405,
                "bad_data",
                "/federate is asked for with GET, HEAD, OPTIONS",
            ),
            (
                Refusal::Forbidden(words("x may not ask pool home")),
                403,
                "forbidden",
                "x may not ask pool home",
            ),
            (
                Refusal::BodyTooLarge(100),
                413,
                "bad_data",
                "larger than 100B (the pool's request_body)",
            ),
            (Refusal::BadBody, 400, "bad_data", "not whole"),
            (
                Refusal::BodyTooSlow(Duration::from_secs(90)),
                408,
                "timeout",
                "longer than 1m 30s",
            ),
            (
                Refusal::Busy {
                    limit: "queries",
                    words: words("256 requests are under way"),
                },
                429,
                "unavailable",
                "256 requests are under way",
            ),
            (
                Refusal::Nobody(words("home")),
                503,
                "unavailable",
                "pool home has no backend",
            ),
            (
                Refusal::Failed(words("a: refused")),
                502,
                "unavailable",
                "a: refused",
            ),
            (
                Refusal::Deadline(Duration::from_millis(1500)),
                504,
                "timeout",
                "no backend answered within 1s 500ms",
            ),
            (Refusal::Draining, 503, "unavailable", "stopping"),
        ];
        // A variant that is added is to be added above.
        for (refusal, ..) in &all {
            match refusal {
                Refusal::NoPool(_)
                | Refusal::BadPath(_)
                | Refusal::Denied { .. }
                | Refusal::Method { .. }
                | Refusal::Forbidden(_)
                | Refusal::BodyTooLarge(_)
                | Refusal::BadBody
                | Refusal::BodyTooSlow(_)
                | Refusal::Busy { .. }
                | Refusal::Nobody(_)
                | Refusal::Failed(_)
                | Refusal::Deadline(_)
                | Refusal::Draining => {}
            }
        }
        all
    }

    async fn json(response: Response<Full<Bytes>>) -> serde_json::Value {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn every_refusal_is_an_answer_of_the_api() {
        for (refusal, status, kind, says) in all() {
            let response = refusal.answer();
            assert_eq!(response.status().as_u16(), status, "{refusal:?}");
            let headers = response.headers();
            assert_eq!(headers[CONTENT_TYPE], "application/json");
            let allow = headers.get(ALLOW).map(|value| value.to_str().unwrap());
            assert_eq!(allow, (status == 405).then_some("GET, HEAD, OPTIONS"));
            let retry = headers
                .get(RETRY_AFTER)
                .map(|value| value.to_str().unwrap());
            assert_eq!(
                retry,
                matches!(status, 429 | 503).then_some("1"),
                "{refusal:?}"
            );
            // Whoever is over a limit is counted.
            assert_eq!(
                refusal.limit().is_some(),
                matches!(status, 413 | 429),
                "{refusal:?}"
            );
            let body = json(response).await;
            let words = body["error"].as_str().unwrap();
            assert!(words.contains(says), "{words}");
            let shape = serde_json::json!({"status": "error", "errorType": kind, "error": words});
            assert_eq!(body, shape);
        }
    }

    #[tokio::test]
    async fn no_word_of_another_ends_our_line() {
        let refusal = Refusal::Failed("a: x\r\n\tSet-Cookie: \u{1b}[31m\"b\"\\".to_owned());
        let body = json(refusal.answer()).await;
        assert_eq!(body["error"], "a: x???Set-Cookie: ?[31m\"b\"\\");
        let long = Refusal::NoPool("x".repeat(100_000)).answer();
        assert!(json(long).await["error"].as_str().unwrap().len() < 2000);
    }
}
