//! The head of a push: whose answer it is, what the target said, where its body ends.
//!
//! The status line is read by hand: the released client writes `HTTP/0.0 500` for every error of
//! its own, and parsers know no such version. It never writes a folded line or a bare line feed;
//! whoever does is refused.

use std::mem;

use adit_common::deadline::SCRAPE_TIMEOUT_HEADER;
use adit_common::headers::strip_own;
use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use uuid::Uuid;

use super::body::Framing;
use super::request::ID;

/// Longest head, in bytes.
pub(crate) const MAX_HEAD: usize = 256 * 1024;
/// Most fields.
pub(crate) const MAX_FIELDS: usize = 256;

/// What the client adds: its name for the field is a slip that PushProx' proxy never noticed.
const TIMEOUT_OF_THE_CLIENT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout");

/// The head of a push.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Head {
    /// Which scrape it answers: the first `Id`, when it is one of ours.
    pub(crate) id: Option<Uuid>,
    /// Of the target; 500 when [`Self::own_error`].
    pub(crate) status: StatusCode,
    /// The client has no answer, and says why in the body; see [`super::fault`].
    pub(crate) own_error: bool,
    /// The target's, hop-by-hop ones included; without what the client added, and none of ours.
    pub(crate) headers: HeaderMap,
    /// So many bytes of the push it took.
    pub(crate) length: usize,
    framing: Result<Framing, HeadError>,
}

/// Why a head is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    /// Against the grammar; where.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// Over [`MAX_HEAD`].
    #[error("its head is over {MAX_HEAD} bytes")]
    TooLong,
    /// Over [`MAX_FIELDS`].
    #[error("its head has over {MAX_FIELDS} fields")]
    TooManyFields,
    /// The push ended first.
    #[error("its head is cut short")]
    Ended,
}

/// A push whose head cannot be read. The scrape it was meant for, if that much can be read, need
/// not wait for its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Unreadable {
    /// Whose answer it seems to be.
    pub(crate) id: Option<Uuid>,
    /// What is wrong.
    pub(crate) why: HeadError,
}

/// Reads a head out of bytes as they come.
#[derive(Debug, Default)]
pub(crate) struct HeadReader {
    /// So many bytes are known to hold no end: looking again at each byte would be quadratic.
    searched: usize,
}

impl HeadReader {
    /// Takes the head off the front of `buffer`; `None` when more has to be behind it first.
    /// Between two calls bytes are appended to `buffer` and nothing else.
    pub(crate) fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<Head>, Unreadable> {
        let searched = mem::take(&mut self.searched).min(buffer.len());
        let end = buffer[searched..]
            .windows(4)
            .position(|window| window == b"\r\n\r\n");
        let Some(end) = end.map(|at| searched + at + 4) else {
            self.searched = buffer.len().saturating_sub(3);
            return match buffer.len() {
                ..MAX_HEAD => Ok(None),
                _ => Err(unreadable(buffer, HeadError::TooLong)),
            };
        };
        if end > MAX_HEAD {
            return Err(unreadable(buffer, HeadError::TooLong));
        }
        let head = buffer.split_to(end);
        match parse(&head) {
            Ok(head) => Ok(Some(head)),
            Err(why) => Err(unreadable(&head, why)),
        }
    }

    /// What is wrong when the push ends before its head does.
    pub(crate) fn ended(&self, buffer: &[u8]) -> Unreadable {
        unreadable(buffer, HeadError::Ended)
    }
}

impl Head {
    /// Where the body ends (RFC 9112 §6.3), `method` being that of the scrape.
    pub(crate) fn framing(&self, method: &Method) -> Result<Framing, HeadError> {
        let bodiless = *method == Method::HEAD
            || self.status.is_informational()
            || matches!(
                self.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        // The client explains its own errors whatever it was asked.
        if bodiless && !self.own_error {
            return Ok(Framing::Empty);
        }
        self.framing
    }
}

fn unreadable(head: &[u8], why: HeadError) -> Unreadable {
    // However the bytes came: a longer head is refused for these first ones.
    let head = &head[..head.len().min(MAX_HEAD)];
    let id = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(3)?;
        let id = name.eq_ignore_ascii_case(b"id:");
        id.then(|| Uuid::try_parse_ascii(value.trim_ascii()).ok())
    });
    let id = id.flatten();
    Unreadable { id, why }
}

fn parse(head: &[u8]) -> Result<Head, HeadError> {
    let bare = |(at, byte): (usize, &u8)| *byte == b'\n' && (at == 0 || head[at - 1] != b'\r');
    if head.iter().enumerate().any(bare) {
        return Err(HeadError::Malformed("the end of a line"));
    }
    let line = head.windows(2).position(|window| window == b"\r\n");
    // The head ends with two of them.
    let (line, fields) = head.split_at(line.unwrap_or(0));
    let (version, status) = status_line(line).ok_or(HeadError::Malformed("the status line"))?;
    let mut headers = header_map(&fields[2..])?;
    let id = headers
        .get(ID)
        .and_then(|id| Uuid::try_parse_ascii(id.as_bytes()).ok());
    for name in [ID, TIMEOUT_OF_THE_CLIENT] {
        headers.remove(name);
    }
    headers.remove(SCRAPE_TIMEOUT_HEADER);
    // A target must not say in our name what went wrong.
    strip_own(&mut headers);
    let framing = framing(version, &headers);
    match framing {
        // One that all agree on, should there be several.
        Ok(Framing::Length(length)) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Ok(_) => {}
        Err(_) => {
            headers.remove(CONTENT_LENGTH);
        }
    }
    Ok(Head {
        id,
        status,
        own_error: version == (0, 0) && status == StatusCode::INTERNAL_SERVER_ERROR,
        headers,
        length: head.len(),
        framing,
    })
}

/// `HTTP/0.0 500 Internal Server Error`: any version Go prints, three digits, any words.
fn status_line(line: &[u8]) -> Option<((u8, u8), StatusCode)> {
    let rest = line.strip_prefix(b"HTTP/")?;
    let ([major, b'.', minor, b' '], rest) = rest.split_at_checked(4)? else {
        return None;
    };
    if !major.is_ascii_digit() || !minor.is_ascii_digit() {
        return None;
    }
    let (status, words) = rest.split_at_checked(3)?;
    if !matches!(words, [] | [b' ', ..]) || words.contains(&b'\r') {
        return None;
    }
    let status = StatusCode::from_bytes(status).ok()?;
    Some(((major - b'0', minor - b'0'), status))
}

fn header_map(fields: &[u8]) -> Result<HeaderMap, HeadError> {
    const MALFORMED: HeadError = HeadError::Malformed("a field");
    let mut parsed = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let parsed = match httparse::parse_headers(fields, &mut parsed) {
        Ok(httparse::Status::Complete((length, parsed))) if length == fields.len() => parsed,
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyFields),
        Ok(_) | Err(_) => return Err(MALFORMED),
    };
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for field in parsed {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| MALFORMED)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| MALFORMED)?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn framing(version: (u8, u8), headers: &HeaderMap) -> Result<Framing, HeadError> {
    if headers.contains_key(TRANSFER_ENCODING) {
        // Any other coding would have to be undone, and before HTTP/1.1 there were none.
        let mut codings = list(headers, &TRANSFER_ENCODING);
        let chunked = codings
            .next()
            .is_some_and(|c| c.eq_ignore_ascii_case(b"chunked"));
        return match chunked && codings.next().is_none() && version >= (1, 1) {
            true => Ok(Framing::Chunked),
            false => Err(HeadError::Malformed("its Transfer-Encoding")),
        };
    }
    let mut agreed = None;
    for length in list(headers, &CONTENT_LENGTH) {
        let length = decimal(length).ok_or(HeadError::Malformed("its Content-Length"))?;
        match agreed.replace(length) {
            Some(other) if other != length => {
                return Err(HeadError::Malformed("its Content-Length"));
            }
            _ => {}
        }
    }
    Ok(agreed.map_or(Framing::ToEnd, Framing::Length))
}

/// The members of a field, whether in one line or in several.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// Digits alone: `u64::from_str` takes "+5" as well.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits
        .then(|| std::str::from_utf8(text).ok()?.parse().ok())
        .flatten()
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
