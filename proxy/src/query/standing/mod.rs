//! How a backend is: what is known of it, and what follows. No clocks, no sockets: events in, a
//! [`State`] out.

mod data;
mod peers;

use std::sync::Arc;

use tokio::time::Instant;

pub(crate) use self::data::Data;
pub(crate) use self::peers::Peers;

/// How far a backend may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// Nothing is known yet.
    Unknown,
    /// It reads its write-ahead log.
    Starting,
    /// It serves, and has not scraped everything since its start.
    Warming,
    /// It can be asked.
    Healthy,
    /// It answers, with old data or to some requests only.
    Degraded,
    /// It says that it stops.
    Stopping,
    /// It cannot be asked.
    Down,
}

/// Who is asked before whom, whatever a strategy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tier {
    /// Healthy, and not left alone.
    Good,
    /// Degraded, or left alone for a while after failures.
    Poor,
    /// Warming, or nothing is known yet.
    Raw,
    /// Not at all, unless there is nobody else.
    Out,
}

/// How a backend is.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) state: State,
    /// In this state.
    pub(crate) since: Instant,
    /// In words.
    pub(crate) why: Arc<str>,
    /// Of its write-ahead log's segments so many are read, of so many.
    pub(crate) replay: Option<(u64, u64)>,
    pub(crate) data: Data,
    /// It has failed too often, and is left alone until then.
    pub(crate) ejected_until: Option<Instant>,
}

impl Standing {
    /// Of a backend that has just been found.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            state: State::Unknown,
            since: now,
            why: "not probed yet".into(),
            replay: None,
            data: Data::default(),
            ejected_until: None,
        }
    }

    pub(crate) fn tier(&self, now: Instant) -> Tier {
        let ejected = self.ejected_until.is_some_and(|until| until > now);
        match self.state {
            State::Healthy if !ejected => Tier::Good,
            State::Healthy | State::Degraded => Tier::Poor,
            State::Warming | State::Unknown => Tier::Raw,
            State::Starting | State::Stopping | State::Down => Tier::Out,
        }
    }
}
