//! Frames of HTTP/2 (RFC 9113 §6) with fields of HPACK (RFC 7541 §6.2.2), right in their form only.

/// Something to say in a stream.
#[derive(Debug, Clone)]
pub enum Say {
    /// A head, or trailers behind a body, and whether they are the last.
    Head(Vec<(Vec<u8>, Vec<u8>)>, bool),
    /// A piece of body, and whether it is the last.
    Data(Vec<u8>, bool),
    /// The same thing so many times.
    Times(usize, Box<Self>),
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// As long as a peer has not allowed more (RFC 9113 §4.2).
const MAX_FRAME: usize = 16_384;

impl Say {
    /// The head of a good answer.
    pub fn ok() -> Self {
        Self::head(&[(":status", "200")])
    }

    /// A head that something follows.
    pub fn head(fields: &[(&str, &str)]) -> Self {
        Self::Head(owned(fields), false)
    }

    /// A head, or trailers, and nothing behind.
    pub fn end_with(fields: &[(&str, &str)]) -> Self {
        Self::Head(owned(fields), true)
    }

    /// A piece that something follows.
    pub fn data(text: &str) -> Self {
        Self::Data(text.as_bytes().to_vec(), false)
    }

    /// The last piece.
    pub fn last(text: &str) -> Self {
        Self::Data(text.as_bytes().to_vec(), true)
    }

    /// Itself, so many times.
    pub fn times(self, count: usize) -> Self {
        Self::Times(count, Box::new(self))
    }
}

fn owned(fields: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let bytes = |text: &str| text.as_bytes().to_vec();
    fields.iter().map(|(n, v)| (bytes(n), bytes(v))).collect()
}

/// All of it, in this stream.
pub(super) fn all(id: u32, says: &[Say]) -> Vec<u8> {
    says.iter().flat_map(|say| bytes(id, say)).collect()
}

fn bytes(id: u32, say: &Say) -> Vec<u8> {
    match say {
        Say::Data(data, last) => frame(DATA, u8::from(*last), id, data),
        Say::Times(count, say) => bytes(id, say).repeat(*count),
        Say::Head(fields, last) => {
            let block: Vec<u8> = fields.iter().flat_map(|(n, v)| literal(n, v)).collect();
            let pieces: Vec<&[u8]> = match block.is_empty() {
                true => vec![&[]],
                false => block.chunks(MAX_FRAME).collect(),
            };
            let end = pieces.len() - 1;
            let piece = |(at, piece): (usize, &&[u8])| {
                let kind = if at == 0 { HEADERS } else { CONTINUATION };
                let stream = if at == 0 && *last { END_STREAM } else { 0 };
                let headers = if at == end { END_HEADERS } else { 0 };
                frame(kind, stream | headers, id, piece)
            };
            pieces.iter().enumerate().flat_map(piece).collect()
        }
    }
}

/// One frame, of at most 2^24 bytes.
pub(super) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A field that is in no table and enters none.
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        field.extend(length(text.len()));
        field.extend(text);
    }
    field
}

/// A number behind a bit that says "no Huffman" (RFC 7541 §5.1).
fn length(mut n: usize) -> Vec<u8> {
    const PREFIX: usize = 127;
    if n < PREFIX {
        return vec![low(n)];
    }
    let mut bytes = vec![low(PREFIX)];
    n -= PREFIX;
    while n >= 128 {
        bytes.push(low(n % 128) | 0x80);
        n /= 128;
    }
    bytes.push(low(n));
    bytes
}

fn low(n: usize) -> u8 {
    u8::try_from(n & 0xff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_standard() {
        // RFC 7541 §C.1.2 has 1337 behind five bits; behind seven its rest is 1210.
        assert_eq!(length(10), [10]);
        assert_eq!(length(127), [127, 0]);
        assert_eq!(length(1337), [127, 0b1011_1010, 0b1001]);
    }

    #[test]
    fn a_long_head_goes_on_in_a_further_frame() {
        let value = "x".repeat(MAX_FRAME);
        let frames = bytes(5, &Say::end_with(&[("a", &value)]));
        assert_eq!(frames[3..5], [HEADERS, END_STREAM]);
        let next = 9 + MAX_FRAME;
        assert_eq!(frames[next + 3..next + 5], [CONTINUATION, END_HEADERS]);
    }
}
