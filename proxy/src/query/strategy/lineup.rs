//! What a strategy gives: everybody in a row.

use super::Candidate;

/// Places in the candidates, best first.
#[derive(Debug)]
pub(super) struct Lineup {
    pub(super) indices: Vec<usize>,
    /// So many at the front are as good as each other.
    pub(super) equals: usize,
    /// Why the first is the first.
    pub(super) reason: &'static str,
}

impl Lineup {
    /// Of a row in which those of one rank stand together.
    pub(super) fn by_rank(
        indices: Vec<usize>,
        candidates: &[Candidate],
        reason: &'static str,
    ) -> Self {
        let equals = of_first_rank(&indices, candidates);
        Self {
            indices,
            equals,
            reason,
        }
    }

    /// Brings those to the front who are like the first. The others stay in their order.
    pub(super) fn gathered(
        row: Vec<usize>,
        like_first: impl Fn(usize, usize) -> bool,
        reason: &'static str,
    ) -> Self {
        let first = row.first().copied();
        let (mut indices, others): (Vec<usize>, Vec<usize>) = row
            .into_iter()
            .partition(|i| first.is_some_and(|first| *i == first || like_first(first, *i)));
        let equals = indices.len();
        indices.extend(others);
        Self {
            indices,
            equals,
            reason,
        }
    }
}

/// How many at the front of the row have the rank of the first.
pub(super) fn of_first_rank(row: &[usize], candidates: &[Candidate]) -> usize {
    let Some(first) = row.first() else {
        return 0;
    };
    let rank = candidates[*first].rank();
    row.iter()
        .take_while(|i| candidates[**i].rank() == rank)
        .count()
}

/// Moves the one at this place to the front.
pub(super) fn bring_forward(row: &mut [usize], place: usize) {
    if let Some(part) = row.get_mut(..=place) {
        part.rotate_right(1);
    }
}
