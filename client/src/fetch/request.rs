//! What a target is sent.

use adit_common::headers::strip_hop_by_hop;
use adit_common::target::Scheme;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use http::{Method, Uri, Version};

use crate::upstream::Upstream;

/// The head of a request to a target; may be sent twice, when a kept connection fails.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
}

impl Head {
    /// Origin-form with path and query byte for byte, `Host` first, and nothing of the tunnel's.
    pub(super) fn new(
        mut parts: http::request::Parts,
        has_body: bool,
        upstream: &Upstream,
    ) -> Option<Self> {
        strip_hop_by_hop(&mut parts.headers);
        frame(&mut parts.headers, has_body);
        let host = match &upstream.host {
            Some(host) => host.clone(),
            // As the scraper wrote it; an authority that was parsed is always a value.
            None => HeaderValue::from_str(parts.uri.authority()?.as_str()).ok()?,
        };
        let mut headers = HeaderMap::with_capacity(parts.headers.len() + 1);
        headers.insert(HOST, host);
        parts.headers.remove(HOST);
        headers.extend(parts.headers);
        if let Some(authorization) = &upstream.authorization {
            // Also instead of the scraper's: whoever has configured this knows better.
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let path_and_query = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        let uri = match upstream.prefix.is_empty() {
            true => path_and_query.parse(),
            false => format!("{}{path_and_query}", upstream.prefix).parse(),
        };
        Some(Self {
            method: parts.method,
            uri: uri.ok()?,
            headers,
        })
    }

    /// Sending it twice does no more than sending it once (RFC 9110 §9.2.1), and it has no body
    /// that may be gone.
    pub(super) fn is_repeatable(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    pub(super) fn with<B>(self, body: B) -> http::Request<B> {
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        *request.version_mut() = Version::HTTP_11;
        request
    }
}

/// A length is hyper's to say, by what the stream carries. One beside a stream of no bytes would make
/// the target take the next request on that connection, which is somebody else's, for a body, and
/// the rest of it for a request that nobody has checked. h2 refuses such a stream; what a proxy may
/// smuggle does not hang on it.
fn frame(headers: &mut HeaderMap, has_body: bool) {
    let had = headers.remove(CONTENT_LENGTH).is_some();
    if had && !has_body {
        // Some want to be told (RFC 9110 §8.6).
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

/// How the target is spoken to: as its URL says, else as the scrape does.
pub(super) fn scheme(upstream: &Upstream, asked: Option<Scheme>) -> Scheme {
    upstream.scheme.or(asked).unwrap_or(Scheme::Http)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TargetConfig;
    use crate::tls::Tls;

    fn head(fields: &[(&'static str, &'static str)], has_body: bool, own: Option<&str>) -> Head {
        let config = TargetConfig::new("pi:9100".parse().unwrap(), None);
        let own = own.map(|own| own.parse().unwrap());
        let upstream = Upstream::of(&config, Tls::system(), own);
        let mut request = http::Request::get("http://pi:9100/%2e?a=%2A");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Head::new(parts, has_body, &upstream).unwrap()
    }

    #[test]
    fn a_length_without_a_body_does_not_pass() {
        for (fields, has_body, sent) in [
            (&[("content-length", "42")][..], false, Some("0")),
            (
                &[("content-length", "0"), ("content-length", "42")],
                false,
                Some("0"),
            ),
            (&[("content-length", "42")], true, None),
            (&[], false, None),
        ] {
            let head = head(fields, has_body, None);
            let lengths: Vec<_> = head.headers.get_all(CONTENT_LENGTH).iter().collect();
            assert_eq!(lengths, sent.into_iter().collect::<Vec<_>>(), "{fields:?}");
            assert_eq!(head.uri, "/%2e?a=%2A");
        }
    }

    #[test]
    fn a_targets_own_credentials_take_the_place_of_all_others() {
        let scrapers = [("authorization", "Bearer a"), ("Authorization", "Basic b")];
        let own = head(&scrapers, false, Some("Bearer own"));
        let sent: Vec<_> = own.headers.get_all(AUTHORIZATION).iter().collect();
        assert_eq!(sent, ["Bearer own"]);
        let passed = head(&scrapers, false, None);
        assert_eq!(passed.headers.get_all(AUTHORIZATION).iter().count(), 2);
    }
}
