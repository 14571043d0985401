//! What a client's own error means.

use adit_common::fault::Fault;

/// Pieces of Go's error texts, the first that fits wins.
const MEANINGS: [(&str, Fault); 23] = [
    // The client's own, and the deadline whatever it interrupted.
    ("doesn't match client fqdn", Fault::NotOffered),
    ("context deadline exceeded", Fault::Deadline),
    // A name server that does not answer is a "lookup" and an "i/o timeout" too.
    ("no such host", Fault::Unresolved),
    ("lookup ", Fault::Unresolved),
    ("no suitable address", Fault::Unresolved),
    ("connection refused", Fault::Refused),
    // Where a certificate of the client's is refused, the alert comes from the other side and
    // says "tls:" only.
    ("x509: ", Fault::Certificate),
    ("tls: ", Fault::Tls),
    ("TLS handshake timeout", Fault::Tls),
    ("HTTP response to HTTPS client", Fault::Tls),
    ("no route to host", Fault::Unreachable),
    ("network is unreachable", Fault::Unreachable),
    // Behind all that a dial can say in particular.
    ("dial tcp", Fault::Unreachable),
    ("response headers exceeded", Fault::TooLarge),
    ("malformed HTTP", Fault::Malformed),
    ("malformed MIME header", Fault::Malformed),
    ("transfer encoding", Fault::Malformed),
    ("Content-Length", Fault::Malformed),
    ("Location header", Fault::Malformed),
    ("stopped after 10 redirects", Fault::Malformed),
    ("invalid header", Fault::Malformed),
    ("unexpected EOF", Fault::BrokeOff),
    ("connection reset", Fault::BrokeOff),
];

/// The fault behind the text of a client's own error; what is not known counts as
/// [`Fault::BrokeOff`].
///
/// The URL is left out first: a scraper writes it, and may write "x509: " in its path. What
/// matters stands behind it, at the end, and the URL comes twice.
pub(crate) fn fault(text: &str) -> Fault {
    let words: Vec<&str> = text
        .split_ascii_whitespace()
        .filter(|word| !word.contains("://"))
        .collect();
    // A space behind the last word, for the pieces that end with one.
    let words = words.join(" ") + " ";
    MEANINGS
        .iter()
        .find(|(piece, _)| words.contains(piece))
        .map_or(Fault::BrokeOff, |(_, fault)| *fault)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The words behind the URL, as Go 1.26 says them.
    const SAID: [(&str, Fault); 26] = [
        (
            "dial tcp 127.0.0.1:1: connect: connection refused",
            Fault::Refused,
        ),
        (
            "dial tcp: lookup pi on 127.0.0.53:53: no such host",
            Fault::Unresolved,
        ),
        (
            "dial tcp: lookup pi on 10.0.0.1:53: read udp 10.0.0.2:4711->10.0.0.1:53: i/o timeout",
            Fault::Unresolved,
        ),
        (
            "dial tcp: lookup pi: Temporary failure in name resolution",
            Fault::Unresolved,
        ),
        (
            "dial tcp: address pi: no suitable address found",
            Fault::Unresolved,
        ),
        (
            "dial tcp 10.0.0.9:9100: connect: no route to host",
            Fault::Unreachable,
        ),
        (
            "dial tcp 10.0.0.9:9100: connect: network is unreachable",
            Fault::Unreachable,
        ),
        ("dial tcp 10.0.0.9:9100: i/o timeout", Fault::Unreachable),
        (
            "dial tcp 10.0.0.9:9100: connect: connection timed out",
            Fault::Unreachable,
        ),
        ("context deadline exceeded", Fault::Deadline),
        (
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            Fault::Deadline,
        ),
        (
            "dial tcp: lookup pi: context deadline exceeded",
            Fault::Deadline,
        ),
        (
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            Fault::Certificate,
        ),
        (
            "x509: certificate is valid for localhost, not pi",
            Fault::Certificate,
        ),
        ("remote error: tls: certificate required", Fault::Tls),
        (
            "tls: first record does not look like a TLS handshake",
            Fault::Tls,
        ),
        ("net/http: TLS handshake timeout", Fault::Tls),
        (
            "http: server gave HTTP response to HTTPS client",
            Fault::Tls,
        ),
        (
            "net/http: HTTP/1.x transport connection broken: malformed HTTP response \"SSH-2.0-x\"",
            Fault::Malformed,
        ),
        (
            "net/http: HTTP/1.x transport connection broken: malformed MIME header: missing colon: \"Content-\"",
            Fault::Malformed,
        ),
        (
            "net/http: HTTP/1.x transport connection broken: unsupported transfer encoding: \"gzip\"",
            Fault::Malformed,
        ),
        (
            "net/http: HTTP/1.x transport connection broken: http: message cannot contain multiple Content-Length headers; got [\"2\" \"3\"]",
            Fault::Malformed,
        ),
        ("stopped after 10 redirects", Fault::Malformed),
        (
            "net/http: HTTP/1.x transport connection broken: net/http: server response headers exceeded 10485760 bytes; aborted",
            Fault::TooLarge,
        ),
        ("EOF", Fault::BrokeOff),
        (
            "read tcp 127.0.0.1:41722->127.0.0.1:39589: read: connection reset by peer",
            Fault::BrokeOff,
        ),
    ];

    #[test]
    fn what_go_says_is_understood() {
        for (words, fault) in SAID {
            for said in [
                // The released client; the same compiled with a Go before 1.14; the proxy's words.
                format!("failed to scrape http://pi:9100/m: Get \"http://pi:9100/m\": {words}"),
                format!("failed to scrape http://pi:9100/m: Get http://pi:9100/m: {words}"),
                format!("Error scraping \"http://pi:9100/m\": {words}"),
                words.to_owned(),
            ] {
                assert_eq!(super::fault(&said), fault, "{said}");
            }
        }
    }

    #[test]
    fn what_the_client_says_itself_is_understood() {
        for (said, fault) in [
            ("scrape target doesn't match client fqdn", Fault::NotOffered),
            (
                "strconv.ParseFloat: parsing \"\": invalid syntax",
                Fault::BrokeOff,
            ),
            ("", Fault::BrokeOff),
            ("the moon", Fault::BrokeOff),
        ] {
            assert_eq!(super::fault(said), fault, "{said}");
        }
    }

    proptest! {
        #[test]
        fn a_url_cannot_choose_the_fault(which in 0..SAID.len(), path in "[!-~]{0,20}") {
            let (words, fault) = SAID[which];
            for (piece, _) in MEANINGS {
                let url = format!("http://pi:9100/{path}?{}", piece.replace(' ', "+"));
                let said = format!("failed to scrape {url}: Get {url:?}: {words}");
                prop_assert_eq!(super::fault(&said), fault, "{}", said);
            }
        }
    }
}
