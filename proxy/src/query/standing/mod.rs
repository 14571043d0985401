//! How a backend is: what is known of it, and what follows. No clocks, no sockets: events in, a
//! [`State`] out.
//!
//! 1. [`probed`] is what probes find. One that is lost changes nothing, `fall` of them in a row do.
//! 2. [`warmth`] is whether a server that serves has been there for long enough.
//! 3. [`ejection`] is what requests find between two probes.
//!
//! [`data`] is what it says of its data, [`peers`] what it has to know of the others of its pool.

mod data;
mod peers;

mod ejection;
mod probed;
mod warmth;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::data::{Data, Facts};
pub(crate) use self::peers::{Member, Peers};
pub(crate) use self::probed::{Answer, Probed};

use self::ejection::Failures;
use self::probed::Streak;
use self::warmth::Warmth;

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
    /// Degraded.
    Poor,
    /// Warming, or nothing is known yet.
    Raw,
    /// Left alone for a while: its probes are good, and what it was asked failed.
    Apart,
    /// Not at all, unless there is nobody else.
    Out,
}

impl Tier {
    /// The word for people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Poor => "poor",
            Self::Raw => "raw",
            Self::Apart => "apart",
            Self::Out => "out",
        }
    }
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
    streak: Streak,
    warmth: Warmth,
    failures: Failures,
}

impl State {
    /// All of them, for metrics.
    pub(crate) const ALL: [Self; 7] = [
        Self::Unknown,
        Self::Starting,
        Self::Warming,
        Self::Healthy,
        Self::Degraded,
        Self::Stopping,
        Self::Down,
    ];

    /// The word in metrics and pages.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Starting => "starting",
            Self::Warming => "warming",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
            Self::Down => "down",
        }
    }

    /// Of one that is not left alone.
    pub(crate) fn tier(self) -> Tier {
        match self {
            Self::Healthy => Tier::Good,
            Self::Degraded => Tier::Poor,
            Self::Warming | Self::Unknown => Tier::Raw,
            Self::Starting | Self::Stopping | Self::Down => Tier::Out,
        }
    }
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
            streak: Streak::default(),
            warmth: Warmth::default(),
            failures: Failures::default(),
        }
    }

    pub(crate) fn tier(&self, now: Instant) -> Tier {
        match self.state.tier() {
            tier if tier != Tier::Out && self.is_ejected(now) => Tier::Apart,
            tier => tier,
        }
    }

    /// State and reason for people: `starting (3/10 WAL segments)`.
    pub(crate) fn explain(&self, now: Instant) -> String {
        let mut text = self.state.as_str().to_owned();
        if !self.why.is_empty() {
            let _ = write!(text, " ({})", self.why);
        }
        if let Some((left, why)) = self.ejection(now) {
            let left = seconds(left.as_secs_f64());
            let _ = write!(text, ", left alone for {left} since requests fail: {why}");
        }
        text
    }

    /// What a probe or a request has shown.
    fn enter(&mut self, state: State, why: impl Into<Arc<str>>, now: Instant) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
        self.why = why.into();
    }

    /// After every event: what the others of the pool have to know, and what no longer holds.
    fn settle(&mut self, member: &Member) {
        if self.state != State::Starting {
            self.replay = None;
        }
        // Whoever is out is not left alone besides; that would only keep others from it.
        if !matches!(self.state, State::Healthy | State::Degraded) {
            self.readmit(member);
        }
        let says = matches!(self.state, State::Healthy | State::Warming);
        let targets = self.data.targets.filter(|_| says);
        member.tell(self.state == State::Healthy, targets);
    }
}

/// `42s`, `10m`, for people.
fn seconds(time: f64) -> String {
    let whole = time.clamp(0.0, 1e9).ceil();
    // Within the bounds of the line before.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = Duration::from_secs(whole as u64);
    humantime::format_duration(whole).to_string()
}
