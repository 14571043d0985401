//! Whoever is not let in, and what they are told.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::header::{
    CONTENT_TYPE, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::ext::ReasonPhrase;

/// Seconds until somebody who guesses may guess again, or we have time to look.
const RETRY_SECONDS: u64 = 5;

/// By which fields somebody shows who they are (RFC 9110 §11.6 and §11.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// To us as a proxy: the fields without `Proxy-` are for the target.
    Proxy,
    /// To us as a server.
    Origin,
}

impl Way {
    /// What credentials stand in.
    pub(super) fn field(self) -> HeaderName {
        match self {
            Self::Proxy => PROXY_AUTHORIZATION,
            Self::Origin => AUTHORIZATION,
        }
    }

    fn asks(self) -> (StatusCode, HeaderName) {
        match self {
            Self::Proxy => (
                StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                PROXY_AUTHENTICATE,
            ),
            Self::Origin => (StatusCode::UNAUTHORIZED, WWW_AUTHENTICATE),
        }
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// Nothing was shown.
    #[error("no credentials were given")]
    Missing,
    /// Nobody has what was shown.
    #[error("the credentials are wrong")]
    Wrong,
    /// They are good, but not for this.
    #[error("{0}")]
    Forbidden(String),
    /// Whoever is at that address has failed too often.
    #[error("too many failed attempts, try again later")]
    Throttled,
    /// More passwords wait to be checked than we wait for.
    #[error("too many passwords wait to be checked, try again later")]
    Busy,
    /// As many sessions of these credentials are there as may be.
    #[error(
        "{0} sessions of these credentials are there, which is the most (sessions_per_credential, or the entry's own)"
    )]
    Sessions(usize),
}

impl Denied {
    /// The word in metrics.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Forbidden(_) => "forbidden",
            Self::Throttled => "throttled",
            Self::Busy => "busy",
            Self::Sessions(_) => "sessions",
        }
    }

    /// What the reason makes the status.
    pub(crate) fn status(&self, way: Way) -> StatusCode {
        match self {
            Self::Missing | Self::Wrong => way.asks().0,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Throttled | Self::Busy | Self::Sessions(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// The answer. The reason stands in the reason phrase, too: of a CONNECT that fails Prometheus
    /// shows nothing else.
    pub(crate) fn answer(&self, way: Way) -> Response<Full<Bytes>> {
        let words = adit_common::fault::one_line(&self.to_string());
        let mut response = Response::new(Full::from(format!("{words}\n")));
        let status = self.status(way);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(CONTENT_TYPE, text);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                let basic = HeaderValue::from_static("Basic realm=\"adit\", charset=\"UTF-8\"");
                headers.insert(way.asks().1, basic);
            }
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
            }
            _ => {}
        }
        if let Ok(phrase) = ReasonPhrase::try_from(words) {
            response.extensions_mut().insert(phrase);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_status_and_field() {
        for (denied, proxy, origin) in [
            (Denied::Missing, 407, 401),
            (Denied::Wrong, 407, 401),
            (Denied::Forbidden("no".into()), 403, 403),
            (Denied::Throttled, 429, 429),
            (Denied::Busy, 429, 429),
            (Denied::Sessions(3), 429, 429),
        ] {
            for (way, status) in [(Way::Proxy, proxy), (Way::Origin, origin)] {
                let response = denied.answer(way);
                assert_eq!(response.status(), status, "{denied:?}");
                let asks = response.headers().contains_key(way.asks().1);
                assert_eq!(asks, status == 401 || status == 407);
                assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 429);
            }
        }
    }

    #[test]
    fn words_stay_in_their_line() {
        let response = Denied::Forbidden("x\r\nSet-Cookie: a=b".into()).answer(Way::Proxy);
        let phrase = response.extensions().get::<ReasonPhrase>().unwrap();
        assert!(!phrase.as_bytes().contains(&b'\n'));
        assert_eq!(response.headers().len(), 1);
    }
}
