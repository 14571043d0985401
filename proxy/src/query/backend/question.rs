//! What a backend is sent.

use adit_common::headers::strip_hop_by_hop;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HOST};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::Full;

use super::Failure;
use crate::config::query::url::BackendUrl;

/// What a backend is sent. Path and query are below its own prefix, as they came.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) method: Method,
    pub(crate) path_and_query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// It does no more when it comes twice: it may go out again to the same server, when that has
    /// closed the connection that was kept. A safe method always may.
    pub(crate) repeatable: bool,
}

impl Question {
    /// To the backend at `url`, whose scheme and authority are put before it. What is between two hops
    /// does not pass, and nothing of our own; whose `Host` it has is the way's to say.
    pub(super) fn to(
        self,
        url: &BackendUrl,
        scheme: &str,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let uri = uri(url, scheme, &self.path_and_query)
            .map_err(|error| Failure::Unaskable(format!("it cannot be asked that: {error}")))?;
        let mut request = Request::new(Full::from(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers;
        let headers = request.headers_mut();
        strip_hop_by_hop(headers);
        headers.remove(HOST);
        // The body is at hand: hyper says how long it is, and nobody has to ask for it.
        headers.remove(CONTENT_LENGTH);
        headers.remove(EXPECT);
        Ok(request)
    }
}

/// By its parts: a URI as a whole must not be longer than its path alone may be.
fn uri(url: &BackendUrl, scheme: &str, path_and_query: &str) -> Result<Uri, http::Error> {
    let path_and_query: PathAndQuery = match url.prefix.is_empty() {
        true => path_and_query.parse()?,
        false => format!("{}{path_and_query}", url.prefix).parse()?,
    };
    let authority: Authority = url.address.to_string().parse()?;
    Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path_and_query)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(path_and_query: &str) -> Question {
        Question {
            method: Method::POST,
            path_and_query: path_and_query.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"query=1"),
            repeatable: true,
        }
    }

    fn uri(url: &str, path_and_query: &str) -> String {
        let request = question(path_and_query).to(&url.parse().unwrap(), "http");
        request.unwrap().uri().to_string()
    }

    #[test]
    fn the_prefix_is_put_in_front_and_nothing_else_changes() {
        for (url, path, sent) in [
            (
                "http://a",
                "/api/v1/query?query=%2a+%20",
                "http://a:80/api/v1/query?query=%2a+%20",
            ),
            (
                "http://a:9090/p/q/",
                "/-/ready",
                "http://a:9090/p/q/-/ready",
            ),
            ("http://[::1]:1/p", "/", "http://[::1]:1/p/"),
            (
                "http://a:1/p",
                "/a//b/%2e%2E/?",
                "http://a:1/p/a//b/%2e%2E/?",
            ),
        ] {
            assert_eq!(uri(url, path), sent);
        }
    }

    #[test]
    fn the_longest_path_that_comes_in_goes_out() {
        let path = format!("/{}", "x".repeat(65_533));
        assert_eq!(
            uri("http://a:1", &path).len(),
            "http://a:1".len() + path.len()
        );
        let error = question(&path).to(&"http://a:1/p".parse().unwrap(), "http");
        assert!(matches!(error, Err(Failure::Unaskable(_))), "{error:?}");
    }

    #[test]
    fn what_is_between_two_hops_or_ours_stays_behind() {
        let mut question = question("/");
        for (name, value) in [
            ("host", "grafana"),
            ("content-length", "99"),
            ("expect", "100-continue"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("adit-fault", "busy"),
            ("x-forwarded-for", "192.0.2.1"),
            ("authorization", "Bearer x"),
        ] {
            let value = value.parse().unwrap();
            question.headers.insert(name, value);
        }
        let request = question.to(&"http://a:1".parse().unwrap(), "http").unwrap();
        let mut left: Vec<&str> = request.headers().keys().map(|name| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "x-forwarded-for"]);
    }
}
