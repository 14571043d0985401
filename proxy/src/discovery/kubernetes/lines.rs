//! Lines of a body that comes in pieces.

use bytes::{Buf as _, Bytes, BytesMut};

/// Longest line: an object of etcd's has at most 1.5 MiB, and those asked for are far below.
const LONGEST: usize = 1 << 20;

/// What has come and is not a whole line yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: BytesMut,
    /// Bytes of it without an end of line.
    searched: usize,
}

/// A line is longer than any we would read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of over {LONGEST} bytes")]
pub(super) struct TooLong;

impl Lines {
    /// The next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
    }

    /// The next whole line that is not empty, without its end.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        loop {
            let found = self.rest[self.searched..].iter().position(|b| *b == b'\n');
            let Some(found) = found else {
                self.searched = self.rest.len();
                return match self.searched {
                    ..=LONGEST => Ok(None),
                    _ => Err(TooLong),
                };
            };
            let line = self.rest.split_to(self.searched + found).freeze();
            self.rest.advance(1);
            self.searched = 0;
            if line.len() > LONGEST {
                return Err(TooLong);
            }
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn there_is_a_bound() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; LONGEST]);
        assert_eq!(lines.next(), Ok(None));
        lines.push(b"\nnext\n");
        assert_eq!(lines.next().unwrap().unwrap().len(), LONGEST);
        assert_eq!(lines.next().unwrap().unwrap(), "next");
        for rest in [&b""[..], b"\n"] {
            let mut lines = Lines::default();
            lines.push(&vec![b'x'; LONGEST + 1]);
            lines.push(rest);
            assert_eq!(lines.next(), Err(TooLong));
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            whole in proptest::collection::vec("[a-z{}\"]{1,9}", 0..20),
            cuts in proptest::collection::vec(1_usize..8, 1..60),
        ) {
            let text: String = whole.iter().map(|line| format!("{line}\n")).collect();
            let mut lines = Lines::default();
            let (mut rest, mut read) = (text.as_bytes(), Vec::new());
            for cut in cuts.iter().cycle() {
                let (piece, next) = rest.split_at((*cut).min(rest.len()));
                lines.push(piece);
                while let Some(line) = lines.next().unwrap() {
                    read.push(String::from_utf8(line.to_vec()).unwrap());
                }
                rest = next;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(read, whole);
        }
    }
}
