//! Asking the target, as `http.Client.Do` does: what comes of it, whole or cut, is pushed.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::Client;
use super::handed::HandedRequest;
use super::push::report;
use crate::scraper::{Answer, Connection};

/// An `http.Response`, as far as it could be read.
#[derive(Debug, Clone)]
pub(super) struct Scraped {
    pub(super) status_line: String,
    /// Names as Go writes them; without those that frame.
    pub(super) fields: Vec<(String, String)>,
    pub(super) framing: Framing,
    /// The answer to HEAD: framed as if it had a body.
    pub(super) framing_only: bool,
    /// `Connection: close`.
    pub(super) close: bool,
    pub(super) body: Vec<u8>,
    /// Whether the target did not break off.
    pub(super) whole: bool,
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(usize),
    Chunked,
    ToEnd,
}

/// The longest a `time.Duration` is.
const FOR_EVER: f64 = 9_223_372_036.0;

/// Scrapes what was handed out, and pushes what came of it.
pub(super) async fn answer(client: Arc<Client>, request: HandedRequest) {
    let seconds = match request.timeout() {
        Ok(seconds) => seconds,
        Err(error) => {
            client.count(|counters| counters.scrape_errors += 1);
            return report(&client, &request, &Scraped::own_error(&error), None).await;
        }
    };
    // NaN is no time at all, either.
    let seconds = if seconds > 0.0 {
        seconds.min(FOR_EVER)
    } else {
        0.0
    };
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    let scraped = match timeout_at(deadline, scrape(&client, &request)).await {
        Ok(scraped) => scraped,
        Err(_) => Err("context deadline exceeded".to_owned()),
    };
    let scraped = scraped.unwrap_or_else(|error| {
        client.count(|counters| counters.scrape_errors += 1);
        Scraped::own_error(&error)
    });
    let left = deadline.saturating_duration_since(Instant::now());
    report(&client, &request, &scraped, Some(left)).await;
}

async fn scrape(client: &Client, request: &HandedRequest) -> Result<Scraped, String> {
    let settings = &client.settings;
    if request.hostname() != settings.fqdn {
        return Err("scrape target doesn't match client fqdn".to_owned());
    }
    let failed = |error: &str| {
        let (uri, method) = (&request.uri, title_case(&request.method));
        format!("failed to scrape {uri}: {method} {uri:?}: {error}")
    };
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, request.port()));
    let to = settings.upstream.unwrap_or(local);
    let Some(body) = &request.body else {
        let lost = "readfrom tcp: http: read on closed response body";
        return Err(failed(lost));
    };
    let stream = TcpStream::connect(to).await.map_err(|error| {
        let words = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string(),
        };
        failed(&format!("dial tcp {to}: connect: {words}"))
    })?;
    let gzip = request
        .field("accept-encoding")
        .unwrap_or_default()
        .is_empty()
        && request.field("range").is_none()
        && request.method != "HEAD";
    let text = asking(request, gzip, body);
    let answer = Connection::over(stream).exchange(text).await;
    if answer.head.status == 0 {
        let line = answer.head.raw.lines().next().unwrap_or("");
        return Err(failed(&match line {
            "" => "EOF".to_owned(),
            _ => format!(
                "net/http: HTTP/1.x transport connection broken: malformed HTTP response {line:?}"
            ),
        }));
    }
    Ok(Scraped::of(&request.method, answer, gzip))
}

/// The request to the target: everything that was handed out, in origin form.
fn asking(request: &HandedRequest, gzip: bool, body: &[u8]) -> Vec<u8> {
    let path = without_scheme(request.path());
    let slash = if path.starts_with('/') { "" } else { "/" };
    let (method, authority) = (&request.method, request.authority());
    let agent = request.field("user-agent");
    let agent = agent.unwrap_or_else(|| "Go-http-client/1.1".to_owned());
    let mut text =
        format!("{method} {slash}{path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {agent}\r\n")
            .into_bytes();
    let mut fields: Vec<_> = request
        .fields
        .iter()
        .map(|(name, value)| (title_case(name), value))
        .filter(|(name, _)| name != "Host" && name != "User-Agent")
        .collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in fields {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    }
    if gzip {
        text.extend_from_slice(b"Accept-Encoding: gzip\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(body);
    text
}

/// Path and query without `_scheme`, when it says https first; the rest sorted, as Go encodes it.
fn without_scheme(path: &str) -> String {
    let Some((path, query)) = path.split_once('?') else {
        return path.to_owned();
    };
    let key = |pair: &&str| pair.split('=').next().unwrap_or("").to_owned();
    let mut pairs: Vec<&str> = query.split('&').collect();
    if pairs.iter().find(|pair| key(pair) == "_scheme") != Some(&"_scheme=https") {
        return format!("{path}?{query}");
    }
    pairs.retain(|pair| key(pair) != "_scheme" && !pair.is_empty());
    pairs.sort_by_key(key);
    match pairs.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", pairs.join("&")),
    }
}

impl Scraped {
    /// What the client says itself: Go's zero version, and no length.
    fn own_error(error: &str) -> Self {
        Self {
            status_line: "HTTP/0.0 500 Internal Server Error".to_owned(),
            fields: Vec::new(),
            framing: Framing::ToEnd,
            framing_only: false,
            close: false,
            body: error.as_bytes().to_vec(),
            whole: true,
        }
    }

    fn of(method: &str, answer: Answer, asked_for_gzip: bool) -> Self {
        let head = &answer.head;
        let is = |name: &str, value: &str| {
            let field = head.field(name);
            field.is_some_and(|field| field.eq_ignore_ascii_case(value))
        };
        let version = head.raw.split(' ').next().unwrap_or("");
        let old = version != "HTTP/1.1";
        let unzip = asked_for_gzip && is("content-encoding", "gzip");
        let bodiless = matches!(head.status, 100..200 | 204 | 304);
        let framing = match head.field("content-length") {
            _ if bodiless => Framing::None,
            _ if is("transfer-encoding", "chunked") && !old => Framing::Chunked,
            Some(length) if !unzip => Framing::Length(length.parse().unwrap_or(0)),
            _ => Framing::ToEnd,
        };
        let close = is("connection", "close")
            || (old && !is("connection", "keep-alive"))
            || (framing == Framing::ToEnd && !unzip);
        let dropped = |name: &str| {
            let mut names = [
                "Content-Length",
                "Transfer-Encoding",
                "Trailer",
                "Connection",
            ]
            .iter();
            names.any(|dropped| *dropped == name) || (unzip && name == "Content-Encoding")
        };
        let fields = head.fields.iter();
        let fields = fields.map(|(name, value)| (title_case(name), value.clone()));
        let status = head.raw.lines().next().unwrap_or("").split_once(' ');
        let status = status.map_or("", |(_, status)| status);
        let code = format!("{:03}", head.status);
        let words = status.strip_prefix(&(code.clone() + " ")).unwrap_or(status);
        Self {
            status_line: format!("{version} {code} {words}"),
            fields: fields.filter(|(name, _)| !dropped(name)).collect(),
            framing,
            framing_only: method == "HEAD",
            close,
            whole: !answer.is_cut(),
            body: match unzip {
                true => gunzip(&answer.body),
                false => answer.body,
            },
        }
    }

    pub(super) fn length(&self) -> String {
        match self.framing {
            Framing::Length(length) => length.to_string(),
            _ => String::new(),
        }
    }
}

/// As much as can be unpacked.
fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    // The error is nobody's: Go's client drops it as well.
    let _ = GzDecoder::new(bytes).read_to_end(&mut body);
    body
}

/// A name as Go writes it.
fn title_case(name: &str) -> String {
    let mut first = true;
    name.chars()
        .map(|c| {
            let cased = match first {
                true => c.to_ascii_uppercase(),
                false => c.to_ascii_lowercase(),
            };
            first = c == '-';
            cased
        })
        .collect()
}
