//! Where a body ends (RFC 9112 §6), without mercy: what Prometheus would call short is cut.

use bytes::{Buf as _, Bytes, BytesMut};

use super::answer::Head;

/// What is still to come of a body.
#[derive(Debug)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunks(Chunk),
    /// All until the connection ends.
    UntilClose,
}

/// Where in the chunking the next byte is.
#[derive(Debug)]
pub(super) enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

impl Framing {
    pub(super) fn of(head: &Head) -> Result<Self, String> {
        if matches!(head.status, 204 | 304) || (100..200).contains(&head.status) {
            return Ok(Self::Length(0));
        }
        let length = head.field("content-length");
        let encoding = head.field("transfer-encoding");
        match (encoding.as_deref(), length) {
            (Some("chunked"), None) => Ok(Self::Chunks(Chunk::Size)),
            (None, Some(length)) => {
                let length = length
                    .parse()
                    .map_err(|_| format!("content-length {length:?}"))?;
                Ok(Self::Length(length))
            }
            (None, None) => Ok(Self::UntilClose),
            (encoding, length) => Err(format!("framed by {encoding:?} and {length:?}")),
        }
    }

    /// The next piece of the body; `None` when the buffer has to be fuller, or at the end.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, String> {
        match self {
            Self::Length(left) => Ok(take(buffer, left)),
            Self::UntilClose => Ok((!buffer.is_empty()).then(|| buffer.split().freeze())),
            Self::Chunks(chunk) => chunk.next(buffer),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunks(Chunk::Done))
    }

    pub(super) fn ends_with_the_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }
}

impl Chunk {
    fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, String> {
        loop {
            match self {
                Self::Data(0) => *self = Self::DataEnd,
                Self::Data(left) => return Ok(take(buffer, left)),
                Self::Done => return Ok(None),
                Self::Size | Self::DataEnd | Self::Trailers => {
                    let Some(line) = line(buffer)? else {
                        return Ok(None);
                    };
                    self.advance(&line)?;
                }
            }
        }
    }

    fn advance(&mut self, line: &str) -> Result<(), String> {
        *self = match self {
            Self::Size => {
                let size = line.split(';').next().unwrap_or("");
                match u64::from_str_radix(size, 16).map_err(|_| format!("chunk size {line:?}"))? {
                    0 => Self::Trailers,
                    size => Self::Data(size),
                }
            }
            Self::DataEnd if line.is_empty() => Self::Size,
            Self::DataEnd => return Err(format!("{line:?} behind a chunk")),
            Self::Trailers if line.is_empty() => Self::Done,
            Self::Trailers => return Ok(()),
            Self::Data(_) | Self::Done => return Err("no line is wanted here".into()),
        };
        Ok(())
    }
}

fn take(buffer: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    let n = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
    *left -= n as u64;
    (n > 0).then(|| buffer.split_to(n).freeze())
}

fn line(buffer: &mut BytesMut) -> Result<Option<String>, String> {
    let Some(end) = buffer.windows(2).position(|window| window == b"\r\n") else {
        return Ok(None);
    };
    let line = buffer.split_to(end);
    buffer.advance(2);
    match std::str::from_utf8(&line) {
        Ok(line) => Ok(Some(line.to_owned())),
        Err(_) => Err(format!("{line:?} in the chunking")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of `raw` after `head`, in pieces of one byte; and whether it is all there.
    fn read(head: &str, raw: &str) -> (String, bool) {
        let head = Head::parse(format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes());
        let mut framing = Framing::of(&head).unwrap();
        let (mut buffer, mut body) = (BytesMut::new(), String::new());
        for byte in raw.bytes() {
            buffer.extend_from_slice(&[byte]);
            while let Ok(Some(piece)) = framing.next(&mut buffer) {
                body.push_str(std::str::from_utf8(&piece).unwrap());
            }
        }
        (body, framing.is_done())
    }

    #[test]
    fn a_whole_body_is_told_from_a_cut_one() {
        let (length, chunks) = ("Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n");
        for (head, raw, body, whole) in [
            (length, "abcd", "abcd", true),
            (length, "abc", "abc", false),
            (chunks, "3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n", "abcd", true),
            (chunks, "3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n", "abc", true),
            (chunks, "3\r\nabc\r\n0\r\n", "abc", false),
            (chunks, "3\r\nabc\r\n", "abc", false),
            (chunks, "3\r\nab", "ab", false),
            (chunks, "3\r\nabcd\r\n0\r\n\r\n", "abc", false),
            ("", "abc", "abc", false),
        ] {
            assert_eq!(
                read(head, raw),
                (body.to_owned(), whole),
                "{head:?} {raw:?}"
            );
        }
    }
}
