//! A scrape as text: the body of the answer to a poll.

use std::time::Duration;

use adit_common::deadline::SCRAPE_TIMEOUT_HEADER;
use adit_common::headers::strip_hop_by_hop;
use adit_common::target::Scheme;
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
};
use http::request::Parts;
use http::{Method, Uri};
use uuid::Uuid;

/// Says which scrape a push answers.
pub(super) const ID: HeaderName = HeaderName::from_static("id");

/// Longest text that may have a body, in bytes.
///
/// The client closes the answer to its poll as soon as it has the request's head, while another of
/// its tasks still takes the body out of it. What its first read brought is safe: 4096 bytes with
/// the head of our answer, when they come in one segment. Behind that it says `http: read on closed
/// response body` (tried with Go 1.26: 20 of 20 below, 0 of 20 above).
pub(crate) const MAX_WITH_BODY: usize = 3584;

/// One scrape for one poll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instruction<'a> {
    /// The client's name as it polled it: it compares bytes, and we fold case and dots.
    pub(crate) fqdn: &'a str,
    /// As the scraper wrote it; `None` when it wrote none.
    pub(crate) port: Option<u16>,
    /// Method, absolute URI and the fields that pass.
    pub(crate) head: &'a Parts,
    /// All of the scraper's body.
    pub(crate) body: &'a [u8],
    /// What the push will be known by.
    pub(crate) id: Uuid,
    /// What is left for the scrape; at least a millisecond is said.
    pub(crate) timeout: Duration,
}

/// Why a scrape cannot be put to a PushProx client. Handed out all the same it would be lost: the
/// client takes what it cannot read for a failed poll, and stays away for seconds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unwritable {
    /// It knows no CONNECT.
    #[error("a PushProx client cannot open a tunnel to its target")]
    Connect,
    /// The polled name.
    #[error("{0:?} cannot be the host of a URL")]
    Fqdn(String),
    /// Go's URL parser refuses it.
    #[error("a PushProx client cannot read this path")]
    Path,
    /// See [`MAX_WITH_BODY`]; the length of the whole text.
    #[error(
        "a request with a body has at most {MAX_WITH_BODY} bytes for a PushProx client, this one {0}"
    )]
    TooLong(usize),
}

impl Instruction<'_> {
    /// The text, in absolute form as the client wants it (RFC 9112 §3.2.2).
    pub(crate) fn write(&self) -> Result<Vec<u8>, Unwritable> {
        if self.head.method == Method::CONNECT {
            return Err(Unwritable::Connect);
        }
        let authority = self.authority()?;
        let path = path(&self.head.uri)?;
        let method = &self.head.method;
        let mut text =
            format!("{method} http://{authority}{path} HTTP/1.1\r\nHost: {authority}\r\n")
                .into_bytes();
        for (name, value) in &self.fields() {
            title_case(name, &mut text);
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(self.body);
        if !self.body.is_empty() && text.len() > MAX_WITH_BODY {
            return Err(Unwritable::TooLong(text.len()));
        }
        Ok(text)
    }

    fn authority(&self) -> Result<String, Unwritable> {
        let fqdn = self.fqdn;
        let breaks = |b: u8| b <= b' ' || b == 0x7f || b"/?#@%\\\"<>".contains(&b);
        if fqdn.is_empty() || fqdn.bytes().any(breaks) {
            return Err(Unwritable::Fqdn(fqdn.chars().take(64).collect()));
        }
        let host = if fqdn.contains(':') && !fqdn.starts_with('[') {
            format!("[{fqdn}]")
        } else {
            fqdn.to_owned()
        };
        Ok(match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        })
    }

    fn fields(&self) -> HeaderMap {
        let mut fields = self.head.headers.clone();
        // Whoever called did so already; here it keeps our own fields in.
        strip_hop_by_hop(&mut fields);
        for name in [HOST, EXPECT, CONTENT_LENGTH] {
            fields.remove(name);
        }
        // Set and not added: the client copies the first `Id` into its push.
        fields.insert(ID, value(self.id));
        let seconds = seconds(self.timeout);
        fields.insert(SCRAPE_TIMEOUT_HEADER, value(seconds));
        if !self.body.is_empty() {
            fields.insert(CONTENT_LENGTH, value(self.body.len()));
        }
        // Without one Go asks for gzip itself and undoes it, and of a body that it then pushes
        // without a length nobody can tell whether it is whole.
        if fields.get(ACCEPT_ENCODING).is_none_or(|v| v.is_empty()) {
            fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        fields
    }
}

/// Digits, dots and hyphens are always a value.
fn value(shown: impl ToString) -> HeaderValue {
    HeaderValue::try_from(shown.to_string()).unwrap_or(HeaderValue::from_static("0"))
}

/// Whole milliseconds, rounded down: the client shall give up before us.
fn seconds(timeout: Duration) -> f64 {
    let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    f64::from(millis.max(1)) / 1000.0
}

/// Path and query byte for byte, behind PushProx' sign for TLS when the scheme is https. In front
/// because the client heeds the first `_scheme` only, and the scraper may have written another.
fn path(uri: &Uri) -> Result<String, Unwritable> {
    let whole = uri.path_and_query().map_or("", |whole| whole.as_str());
    let (path, query) = match whole.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (whole, None),
    };
    if !go_reads(path) {
        return Err(Unwritable::Path);
    }
    // An absolute URI may have none, and http's `Uri` takes a `*` for one.
    let slash = if path.starts_with('/') { "" } else { "/" };
    let tls = uri.scheme_str().and_then(Scheme::parse) == Some(Scheme::Https);
    Ok(match (tls, query) {
        (false, None) => format!("{slash}{path}"),
        (false, Some(query)) => format!("{slash}{path}?{query}"),
        (true, None | Some("")) => format!("{slash}{path}?_scheme=https"),
        (true, Some(query)) => format!("{slash}{path}?_scheme=https&{query}"),
    })
}

/// Whether every percent sign of a path is followed by two digits: Go insists on it there, and
/// does not look at the query.
fn go_reads(path: &str) -> bool {
    path.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// The name as Go writes it: `user-agent` becomes `User-Agent`.
fn title_case(name: &HeaderName, text: &mut Vec<u8>) {
    let mut first = true;
    text.extend(name.as_str().bytes().map(|byte| {
        let byte = if first {
            byte.to_ascii_uppercase()
        } else {
            byte
        };
        first = byte == b'-';
        byte
    }));
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
