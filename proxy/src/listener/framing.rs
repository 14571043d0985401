//! Whether a head says in two ways where its body ends.
//!
//! A length beside a transfer coding is how requests are smuggled (RFC 9112 §6.1 and §11.2). hyper goes
//! by the coding, drops the length before anybody sees it, and ends the connection: safe, and silent.
//! So the bytes are looked at as they come. A head that was sent before the last answer is not: of that
//! what hyper does is all.

/// Looks at one head.
#[derive(Debug, Default)]
pub(super) struct Framing {
    /// How much of the line was read, and up to its colon what.
    name: Vec<u8>,
    in_value: bool,
    has_length: bool,
    has_coding: bool,
    /// Empty lines before a request are none of it (RFC 9112 §2.2).
    has_begun: bool,
    is_over: bool,
}

const LENGTH: &[u8] = b"content-length";
const CODING: &[u8] = b"transfer-encoding";

impl Framing {
    /// Takes what came next; says whether both were found by now.
    pub(super) fn is_ambiguous(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if self.is_over {
                break;
            }
            match byte {
                b'\n' => {
                    self.is_over = self.has_begun && self.name.is_empty() && !self.in_value;
                    self.name.clear();
                    self.in_value = false;
                }
                b'\r' | b' ' | b'\t' => {}
                b':' if !self.in_value => {
                    self.in_value = true;
                    self.has_length |= self.name == LENGTH;
                    self.has_coding |= self.name == CODING;
                }
                // One more than any name of interest: it is another.
                byte if !self.in_value && self.name.len() <= CODING.len() => {
                    self.has_begun = true;
                    self.name.push(byte.to_ascii_lowercase());
                }
                _ => {}
            }
        }
        self.has_length && self.has_coding
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: &str =
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn two_framings_are_found_in_either_order_and_case() {
        for head in [
            BOTH,
            "\r\n\r\nPOST http://a:1/b HTTP/1.1\ntransfer-encoding:chunked\nCONTENT-LENGTH :4\n\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: x\r\nA: b\r\nContent-Length: 0\r\n",
        ] {
            assert!(Framing::default().is_ambiguous(head.as_bytes()), "{head}");
        }
        for head in [
            "GET / HTTP/1.1\r\nHost: content-length:\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nX-Transfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encodings: chunked\r\n\r\n",
            // A body is no head.
            "POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert!(!Framing::default().is_ambiguous(head.as_bytes()), "{head}");
        }
    }

    proptest! {
        #[test]
        fn in_whatever_pieces_they_come(cuts in proptest::collection::vec(0..BOTH.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, BOTH.len()]);
            cuts.sort_unstable();
            let mut framing = Framing::default();
            let mut found = false;
            for pair in cuts.windows(2) {
                found = framing.is_ambiguous(&BOTH.as_bytes()[pair[0]..pair[1]]);
            }
            prop_assert!(found);
        }

        #[test]
        fn nothing_is_held_but_a_name(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let mut framing = Framing::default();
            framing.is_ambiguous(&bytes);
            prop_assert!(framing.name.len() <= CODING.len() + 1);
        }
    }
}
