//! What a target does with one request.

use std::time::Duration;

use super::play::Request;
use crate::soak::chance::Chance;

/// Smallest and largest body. What is checked byte by byte takes its time where nothing is
/// optimised.
const SIZES: std::ops::Range<usize> = match cfg!(debug_assertions) {
    true => 100..200_000,
    false => 100..2_000_000,
};

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length,
    Chunks,
    UntilClose,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Fin,
    Rst,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mishap {
    Nothing,
    /// So long before the head.
    Late(Duration),
    /// So long for the body.
    Slow(Duration),
    /// No head ever.
    Mute,
    /// No end ever, behind this part of the body.
    Stuck(f64),
    /// Cut behind this part of it.
    Cut(f64, End),
    /// The end instead of an answer.
    Shut(End),
    /// The head, and nothing of the body that it promises.
    HeadOnly(End),
    /// Another status, in good order.
    Status(u16),
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Deed {
    pub(super) framing: Framing,
    pub(super) gzip: bool,
    /// Of the body, before it is compressed.
    pub(super) size: usize,
    /// The connection ends behind a whole answer.
    pub(super) close: bool,
    pub(super) mishap: Mishap,
}

#[derive(Clone, Copy)]
enum Kind {
    Nothing,
    Late,
    Slow,
    Mute,
    Stuck,
    Cut,
    Shut,
    HeadOnly,
    Status,
}

const KINDS: [(u32, Kind); 9] = [
    (62, Kind::Nothing),
    (6, Kind::Late),
    (8, Kind::Slow),
    (3, Kind::Mute),
    (3, Kind::Stuck),
    (7, Kind::Cut),
    (4, Kind::Shut),
    (3, Kind::HeadOnly),
    (5, Kind::Status),
];

/// Among them those that a proxy gives too, and those without a body.
const STATUSES: [u16; 12] = [204, 299, 301, 304, 403, 404, 418, 429, 500, 502, 503, 504];

impl Deed {
    pub(super) fn draw(
        chance: &mut Chance,
        request: &Request,
        for_pushprox: bool,
        well_behaved: bool,
    ) -> Self {
        let framings: &[Framing] = match for_pushprox {
            true => &[Framing::Length, Framing::Chunks],
            false => &[Framing::Length, Framing::Chunks, Framing::UntilClose],
        };
        let framing = *chance.pick(framings);
        let kind = chance.weighed(&KINDS);
        let end = match framing {
            // Nobody could tell.
            Framing::UntilClose => End::Rst,
            Framing::Length | Framing::Chunks => *chance.pick(&[End::Fin, End::Rst]),
        };
        let part = chance.number(0..1000) as f64 / 1000.0;
        let mishap = match kind {
            _ if well_behaved => Mishap::Nothing,
            // Behind the head nothing can go wrong any more: the connection is free for the next.
            Kind::Slow | Kind::Stuck | Kind::Cut | Kind::HeadOnly if request.method == "HEAD" => {
                Mishap::Nothing
            }
            Kind::Nothing => Mishap::Nothing,
            Kind::Late => Mishap::Late(chance.time(0.0..3.0)),
            Kind::Slow => Mishap::Slow(chance.time(0.0..4.0)),
            Kind::Mute => Mishap::Mute,
            Kind::Stuck => Mishap::Stuck(part),
            // More often than not at the very end, where a cut is easiest to miss.
            Kind::Cut => Mishap::Cut(if chance.often(0.4) { 1.0 } else { part }, end),
            Kind::Shut => Mishap::Shut(*chance.pick(&[End::Fin, End::Rst])),
            Kind::HeadOnly => Mishap::HeadOnly(end),
            Kind::Status => Mishap::Status(*chance.pick(&STATUSES)),
        };
        Self {
            framing,
            gzip: request.takes_gzip && chance.often(0.5),
            size: chance.size(SIZES),
            close: chance.often(0.2),
            mishap,
        }
    }

    /// The answer comes whole and at once.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.mishap, Mishap::Nothing | Mishap::Status(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(for_pushprox: bool, well_behaved: bool) -> Vec<Deed> {
        let mut chance = Chance::new(1, "deeds");
        let request = Request {
            number: 1,
            method: "GET".into(),
            takes_gzip: true,
        };
        let draw = || Deed::draw(&mut chance, &request, for_pushprox, well_behaved);
        std::iter::repeat_with(draw).take(5000).collect()
    }

    #[test]
    fn a_body_that_ends_with_its_connection_is_never_cut_by_a_fin() {
        let until_close = |deed: &&Deed| deed.framing == Framing::UntilClose;
        for deed in draws(false, false).iter().filter(until_close) {
            let fin = matches!(
                deed.mishap,
                Mishap::Cut(_, End::Fin) | Mishap::HeadOnly(End::Fin)
            );
            assert!(!fin, "{deed:?}");
        }
        assert_eq!(draws(true, false).iter().filter(until_close).count(), 0);
        assert!(draws(false, false).iter().any(|deed| !deed.is_plain()));
        assert!(draws(false, true).iter().all(Deed::is_plain));
    }
}
