//! Why a client has no answer of a target: the one list both ends know.
//!
//! The client says which fault and in words; which status a scraper gets for it is the proxy's
//! business alone (`scrape/reply.rs` there).

use std::fmt;

use http::{HeaderMap, HeaderValue};

use crate::headers;

/// What went wrong between the client and the target, or before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The client does not offer this target, or not for this method or path.
    NotOffered,
    /// The target's address is one that the client does not dial unless it is written as such.
    Forbidden,
    /// As much is under way at the target as it may cost.
    Busy,
    /// The target's name has no address.
    Unresolved,
    /// Nobody listens at the target.
    Refused,
    /// No way to the target, or no answer to the dial.
    Unreachable,
    /// TLS with the target failed.
    Tls,
    /// The target's certificate is not trusted.
    Certificate,
    /// The target closed before its answer's head was complete.
    BrokeOff,
    /// The target's answer is no HTTP we understand.
    Malformed,
    /// The head of the target's answer is over the limit.
    TooLarge,
    /// The target's answer says that it has more bytes than it may.
    Oversized,
    /// The deadline passed at the client.
    Deadline,
    /// The client is stopping.
    Draining,
}

const ALL: [(Fault, &str); 14] = [
    (Fault::NotOffered, "not-offered"),
    (Fault::Forbidden, "forbidden"),
    (Fault::Busy, "busy"),
    (Fault::Unresolved, "unresolved"),
    (Fault::Refused, "refused"),
    (Fault::Unreachable, "unreachable"),
    (Fault::Tls, "tls"),
    (Fault::Certificate, "certificate"),
    (Fault::BrokeOff, "broke-off"),
    (Fault::Malformed, "malformed"),
    (Fault::TooLarge, "too-large"),
    (Fault::Oversized, "oversized"),
    (Fault::Deadline, "deadline"),
    (Fault::Draining, "draining"),
];

impl Fault {
    /// The word on the wire, and in metrics.
    pub fn as_str(self) -> &'static str {
        // Every variant stands in ALL; the test below counts.
        ALL.iter().find(|(f, _)| *f == self).map_or("", |(_, s)| s)
    }

    fn parse(text: &str) -> Option<Self> {
        ALL.iter().find(|(_, s)| *s == text).map(|(f, _)| *f)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A fault with its words, as one end tells it to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which one.
    pub fault: Fault,
    /// In words; names the target. One printable line.
    pub reason: String,
}

/// Longest reason that crosses the tunnel, in bytes: it ends up in a status line.
const MAX_REASON: usize = 400;

impl Report {
    /// A fault and its words; what could end a line or is not ASCII becomes `?`.
    pub fn new(fault: Fault, reason: impl fmt::Display) -> Self {
        let reason = one_line(&reason.to_string());
        Self { fault, reason }
    }

    /// Writes it into the head of the client's answer.
    pub fn write_to(&self, headers: &mut HeaderMap) {
        headers.insert(
            headers::FAULT,
            HeaderValue::from_static(self.fault.as_str()),
        );
        // `one_line` left printable ASCII only, which is always a value.
        if let Ok(reason) = HeaderValue::from_str(&self.reason) {
            headers.insert(headers::REASON, reason);
        }
    }

    /// Reads it from the head of the client's answer; `None` when the target answered. A fault
    /// this version does not know counts as [`Fault::BrokeOff`], with its words.
    pub fn read_from(headers: &HeaderMap) -> Option<Self> {
        let word = headers.get(headers::FAULT)?.to_str().unwrap_or("");
        let reason = headers
            .get(headers::REASON)
            .and_then(|value| value.to_str().ok())
            .unwrap_or(word);
        let fault = Fault::parse(word).unwrap_or(Fault::BrokeOff);
        Some(Self::new(fault, reason))
    }
}

/// Printable ASCII on one line and of bounded length: fit for a reason phrase and a log.
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == ' ' || c.is_ascii_graphic() {
                c
            } else {
                '?'
            }
        })
        .take(MAX_REASON)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_crosses_the_tunnel() {
        for (fault, _) in ALL {
            let report = Report::new(fault, format!("pi:9100: {fault}"));
            let mut headers = HeaderMap::new();
            report.write_to(&mut headers);
            assert_eq!(Report::read_from(&headers), Some(report));
        }
        assert_eq!(Report::read_from(&HeaderMap::new()), None);
    }

    #[test]
    fn a_fault_of_a_newer_client_keeps_its_words() {
        let mut headers = HeaderMap::new();
        headers.insert(headers::FAULT, HeaderValue::from_static("eclipse"));
        headers.insert(headers::REASON, HeaderValue::from_static("the moon"));
        let report = Report::read_from(&headers).unwrap();
        assert_eq!(
            (report.fault, &*report.reason),
            (Fault::BrokeOff, "the moon")
        );
    }

    #[test]
    fn words_cannot_end_a_line() {
        let report = Report::new(Fault::Refused, "a\r\nSet-Cookie: x\u{1b}é");
        assert_eq!(report.reason, "a??Set-Cookie: x??");
        assert_eq!(
            Report::new(Fault::Refused, "x".repeat(9999)).reason.len(),
            MAX_REASON
        );
    }
}
