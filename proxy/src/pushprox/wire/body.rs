//! The body of the target's answer, taken out of the push piece by piece.
//!
//! What comes out is what the target meant, or an error before the end of it: a scraper may be
//! told that its scrape failed, and is never shown less or more than the target said. So bytes
//! behind the end of a body are an error too. The released client writes none, and where a length
//! and the data disagree nobody knows which of them is right.

use bytes::{Buf as _, Bytes};

/// Longest chunk size, in hex digits: what a `u64` holds.
const MAX_DIGITS: u8 = 16;
/// Longest extension of one chunk, in bytes.
const MAX_EXTENSION: u16 = 4096;
/// Longest section of trailers, in bytes.
const MAX_TRAILERS: u16 = 16 * 1024;
/// `0 CRLF CRLF`: no chunked body is shorter.
const LAST_CHUNK: u64 = 5;

/// How the end of a body is told (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    Empty,
    /// So many bytes.
    Length(u64),
    /// Chunks, the last of them empty.
    Chunked,
    /// All to the end of the push. Whether the target broke off nobody can tell.
    ToEnd,
}

/// Why a body is not the target's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// The target broke off, and the client pushed what it had.
    #[error("its body is cut short")]
    Truncated,
    /// Bytes behind the end.
    #[error("there is more behind its body")]
    Trailing,
    /// Against the grammar of chunks; where.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// A bound of ours; of what.
    #[error("{0} is too long")]
    TooLong(&'static str),
}

/// A body on its way out of a push.
#[derive(Debug)]
pub(crate) struct Body {
    state: State,
    /// What is still to come of the push, the bytes given to [`Self::next`] not counted; `None`
    /// when it has no length.
    to_come: Option<u64>,
    /// The last piece of a body that may prove too long.
    held: Option<Bytes>,
}

#[derive(Debug)]
enum State {
    Length(u64),
    ToEnd,
    Chunks { at: At, lines: u16 },
    Broken(BodyError),
}

/// Where in the chunks the next byte is.
#[derive(Debug, Clone, Copy)]
enum At {
    Size {
        size: u64,
        digits: u8,
    },
    /// Space between a size and what follows it.
    Padding(u64),
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

impl Body {
    /// A body framed so. `to_come` is what the push holds behind the head, by the push's own
    /// length: it has to be the length behind all that is given to [`Self::next`].
    ///
    /// # Errors
    /// When by that length the body cannot be whole, before a byte of it was passed on.
    pub(crate) fn new(framing: Framing, to_come: Option<u64>) -> Result<Self, BodyError> {
        let state = match framing {
            Framing::Empty => State::Length(0),
            Framing::Length(length) => State::Length(length),
            Framing::ToEnd => State::ToEnd,
            Framing::Chunked => State::Chunks {
                at: At::Size { size: 0, digits: 0 },
                lines: 0,
            },
        };
        match (&state, to_come) {
            (State::Length(length), Some(to_come)) if *length > to_come => {
                return Err(BodyError::Truncated);
            }
            (State::Length(length), Some(to_come)) if *length < to_come => {
                return Err(BodyError::Trailing);
            }
            (State::Chunks { .. }, Some(..LAST_CHUNK)) => return Err(BodyError::Truncated),
            _ => {}
        }
        Ok(Self {
            state,
            to_come,
            held: None,
        })
    }

    /// The next piece out of `input`, never empty; `None` when `input` is used up. An error is for
    /// good.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, BodyError> {
        let piece = self.piece(input);
        if let Err(error) = piece {
            self.state = State::Broken(error);
        }
        piece
    }

    fn piece(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, BodyError> {
        match &mut self.state {
            State::ToEnd => Ok(take(input, u64::MAX)),
            State::Length(left) => {
                let piece = take(input, *left);
                *left -= length(piece.as_ref());
                if !input.is_empty() {
                    return Err(BodyError::Trailing);
                }
                if *left == 0 && piece.is_some() && self.to_come.is_none() {
                    self.held = piece;
                    return Ok(None);
                }
                Ok(piece)
            }
            State::Chunks { at, lines } => chunks(at, lines, &mut self.to_come, input),
            State::Broken(error) => Err(*error),
        }
    }

    /// Says that the push has ended in good order, and gives the last piece when it had to wait
    /// for that: of a push without a length of its own, which might have held more. A scraper is
    /// told the end of its answer behind this and not before.
    ///
    /// # Errors
    /// When the body is not whole.
    pub(crate) fn finish(self) -> Result<Option<Bytes>, BodyError> {
        match self.state {
            State::Length(0) | State::ToEnd | State::Chunks { at: At::Done, .. } => Ok(self.held),
            State::Length(_) | State::Chunks { .. } => Err(BodyError::Truncated),
            State::Broken(error) => Err(error),
        }
    }
}

fn length(piece: Option<&Bytes>) -> u64 {
    piece.map_or(0, |piece| piece.len() as u64)
}

fn take(input: &mut Bytes, most: u64) -> Option<Bytes> {
    let n = usize::try_from(most).map_or(input.len(), |most| most.min(input.len()));
    (n > 0).then(|| input.split_to(n))
}

fn chunks(
    at: &mut At,
    lines: &mut u16,
    to_come: &mut Option<u64>,
    input: &mut Bytes,
) -> Result<Option<Bytes>, BodyError> {
    loop {
        if let At::Data(left) = at {
            let piece = take(input, *left);
            let taken = length(piece.as_ref());
            spend(to_come, taken)?;
            *left -= taken;
            if *left == 0 {
                *at = At::DataCr;
            }
            return Ok(piece);
        }
        let Some(byte) = input.first().copied() else {
            return Ok(None);
        };
        input.advance(1);
        spend(to_come, 1)?;
        *at = at.step(byte, lines)?;
        if let (At::Data(size), Some(to_come)) = (&at, &to_come)
            && size.saturating_add(2 + LAST_CHUNK) > *to_come
        {
            return Err(BodyError::Truncated);
        }
    }
}

/// A push that is longer than it said is not to be believed in either.
fn spend(to_come: &mut Option<u64>, taken: u64) -> Result<(), BodyError> {
    if let Some(to_come) = to_come {
        *to_come = to_come.checked_sub(taken).ok_or(BodyError::Trailing)?;
    }
    Ok(())
}

impl At {
    /// Reads one byte that is no data. `lines` counts what a bound is for: the extension of this
    /// chunk, or all trailers.
    fn step(self, byte: u8, lines: &mut u16) -> Result<Self, BodyError> {
        Ok(match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == MAX_DIGITS {
                    return Err(BodyError::TooLong("a chunk size"));
                }
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                Self::Size {
                    // Sixteen digits fit.
                    size: size << 4 | digit,
                    digits: digits + 1,
                }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(BodyError::Malformed("a chunk size")),
            (Self::Size { size, .. } | Self::Padding(size), b' ' | b'\t') => {
                count(lines, MAX_EXTENSION, "a chunk extension")?;
                Self::Padding(size)
            }
            (Self::Size { size, .. } | Self::Padding(size), b';') => Self::Extension(size),
            (Self::Size { size, .. } | Self::Padding(size) | Self::Extension(size), b'\r') => {
                *lines = 0;
                Self::SizeLf(size)
            }
            (Self::Size { .. } | Self::Padding(_), _) => {
                return Err(BodyError::Malformed("a chunk size"));
            }
            (Self::Extension(_), b'\n' | 0) => {
                return Err(BodyError::Malformed("a chunk extension"));
            }
            (Self::Extension(_), _) => {
                count(lines, MAX_EXTENSION, "a chunk extension")?;
                self
            }
            (Self::SizeLf(0), b'\n') => Self::TrailerStart,
            (Self::SizeLf(size), b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::SizeLf(_) | Self::DataCr | Self::DataLf, _) => {
                return Err(BodyError::Malformed("the end of a chunk"));
            }
            (Self::TrailerStart, b'\r') => Self::EndLf,
            (Self::Trailer, b'\r') => Self::TrailerLf,
            (Self::TrailerLf, b'\n') => Self::TrailerStart,
            (Self::EndLf, b'\n') => Self::Done,
            (Self::TrailerStart | Self::Trailer, byte) if byte != b'\n' && byte != 0 => {
                count(lines, MAX_TRAILERS, "the section of trailers")?;
                Self::Trailer
            }
            (Self::TrailerStart | Self::Trailer | Self::TrailerLf | Self::EndLf, _) => {
                return Err(BodyError::Malformed("a trailer"));
            }
            // Data is taken before this is asked.
            (Self::Data(_), _) | (Self::Done, _) => return Err(BodyError::Trailing),
        })
    }
}

fn count(lines: &mut u16, most: u16, what: &'static str) -> Result<(), BodyError> {
    *lines += 1;
    if *lines > most {
        return Err(BodyError::TooLong(what));
    }
    Ok(())
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
