//! The scrape in the answer to a poll, read as `http.ReadRequest` reads it.

use super::message::{Message, head_end};

/// Where a scraper says how long it will wait.
const TIMEOUT: &str = "X-Prometheus-Scrape-Timeout-Seconds";

/// A scrape that was handed out.
#[derive(Debug, Clone)]
pub struct HandedRequest {
    /// The head as it came, with its empty line.
    pub raw: Vec<u8>,
    /// Its method.
    pub method: String,
    /// What follows the method: an absolute URI, when the proxy does as it should.
    pub uri: String,
    /// Names as they came, values without surrounding space.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Its body; `None` when it had not come with the head, since then it is lost.
    pub body: Option<Vec<u8>>,
}

impl HandedRequest {
    /// Reads the body of an answer to a poll, as far as it had come when the head was there.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("EOF".to_owned());
        }
        let end = head_end(bytes);
        let head = Message::parse(&bytes[..end.unwrap_or(bytes.len())]);
        let parts: Vec<&str> = head.line.splitn(3, ' ').collect();
        let [method, uri, version] = parts[..] else {
            return Err(format!("malformed HTTP request {:?}", head.line));
        };
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if method.is_empty() || !method.bytes().all(token) {
            return Err(format!("invalid method {method:?}"));
        }
        if !matches!(
            version.as_bytes(),
            [b'H', b'T', b'T', b'P', b'/', _, b'.', _]
        ) {
            return Err(format!("malformed HTTP version {version:?}"));
        }
        let path = uri.split('?').next().unwrap_or(uri);
        let escaped = |rest: &str| {
            let digits = rest.as_bytes().get(..2);
            digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        };
        if !(uri.contains("://") || uri.starts_with('/')) || !path.split('%').skip(1).all(escaped) {
            return Err(format!("parse {uri:?}: invalid URI for request"));
        }
        let Some(end) = end else {
            return Err("unexpected EOF".to_owned());
        };
        let length = match head.field("content-length") {
            Some(length) => length
                .parse()
                .map_err(|_| format!("bad Content-Length {length:?}"))?,
            None => 0,
        };
        Ok(Self {
            raw: bytes[..end].to_vec(),
            method: method.to_owned(),
            uri: uri.to_owned(),
            body: bytes[end..].get(..length).map(<[u8]>::to_vec),
            fields: head.fields,
        })
    }

    /// The first value of a field, by its name in any case.
    pub fn field(&self, name: &str) -> Option<String> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// What a push for it has to be known by; empty when it has none.
    pub fn id(&self) -> String {
        self.field("id").unwrap_or_default()
    }

    /// The seconds left for it, and else what Go says instead.
    pub(super) fn timeout(&self) -> Result<f64, String> {
        let text = self.field(TIMEOUT).unwrap_or_default();
        text.parse()
            .map_err(|_| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
    }

    /// Host and port as they stand in the URI; empty in origin form.
    pub fn authority(&self) -> &str {
        let rest = self.uri.split_once("://").map_or("", |(_, rest)| rest);
        rest.split(['/', '?']).next().unwrap_or("")
    }

    /// The host alone, without brackets.
    pub fn hostname(&self) -> &str {
        let authority = self.authority();
        if let Some(rest) = authority.strip_prefix('[') {
            return rest.split(']').next().unwrap_or(rest);
        }
        authority.split(':').next().unwrap_or(authority)
    }

    /// The port, or 80.
    pub fn port(&self) -> u16 {
        let authority = self.authority();
        let after = authority.rfind(']').map_or(0, |at| at + 1);
        let port = authority[after..].rsplit_once(':').map(|(_, port)| port);
        port.and_then(|port| port.parse().ok()).unwrap_or(80)
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        let start = self.uri.find("://").map_or(0, |at| at + 3);
        let path = self.uri[start..].find(['/', '?']);
        path.map_or("", |at| &self.uri[start + at..])
    }

    /// A small answer of a target's, with this scrape's id and a length.
    pub fn answer(&self, body: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: text/plain; version=0.0.4\r\n\
             Id: {}\r\nX-Prometheus-Scrape-Timeout: 9.700000\r\n\r\n{body}",
            body.len(),
            self.id()
        )
        .into_bytes()
    }
}
