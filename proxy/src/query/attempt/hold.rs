//! Holding the beginning of an answer's body, so that another backend can be asked if it breaks.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, SizeHint};

use crate::query::asked::{Held, Memory};
use crate::query::backend::{BackendBody, Failure};

/// Pieces smaller than this are put together: each costs more than its bytes.
const SMALL: usize = 4 << 10;
/// Up to so many bytes of them.
const TOGETHER: usize = 32 << 10;

/// A body, a part of which may be here already.
#[derive(Debug)]
pub(super) struct Holding {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Nothing, when all of it is here.
    rest: Option<BackendBody>,
    /// There was no room for more.
    full: bool,
}

/// Some bytes, and the room they take until they are passed on.
#[derive(Debug)]
struct Piece {
    data: Data,
    held: Option<Held>,
}

#[derive(Debug)]
enum Data {
    Whole(Bytes),
    /// Small ones, put together.
    Growing(BytesMut),
    /// What came behind the last byte.
    Trailers(http::HeaderMap),
}

impl Holding {
    /// With nothing held yet.
    pub(super) fn new(body: BackendBody) -> Self {
        Self {
            rest: (!body.is_end_stream()).then_some(body),
            pieces: VecDeque::new(),
            bytes: 0,
            full: false,
        }
    }

    /// Takes in what comes until there are `most` bytes, or all of it, or no room. Nothing is lost when
    /// the future is dropped.
    ///
    /// # Errors
    /// The body broke off.
    pub(super) async fn fill(&mut self, most: usize, memory: &Memory) -> Result<(), Failure> {
        while let Some(rest) = &mut self.rest
            && self.bytes < most
            && !self.full
        {
            let frame = rest.frame().await.transpose()?;
            // A body of known length has no more to say after its last byte.
            if frame.is_none() || rest.is_end_stream() {
                self.rest = None;
            }
            if let Some(frame) = frame {
                self.push(frame, memory);
            }
        }
        Ok(())
    }

    /// All of it is here.
    pub(super) fn is_whole(&self) -> bool {
        self.rest.is_none()
    }

    /// A copy of what is here.
    pub(super) fn copy(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(self.bytes);
        for piece in &self.pieces {
            copy.extend_from_slice(piece.data.bytes());
        }
        copy
    }

    /// The next that is here, whose room is given back.
    pub(super) fn pop(&mut self) -> Option<Frame<Bytes>> {
        let piece = self.pieces.pop_front()?;
        self.bytes -= piece.data.bytes().len();
        Some(match piece.data {
            Data::Whole(bytes) => Frame::data(bytes),
            Data::Growing(bytes) => Frame::data(bytes.freeze()),
            Data::Trailers(trailers) => Frame::trailers(trailers),
        })
    }

    /// Nothing is here.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// What follows what is here.
    pub(super) fn rest(&mut self) -> &mut Option<BackendBody> {
        &mut self.rest
    }

    /// How much is to come in all.
    pub(super) fn size_hint(&self) -> SizeHint {
        let here = self.bytes as u64;
        let rest = self.rest.as_ref();
        let rest = rest.map_or_else(|| SizeHint::with_exact(0), hyper::body::Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(here + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(here + upper);
        }
        hint
    }

    fn push(&mut self, frame: Frame<Bytes>, memory: &Memory) {
        let bytes = match frame.into_data() {
            Ok(bytes) => bytes,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.add(Data::Trailers(trailers), None);
                }
                return;
            }
        };
        self.bytes += bytes.len();
        if let Some(last) = self.pieces.back_mut()
            && last.take(&bytes)
        {
            return;
        }
        let held = memory.take(bytes.len());
        self.full = held.is_none();
        let data = match bytes.len() < SMALL {
            true => Data::Growing(BytesMut::from(&bytes[..])),
            false => Data::Whole(bytes),
        };
        self.add(data, held);
    }

    fn add(&mut self, data: Data, held: Option<Held>) {
        self.pieces.push_back(Piece { data, held });
    }
}

impl Piece {
    /// Takes a small piece in, if it is a collection of such and there is room.
    fn take(&mut self, bytes: &Bytes) -> bool {
        let (Data::Growing(together), Some(held)) = (&mut self.data, &mut self.held) else {
            return false;
        };
        let fits = bytes.len() < SMALL && together.len() < TOGETHER && held.grow(bytes.len());
        if fits {
            together.extend_from_slice(bytes);
        }
        fits
    }
}

impl Data {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Growing(bytes) => bytes,
            Self::Trailers(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{Full, StreamBody};
    use prometheus::IntGauge;

    use super::*;

    fn memory(most: usize) -> (Memory, IntGauge) {
        let gauge = IntGauge::new("held", "Bytes.").unwrap();
        (Memory::new(most, gauge.clone()), gauge)
    }

    fn pieces(sizes: Vec<usize>, end: Option<Failure>) -> BackendBody {
        let mut sent = 0;
        let data = sizes.into_iter().map(move |size| {
            let bytes: Vec<u8> = (sent..sent + size).map(|n| n as u8).collect();
            sent += size;
            Ok(Frame::data(Bytes::from(bytes)))
        });
        let end = end.into_iter().map(Err);
        StreamBody::new(stream::iter(data.chain(end))).boxed()
    }

    fn counted(size: usize) -> Vec<u8> {
        (0..size).map(|n| n as u8).collect()
    }

    /// All of it, what is here and what follows.
    async fn drain(holding: &mut Holding) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(frame) = holding.pop() {
            all.extend_from_slice(frame.data_ref().unwrap());
        }
        if let Some(rest) = holding.rest().take() {
            all.extend_from_slice(&rest.collect().await.unwrap().to_bytes());
        }
        all
    }

    #[tokio::test]
    async fn it_is_held_up_to_a_bound_or_its_end_and_given_back_as_it_goes() {
        let (memory, gauge) = memory(1 << 20);
        for (sizes, held, whole) in [
            (vec![100, 0, 5000, 1], 5101, true),
            (vec![6000, 6000, 6000], 12_000, false),
            (vec![1; 20_000], 10_000, false),
            (vec![], 0, true),
        ] {
            let size = sizes.iter().sum();
            let mut holding = Holding::new(pieces(sizes, None));
            holding.fill(10_000, &memory).await.unwrap();
            assert_eq!(holding.is_whole(), whole);
            assert_eq!(holding.copy(), counted(held));
            assert_eq!(gauge.get(), i64::try_from(held).unwrap());
            assert!(holding.pieces.len() <= 4, "small pieces are put together");
            assert_eq!(drain(&mut holding).await, counted(size));
            assert_eq!(gauge.get(), 0);
        }
    }

    #[tokio::test]
    async fn without_room_it_is_not_held_and_not_lost() {
        for sizes in [vec![5000; 10], vec![1000; 50]] {
            let (memory, gauge) = memory(12_000);
            let mut holding = Holding::new(pieces(sizes, None));
            holding.fill(50_000, &memory).await.unwrap();
            assert!(!holding.is_whole());
            assert!(gauge.get() <= 12_000);
            assert!(holding.bytes <= 17_000, "{}", holding.bytes);
            assert_eq!(drain(&mut holding).await, counted(50_000));
            assert_eq!(gauge.get(), 0);
        }
    }

    #[tokio::test]
    async fn a_break_is_seen_while_it_is_held() {
        let (memory, gauge) = memory(1 << 20);
        let broken = Failure::Truncated("cut".to_owned());
        let mut holding = Holding::new(pieces(vec![5000], Some(broken.clone())));
        assert_eq!(holding.fill(10_000, &memory).await, Err(broken));
        drop(holding);
        assert_eq!(gauge.get(), 0);
    }

    #[tokio::test]
    async fn a_known_length_stays_known_and_its_end_is_not_waited_for() {
        let (memory, _) = memory(1 << 20);
        let body = Full::from(vec![0; 7000]).map_err(|never| match never {});
        let mut holding = Holding::new(body.boxed());
        assert_eq!(holding.size_hint().exact(), Some(7000));
        holding.fill(10_000, &memory).await.unwrap();
        assert!(holding.is_whole());
        assert_eq!(holding.size_hint().exact(), Some(7000));
    }
}
