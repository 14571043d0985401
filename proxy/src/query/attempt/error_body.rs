//! What the body of an error says, from a copy: the bytes themselves go to the caller as they came.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Deserialize;

/// So much of an error is looked at, before and after it is unpacked. Prometheus' are a line.
pub(super) const MOST: usize = 64 << 10;

/// What an error says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Prometheus' API: the kind of error, and words.
    Api {
        /// `errorType`
        kind: String,
        /// `error`
        words: String,
    },
    /// Something else, so nobody evaluated a query.
    Else(String),
    /// It could not be read: not whole, too large, or packed in a way that is not known here.
    Unread,
}

/// As Prometheus writes errors (<https://prometheus.io/docs/prometheus/latest/querying/api/>).
#[derive(Deserialize)]
struct ApiError {
    #[serde(rename = "errorType", default)]
    kind: String,
    #[serde(rename = "error", default)]
    words: String,
}

/// Reads `body`, which is all that came.
pub(super) fn read(headers: &HeaderMap, body: &[u8], whole: bool) -> Said {
    let word = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let json = word(CONTENT_TYPE).is_some_and(|value| {
        let kind = value.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    });
    if !whole {
        // Prometheus alone sends JSON: what it is not can be told from the head.
        return match json {
            true => Said::Unread,
            false => Said::Else(String::new()),
        };
    }
    let Some(text) = unpack(word(CONTENT_ENCODING).unwrap_or_default(), body) else {
        return match json {
            true => Said::Unread,
            false => Said::Else(String::new()),
        };
    };
    match serde_json::from_slice(&text) {
        Ok(ApiError { kind, words }) if !kind.is_empty() => Said::Api { kind, words },
        _ if json => Said::Unread,
        _ => Said::Else(String::from_utf8_lossy(&text).into_owned()),
    }
}

/// The text of a packed body, unless it is too long or broken.
fn unpack(coding: &str, body: &[u8]) -> Option<Vec<u8>> {
    match coding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Some(body.to_vec()),
        "gzip" | "x-gzip" => bounded(MultiGzDecoder::new(body)),
        // RFC 9110 §8.4.1.2 means zlib, and notes that some send the bare stream.
        "deflate" => bounded(ZlibDecoder::new(body)).or_else(|| bounded(DeflateDecoder::new(body))),
        _ => None,
    }
}

fn bounded(unpacked: impl Read) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let most = u64::try_from(MOST).unwrap_or(u64::MAX);
    unpacked.take(most + 1).read_to_end(&mut text).ok()?;
    (text.len() <= MOST).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const TIMEOUT: &[u8] =
        br#"{"status":"error","errorType":"timeout","error":"query timed out in query queue"}"#;

    fn headers(kind: &str, coding: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        if !coding.is_empty() {
            headers.insert(CONTENT_ENCODING, coding.parse().unwrap());
        }
        headers
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn an_error_is_read_however_it_is_packed() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(TIMEOUT).unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(TIMEOUT).unwrap();
        for (coding, body) in [
            ("", TIMEOUT.to_vec()),
            ("identity", TIMEOUT.to_vec()),
            ("gzip", gzip(TIMEOUT)),
            ("GZIP", gzip(TIMEOUT)),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", bare.finish().unwrap()),
        ] {
            let said = read(&headers("application/json", coding), &body, true);
            let expected = Said::Api {
                kind: "timeout".to_owned(),
                words: "query timed out in query queue".to_owned(),
            };
            assert_eq!(said, expected, "{coding}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        let json = |coding| headers("application/json; charset=utf-8", coding);
        for (coding, body) in [
            ("br", TIMEOUT.to_vec()),
            ("gzip", TIMEOUT.to_vec()),
            ("gzip", gzip(TIMEOUT)[..20].to_vec()),
            ("", b"{".to_vec()),
            ("", b"{}".to_vec()),
            // A few bytes that would be a gigabyte.
            ("gzip", gzip(&vec![b' '; 1 << 24])),
        ] {
            assert_eq!(read(&json(coding), &body, true), Said::Unread, "{coding}");
        }
        assert_eq!(read(&json(""), TIMEOUT, false), Said::Unread);
        let text = headers("text/plain", "");
        assert_eq!(read(&text, b"x", false), Said::Else(String::new()));
        assert_eq!(read(&text, b"x\n", true), Said::Else("x\n".to_owned()));
    }
}
