//! What path a server would see in what was sent.
//!
//! Go decodes a path once and routes by that, so that `/-%2freload` is `/-/reload` (tried: Prometheus
//! 2.42 reloads); it redirects to the clean form of what has empty or dot segments, another case or a
//! slash at the end. What stands between us and a server may do
//! more: join slashes, resolve dots, decode again. So a path is looked at as the most obliging of them
//! would see it, and what two of them could see differently is refused. None of it is anything that
//! Prometheus has.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::query::refusal::Refusal;

/// Its segments, decoded and in lower case, without empty ones.
///
/// # Errors
/// What is wrong with it: it is no path, or one to us and another to somebody behind us.
pub(super) fn segments(path: &str) -> Result<Vec<String>, Refusal> {
    if !path.starts_with('/') {
        return Err(Refusal::BadPath("no slash in front of it"));
    }
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.map(segment).collect()
}

fn segment(part: &str) -> Result<String, Refusal> {
    if escapes(part).any(|whole| !whole) {
        return Err(Refusal::BadPath("a % without two hexadecimal digits"));
    }
    let bytes: Cow<'_, [u8]> = percent_decode_str(part).into();
    let decoded = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    if decoded == "." || decoded == ".." {
        return Err(Refusal::BadPath("a segment of dots"));
    }
    if decoded.contains(['/', '\\', '?', '#', ';']) {
        return Err(Refusal::BadPath("what parts a path, in disguise"));
    }
    if decoded.contains(char::is_control) {
        return Err(Refusal::BadPath("a control character"));
    }
    if escapes(&decoded).any(|whole| whole) {
        return Err(Refusal::BadPath("what is encoded twice"));
    }
    Ok(decoded)
}

/// For every `%`, whether two hexadecimal digits follow.
fn escapes(text: &str) -> impl Iterator<Item = bool> {
    text.split('%').skip(1).map(|rest| {
        let digits = rest.bytes().take(2).filter(u8::is_ascii_hexdigit);
        digits.count() == 2
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_what_the_most_obliging_server_sees() {
        for (path, seen) in [
            ("/", &[][..]),
            ("//", &[]),
            ("/api/v1/query", &["api", "v1", "query"]),
            ("/api/v1//query/", &["api", "v1", "query"]),
            ("/%61pi/V1/%51uery", &["api", "v1", "query"]),
            ("/%2d/quit", &["-", "quit"]),
            (
                "/api/v1/label/U__a_2e_b/values",
                &["api", "v1", "label", "u__a_2e_b", "values"],
            ),
            ("/label/%C3%A4/%FF", &["label", "ä", "\u{fffd}"]),
            ("/a%20b/100%25", &["a b", "100%"]),
            ("/...", &["..."]),
        ] {
            assert_eq!(segments(path).unwrap(), seen, "{path}");
        }
    }

    #[test]
    fn what_two_servers_see_differently_is_refused() {
        for (path, why) in [
            ("", "no slash"),
            ("*", "no slash"),
            ("api/v1/query", "no slash"),
            ("/x/../-/quit", "dots"),
            ("/./-/quit", "dots"),
            ("/..", "dots"),
            ("/x/%2e%2E/-/quit", "dots"),
            ("/x/.%2e/-/quit", "dots"),
            ("/api/v1/admin%2Ftsdb", "in disguise"),
            ("/-%5cquit", "in disguise"),
            ("/-\\quit", "in disguise"),
            ("/-/quit;x=1", "in disguise"),
            ("/-/quit%3Fx", "in disguise"),
            ("/-/quit%23", "in disguise"),
            ("/-/quit%00", "control"),
            ("/-/quit%0d%0a", "control"),
            ("/-/qu%69%7", "two hexadecimal digits"),
            ("/%", "two hexadecimal digits"),
            ("/%+2", "two hexadecimal digits"),
            ("/%252d/quit", "twice"),
            ("/%25zz%252d/quit", "twice"),
        ] {
            let Err(Refusal::BadPath(words)) = segments(path) else {
                panic!("{path}");
            };
            assert!(words.contains(why), "{path}: {words}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_seen_or_refused(path in ".*") {
            let _ = segments(&path);
        }

        /// However the bytes are written, what is seen is the same.
        #[test]
        fn an_escape_hides_nothing(word in "[a-z_0-9-]{1,12}", escaped in any::<u16>()) {
            let spelled: String = word.bytes().enumerate().map(|(n, byte)| {
                match escaped >> (n % 16) & 1 {
                    1 => format!("%{byte:02X}"),
                    _ => char::from(byte).to_string(),
                }
            }).collect();
            prop_assert_eq!(segments(&format!("//{spelled}/")).unwrap(), [word]);
        }
    }
}
