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

/// A length is hyper's to say, by what the stream carries. One that came with a stream of no bytes
/// would make the target take the next request on that connection, which is somebody else's, for a
/// body; the rest of it would be a request that nobody has checked.
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
