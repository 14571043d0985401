//! Paths, as a server may understand them: how one is compared with prefixes, and when it cannot be.
//!
//! What is compared is not what is sent. The request goes on byte for byte, and each server has its
//! own view of `%2e%2e`, of a backslash, of `..;x`. So a path is either one that all of them read
//! alike, or it is refused.

use std::fmt;
use std::str::FromStr;

/// A path in pieces, decoded, without dot segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segments(Vec<String>);

/// What makes a path mean different things to different servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ambiguous {
    /// `a/b`, or `*`.
    #[error("does not begin with a slash")]
    Relative,
    /// Also as `%2e%2e`, as `..;x`, or encoded twice.
    #[error("has a segment \"..\"")]
    Parent,
    /// Encoded, or a backslash, which is one to some.
    #[error("has an encoded slash or a backslash")]
    Slash,
    /// What is left of it after decoding is no text, or text that ends early.
    #[error("has a byte that is no text")]
    NoText,
    /// A percent sign without two digits.
    #[error("is not percent-encoded as it should be")]
    Encoding,
    /// What would be one of the others after decoding twice.
    #[error("is encoded twice")]
    Twice,
}

impl Segments {
    /// Reads a path without its query.
    pub(crate) fn of(path: &str) -> Result<Self, Ambiguous> {
        let rest = path.strip_prefix('/').ok_or(Ambiguous::Relative)?;
        let mut segments = Vec::new();
        for written in rest.split('/') {
            let segment = decode(written)?;
            check(&segment)?;
            // RFC 3986 §5.2.4; the last one leaves a slash behind.
            if segment != "." {
                segments.push(segment);
            }
        }
        Ok(Self(segments))
    }

    /// What follows `prefix`, if this is below it or is it.
    pub(crate) fn below(&self, prefix: &Prefix) -> Option<&[String]> {
        self.0.strip_prefix(&*prefix.segments)
    }

    pub(crate) fn as_slice(&self) -> &[String] {
        &self.0
    }
}

fn decode(segment: &str) -> Result<String, Ambiguous> {
    if !segment.contains('%') {
        return Ok(segment.to_owned());
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut pieces = segment.split('%');
    // What stands before the first sign.
    bytes.extend_from_slice(pieces.next().unwrap_or("").as_bytes());
    for piece in pieces {
        let digits = piece.get(..2).ok_or(Ambiguous::Encoding)?;
        bytes.push(octet(digits).ok_or(Ambiguous::Encoding)?);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).map_err(|_| Ambiguous::NoText)
}

/// `u8::from_str_radix` takes a sign, too.
fn octet(digits: &str) -> Option<u8> {
    let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = || u8::from_str_radix(digits, 16).ok();
    hexadecimal.then(value).flatten()
}

fn check(segment: &str) -> Result<(), Ambiguous> {
    if segment.contains(['/', '\\']) {
        return Err(Ambiguous::Slash);
    }
    if segment.chars().any(char::is_control) {
        return Err(Ambiguous::NoText);
    }
    // Servlets cut off what follows a semicolon, and resolve dots after that.
    let (name, parameters) = segment
        .split_once(';')
        .map_or((segment, false), |(n, _)| (n, true));
    if name == ".." || name == "." && parameters {
        return Err(Ambiguous::Parent);
    }
    let twice = segment.match_indices('%').any(|(at, _)| {
        let value = segment.get(at + 1..at + 3).and_then(octet);
        value.is_some_and(|byte| matches!(byte, b'.' | b'/' | b'\\' | b'%' | b';') || byte < b' ')
    });
    if twice { Err(Ambiguous::Twice) } else { Ok(()) }
}

/// A path below which all may be asked, compared by whole segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    segments: Vec<String>,
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.segments.join("/"))
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "expected the beginning of a path, as in /metrics";
        if text.contains(['?', '#']) {
            return Err(format!("{FORM}, without a query"));
        }
        // Also of "/", which is every path.
        let bare = text.trim_end_matches('/');
        if !text.starts_with('/') {
            return Err(FORM.to_owned());
        }
        let segments = match bare.is_empty() {
            true => Vec::new(),
            false => {
                Segments::of(bare)
                    .map_err(|error| format!("{FORM}: this one {error}"))?
                    .0
            }
        };
        Ok(Self { segments })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_below(path: &str, prefix: &str) -> bool {
        let prefix = prefix.parse().unwrap();
        Segments::of(path).unwrap().below(&prefix).is_some()
    }

    #[test]
    fn prefixes_are_of_whole_segments() {
        for (prefix, yes, no) in [
            (
                "/metrics",
                "/metrics /metrics/ /metrics/a /%6detrics /./metrics /metrics/. /a/./b",
                "/metricsx /metric / /a/metrics //metrics /METRICS /metrics;x=1 /metrics%20",
            ),
            ("/a/b/", "/a/b /a/b/c /a/%62", "/a /a/bc /a//b /b"),
            ("/", "/ /metrics //metrics /a;b/c", ""),
        ] {
            for path in yes.split_whitespace().filter(|path| *path != "/a/./b") {
                assert!(is_below(path, prefix), "{path} below {prefix}");
            }
            for path in no.split_whitespace() {
                assert!(!is_below(path, prefix), "{path} not below {prefix}");
            }
        }
        assert!(is_below("/a/./b", "/a/b"));
    }

    #[test]
    fn what_servers_read_in_different_ways_is_refused() {
        use Ambiguous as A;
        for (paths, why) in [
            ("metrics * metrics/../x", A::Relative),
            (
                "/metrics/.. /../debug /metrics/../debug /metrics/%2e%2e/debug /metrics/.%2E/x \
                 /metrics/..;/debug /metrics/..;a=b/debug /metrics/%2e%2e%3b/x /metrics/.;/x",
                A::Parent,
            ),
            (
                r"/metrics%2f..%2fdebug /metrics/a%2Fb /metrics\..\debug /metrics%5cdebug /a%5C",
                A::Slash,
            ),
            (
                "/metrics%00/debug /metrics/%0d%0ax /metrics/%c0%ae%c0%ae/x /metrics/%ff /a%7f",
                A::NoText,
            ),
            (
                "/metrics/% /metrics/%2 /metrics/%zz /metrics/%+2e /%é1",
                A::Encoding,
            ),
            (
                "/metrics/%252e%252e/x /metrics/%252fdebug /metrics/%25252e /metrics/%255c /%2500",
                A::Twice,
            ),
        ] {
            for path in paths.split_whitespace() {
                assert_eq!(Segments::of(path), Err(why), "{path}");
            }
        }
        // Dots in a name, a percent sign that is one, and a letter of any language are no harm.
        for path in [
            "/a..b/...",
            "/100%25",
            "/%C3%A9",
            "/a%20b",
            "/probe;x=1",
            "/",
        ] {
            assert!(Segments::of(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn what_is_no_prefix_says_what_is() {
        for text in [
            "",
            "metrics",
            "/a?b",
            "/a#b",
            "/a/../b",
            "/%2e%2e",
            "http://x/",
        ] {
            let error = text.parse::<Prefix>().unwrap_err();
            assert!(error.contains("as in /metrics"), "{text}: {error}");
        }
    }

    /// What a lenient server makes of a path: decodes twice, takes backslashes for slashes, cuts
    /// parameters, resolves dots and forgets empty segments.
    fn lenient(path: &str) -> Vec<String> {
        let twice = (0..2).fold(path.to_owned(), |path, _| {
            let mut bytes = Vec::new();
            let mut rest = path.as_bytes();
            while let Some((&first, tail)) = rest.split_first() {
                let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
                match digits.and_then(octet).filter(|_| first == b'%') {
                    Some(byte) => {
                        bytes.push(byte);
                        rest = &tail[2..];
                    }
                    None => {
                        bytes.push(first);
                        rest = tail;
                    }
                }
            }
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let mut segments = Vec::new();
        for segment in twice.split(['/', '\\']) {
            match segment.split(';').next().unwrap_or("") {
                "" | "." => {}
                ".." => drop(segments.pop()),
                name => segments.push(name.to_owned()),
            }
        }
        segments
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_path_that_passes_is_below_its_prefix_for_every_server(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "/", "/", "metrics", "m", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", "%25",
                    "2e", "2f", "25", ";", "%3b", "x", "%00", "%6d", "%c0%ae", "debug", "%",
                ]),
                0..12,
            )
        ) {
            let path = format!("/metrics{}", pieces.concat());
            let prefix: Prefix = "/metrics".parse().unwrap();
            if let Ok(segments) = Segments::of(&path) && segments.below(&prefix).is_some() {
                let understood = lenient(&path);
                prop_assert_eq!(understood.first().map(String::as_str), Some("metrics"));
            }
        }

        #[test]
        fn no_path_panics(path in "\\PC{0,40}") {
            let _ = Segments::of(&path);
            let _ = path.parse::<Prefix>();
        }
    }
}
