//! Which backend is best, and which is next: always a whole order.
//!
//! What comes first is the same for all of them: how a backend is, by its [`Tier`], and then its priority.
//! Among those that are alike a strategy chooses:
//!
//! * [`most_data`] has one first for everybody, who has most. [`amount`] says what is more, and what is only
//!   noise; [`contest`] for how long somebody has to have more. [`min_history`] is the same among those
//!   that go back far enough.
//! * [`first_available`] has one, too: the first as written.
//! * [`random`], [`round_robin`], [`least_loaded`] and [`consistent_hash`] choose for each request.
//!
//! Backends come and go between two calls: what is remembered of them is remembered by name, and
//! forgotten with the last candidate of that name. No clocks and no sockets: times come in.

mod lineup;
mod amount;
mod contest;

mod most_data;
mod min_history;
mod first_available;
mod random;
mod round_robin;
mod least_loaded;
mod consistent_hash;

#[cfg(test)]
pub(super) mod lab;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::consistent_hash::distance;

use self::consistent_hash::ConsistentHash;
use self::first_available::FirstAvailable;
use self::least_loaded::LeastLoaded;
use self::lineup::{Lineup, bring_forward};
use self::min_history::MinHistory;
use self::most_data::MostData;
use self::random::Random;
use self::round_robin::RoundRobin;
use super::asked::Asked;
use super::standing::{Data, Tier};
use crate::config::query::Strategy;

/// A backend, as strategies see it.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) name: Arc<str>,
    pub(crate) tier: Tier,
    pub(crate) priority: u32,
    pub(crate) weight: u32,
    pub(crate) data: Data,
    pub(crate) under_way: usize,
    pub(crate) latency: Option<Duration>,
}

impl Candidate {
    /// Who is asked before whom, whatever a strategy says.
    fn rank(&self) -> (Tier, u32) {
        (self.tier, self.priority)
    }
}

/// Whom to ask, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// Best first: places in the candidates.
    pub(crate) indices: Vec<usize>,
    /// So many at the front are as good as each other: the first of them may as well be another.
    pub(crate) equals: usize,
    /// The first is the first for everybody, until [`Chooser::check`] says otherwise.
    pub(crate) settled: bool,
    /// Nobody can be asked, so everybody is.
    pub(crate) panic: bool,
    /// Why the first is the first.
    pub(crate) reason: &'static str,
}

impl Order {
    /// Moves one of the equals to the front. Whoever is none of them stays where it is, and in a panic
    /// there are no equals: says whether it is the first now.
    pub(crate) fn prefer(&mut self, candidate: usize, reason: &'static str) -> bool {
        let place = self.alike().iter().position(|i| *i == candidate);
        if let Some(place) = place {
            bring_forward(&mut self.indices, place);
            self.reason = reason;
        }
        place.is_some()
    }

    /// Those at the front that are as good as each other.
    pub(crate) fn alike(&self) -> &[usize] {
        let equals = if self.panic { 0 } else { self.equals };
        self.indices.get(..equals).unwrap_or_default()
    }
}

/// Another one is the first from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) from: Option<Arc<str>>,
    pub(crate) to: Option<Arc<str>>,
    /// For metrics.
    pub(crate) reason: &'static str,
}

/// What a strategy makes of one backend, for people.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Score {
    /// What is compared, if it can be said in one number.
    pub(crate) value: Option<f64>,
    /// The same in words, with whatever else counts.
    pub(crate) words: String,
    /// Whether it has what the strategy demands.
    pub(crate) eligible: bool,
}

/// When a pool is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// The selection interval is over.
    Interval,
    /// Somebody's tier has changed, or somebody has come or gone. Such looks are no checks that a better
    /// one has to pass.
    Event,
}

/// What one pool's strategy remembers.
#[derive(Debug)]
pub(crate) struct Chooser(Way);

#[derive(Debug)]
enum Way {
    MostData(MostData),
    MinHistory(MinHistory),
    FirstAvailable(FirstAvailable),
    Random(Random),
    RoundRobin(RoundRobin),
    LeastLoaded(LeastLoaded),
    ConsistentHash(ConsistentHash),
}

impl Chooser {
    pub(crate) fn new(strategy: &Strategy) -> Self {
        Self::with(strategy, fastrand::Rng::new())
    }

    fn with(strategy: &Strategy, rng: fastrand::Rng) -> Self {
        Self(match strategy {
            Strategy::MostData(most) => Way::MostData(MostData::new(most)),
            Strategy::MinHistory(least, most) => Way::MinHistory(MinHistory::new(*least, most)),
            Strategy::FirstAvailable { fail_back } => {
                Way::FirstAvailable(FirstAvailable::new(*fail_back))
            }
            Strategy::Random => Way::Random(Random::new(rng)),
            Strategy::RoundRobin => Way::RoundRobin(RoundRobin::default()),
            Strategy::LeastLoaded => Way::LeastLoaded(LeastLoaded::new(rng)),
            Strategy::ConsistentHash => Way::ConsistentHash(ConsistentHash::new(rng)),
        })
    }

    /// Looks at all of them, and says whether another one is the first from now on. To be called at each
    /// selection interval, and at once when a tier changes or somebody comes or goes.
    pub(crate) fn check(
        &self,
        candidates: &[Candidate],
        occasion: Occasion,
        now: Instant,
    ) -> Option<Change> {
        match &self.0 {
            Way::MostData(way) => way.check(None, candidates, occasion, now),
            Way::MinHistory(way) => way.check(candidates, occasion, now),
            Way::FirstAvailable(way) => way.check(candidates, now),
            Way::Random(_) | Way::RoundRobin(_) | Way::LeastLoaded(_) | Way::ConsistentHash(_) => {
                None
            }
        }
    }

    /// The order for one request. Those of [`Tier::Out`] are not in it, unless there is nobody else.
    /// What is asked is for strategies to come, which look at its times; `key` is what the caller has in
    /// common with others who are to see the same backend.
    pub(crate) fn order(
        &self,
        _asked: &Asked,
        key: Option<&[u8]>,
        candidates: &[Candidate],
        now: Instant,
    ) -> Order {
        self.arrange(key, candidates, now)
    }

    /// The order that the next request would have, which is not one: nobody's turn is over by it.
    pub(crate) fn preview(
        &self,
        _asked: &Asked,
        key: Option<&[u8]>,
        candidates: &[Candidate],
        now: Instant,
    ) -> Order {
        match &self.0 {
            Way::RoundRobin(way) => Self(Way::RoundRobin(way.copy())).arrange(key, candidates, now),
            _ => self.arrange(key, candidates, now),
        }
    }

    fn arrange(&self, key: Option<&[u8]>, candidates: &[Candidate], now: Instant) -> Order {
        let mut may: Vec<usize> = (0..candidates.len())
            .filter(|i| candidates[*i].tier != Tier::Out)
            .collect();
        let panic = may.is_empty() && !candidates.is_empty();
        if panic {
            may = (0..candidates.len()).collect();
        }
        let lineup = match &self.0 {
            Way::MostData(way) => way.lineup(None, may, candidates),
            Way::MinHistory(way) => way.lineup(may, candidates),
            Way::FirstAvailable(way) => way.lineup(may, candidates, now),
            Way::Random(way) => way.lineup(may, candidates),
            Way::RoundRobin(way) => way.lineup(may, candidates),
            Way::LeastLoaded(way) => way.lineup(may, candidates),
            Way::ConsistentHash(way) => way.lineup(may, candidates, key),
        };
        let Lineup {
            indices,
            equals,
            reason,
        } = lineup;
        Order {
            indices,
            equals,
            settled: self.settles(),
            panic,
            reason: if panic { "panic" } else { reason },
        }
    }

    /// Whether it has one first for everybody.
    fn settles(&self) -> bool {
        matches!(
            self.0,
            Way::MostData(_) | Way::MinHistory(_) | Way::FirstAvailable(_)
        )
    }

    /// For people: what was compared, in the order of the candidates.
    pub(crate) fn scores(&self, candidates: &[Candidate], now: Instant) -> Vec<Score> {
        match &self.0 {
            Way::MostData(way) => way.scores(None, candidates),
            Way::MinHistory(way) => way.scores(candidates),
            Way::FirstAvailable(way) => way.scores(candidates, now),
            Way::LeastLoaded(_) => least_loaded::scores(candidates),
            Way::Random(_) | Way::RoundRobin(_) | Way::ConsistentHash(_) => {
                candidates.iter().map(Score::of_weight).collect()
            }
        }
    }

    /// Who is first for everybody, if the strategy has one.
    pub(crate) fn primary(&self) -> Option<Arc<str>> {
        match &self.0 {
            Way::MostData(way) => way.primary(),
            Way::MinHistory(way) => way.primary(),
            Way::FirstAvailable(way) => way.primary(),
            Way::Random(_) | Way::RoundRobin(_) | Way::LeastLoaded(_) | Way::ConsistentHash(_) => {
                None
            }
        }
    }
}

impl Score {
    fn of_weight(candidate: &Candidate) -> Self {
        Self {
            value: None,
            words: format!("weight {}", candidate.weight),
            eligible: true,
        }
    }
}
