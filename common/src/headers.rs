//! Which header fields pass, and which are between two hops or our own.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};

/// The token of a client behind a front proxy that keeps `Authorization` for itself.
pub const TOKEN: HeaderName = HeaderName::from_static("adit-token");
/// Which run of which client dials; see [`crate::registration::Instance`].
pub const INSTANCE: HeaderName = HeaderName::from_static("adit-instance");
/// The time a scrape has left, in milliseconds, from the proxy to the client.
pub const TIMEOUT: HeaderName = HeaderName::from_static("adit-timeout-ms");
/// Why the client has no answer of the target; see [`crate::fault::Fault`].
pub const FAULT: HeaderName = HeaderName::from_static("adit-fault");
/// The same in words.
pub const REASON: HeaderName = HeaderName::from_static("adit-reason");

const OWN_PREFIX: &str = "adit-";
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Removes what is between two hops (RFC 9110 §7.6.1): `Connection` and all it names, the fields
/// that were never listed by everyone who sends them, proxy credentials, and our own.
///
/// `Host` and `Content-Length` stay although a peer may name them in `Connection`: without them
/// the message would mean something else.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    strip_named_by_connection(headers);
    if headers.contains_key(TRANSFER_ENCODING) {
        // Of the two this one is void (RFC 9112 §6.3): it says nothing about what was decoded.
        headers.remove(CONTENT_LENGTH);
    }
    for name in [
        &CONNECTION,
        &KEEP_ALIVE,
        &PROXY_CONNECTION,
        &PROXY_AUTHENTICATE,
        &PROXY_AUTHORIZATION,
        &TE,
        &TRAILER,
        &TRANSFER_ENCODING,
        &UPGRADE,
    ] {
        headers.remove(name);
    }
    strip_own(headers);
}

fn strip_named_by_connection(headers: &mut HeaderMap) {
    if !headers.contains_key(CONNECTION) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|token| HeaderName::from_bytes(token.trim().as_bytes()).ok())
        .filter(|name| *name != http::header::HOST && *name != http::header::CONTENT_LENGTH)
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Removes every field of ours: nobody outside the tunnel may speak for one of its ends.
pub fn strip_own(headers: &mut HeaderMap) {
    // Looked for first: nearly no message has one, and then nothing is allocated.
    if !headers.keys().any(is_own) {
        return;
    }
    let own: Vec<HeaderName> = headers.keys().filter(|n| is_own(n)).cloned().collect();
    for name in own {
        headers.remove(name);
    }
}

fn is_own(name: &HeaderName) -> bool {
    name.as_str().starts_with(OWN_PREFIX)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn stripped(fields: &[(&str, &str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        strip_hop_by_hop(&mut headers);
        headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect()
    }

    #[test]
    fn only_end_to_end_fields_pass() {
        let left = stripped(&[
            ("Host", "pi:9100"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "gzip"),
            ("Authorization", "Basic dA=="),
            ("X-Prometheus-Scrape-Timeout-Seconds", "10"),
            ("Proxy-Authorization", "Basic cA=="),
            ("Proxy-Connection", "keep-alive"),
            ("Keep-Alive", "timeout=5"),
            ("TE", "trailers"),
            ("Upgrade", "h2c"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "close, X-Hop"),
            ("Connection", "x-other"),
            ("X-Hop", "1"),
            ("X-Other", "1"),
            ("Adit-Token", "s3cret"),
            ("Adit-Fault", "refused"),
        ]);
        let expected = [
            "host",
            "accept",
            "accept-encoding",
            "authorization",
            "x-prometheus-scrape-timeout-seconds",
        ];
        let mut left_sorted = left;
        left_sorted.sort_unstable();
        let mut expected_sorted: Vec<String> = expected.iter().map(|s| (*s).into()).collect();
        expected_sorted.sort_unstable();
        assert_eq!(left_sorted, expected_sorted);
    }

    #[test]
    fn connection_cannot_name_away_what_frames_a_message() {
        let left = stripped(&[
            ("Host", "pi"),
            ("Content-Length", "3"),
            ("Connection", "host, content-length"),
        ]);
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn a_length_beside_chunks_is_void() {
        let left = stripped(&[("Transfer-Encoding", "chunked"), ("Content-Length", "5")]);
        assert_eq!(left.len(), 0, "{left:?}");
        assert_eq!(stripped(&[("Content-Length", "5")]), ["content-length"]);
    }

    proptest! {
        #[test]
        fn nothing_named_by_connection_survives(
            names in proptest::collection::vec("[a-z][a-z-]{0,12}", 1..8),
            nonsense in "[ -~]{0,20}",
        ) {
            let mut headers = HeaderMap::new();
            for name in &names {
                headers.append(
                    HeaderName::from_bytes(format!("x-{name}").as_bytes()).unwrap(),
                    HeaderValue::from_static("1"),
                );
            }
            headers.insert("adit-timeout-ms", HeaderValue::from_static("1"));
            headers.insert("accept", HeaderValue::from_static("*/*"));
            let list = names.iter().map(|n| format!("X-{n}")).collect::<Vec<_>>().join(" ,");
            headers.append(CONNECTION, HeaderValue::from_str(&list).unwrap());
            if !nonsense.to_ascii_lowercase().contains("accept") {
                headers.append(CONNECTION, HeaderValue::from_str(&nonsense).unwrap());
            }
            strip_hop_by_hop(&mut headers);
            prop_assert_eq!(headers.keys().count(), 1, "{:?}", headers);
            prop_assert!(headers.contains_key("accept"));
        }
    }
}
