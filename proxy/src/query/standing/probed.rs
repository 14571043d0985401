//! What probes find, and what follows.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Facts, Member, Standing, State, seconds};
use crate::config::query::Health;

/// What one probe has found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Probed {
    /// It could not be sent, for reasons of our own.
    Unasked,
    /// There is no tunnel to it.
    Unlinked(String),
    /// It cannot be reached, or does not answer to whether it is ready.
    Failed(String),
    /// It says that it is not ready; so much of its write-ahead log is read.
    NotReady(Option<(u64, u64)>),
    /// It says that it stops.
    Stopping,
    /// It is ready, and does not answer a query.
    Mute(String),
    /// It is ready, and answers.
    Ready(Answer),
}

/// What a probe's query was answered. Times are Unix seconds by the server's own clock.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) now: Option<f64>,
    /// Seconds since its newest scrape; nothing: there was none for minutes.
    pub(crate) age: Option<f64>,
    /// How many targets it scrapes; nothing: that was not asked.
    pub(crate) targets: Option<f64>,
    /// When it was started, if that was asked and answered.
    pub(crate) started: Option<f64>,
    /// By how many seconds its clock is ahead of ours.
    pub(crate) clock_skew: Option<f64>,
    /// From the query to its answer.
    pub(crate) took: Duration,
}

/// How the last probes went.
#[derive(Debug, Clone, Default)]
pub(super) struct Streak {
    /// In a row found it out of reach.
    lost: u32,
    /// In a row found it out of reach or poor.
    bad: u32,
    /// In a row found it within reach.
    reached: u32,
    /// In a row found it well.
    good: u32,
    /// It is down for want of a tunnel, and nothing else is known against it.
    unlinked: bool,
}

impl Probed {
    /// The word in metrics.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Unasked => "unasked",
            Self::Unlinked(_) => "unlinked",
            Self::Failed(_) => "failed",
            Self::NotReady(_) => "not-ready",
            Self::Stopping => "stopping",
            Self::Mute(_) => "mute",
            Self::Ready(_) => "ok",
        }
    }
}

impl Standing {
    /// A probe is over. Whether anything has changed that others look at.
    pub(crate) fn probed(
        &mut self,
        outcome: &Probed,
        rules: &Health,
        member: &Member,
        now: Instant,
    ) -> bool {
        let before = (self.state, self.replay, self.ejected_until);
        match outcome {
            Probed::Unasked => {}
            Probed::Unlinked(why) => self.lose_link(why, now),
            Probed::Failed(why) => self.lost(why, rules, now),
            Probed::NotReady(replay) => self.starting(*replay, now),
            Probed::Stopping => self.stopping(now),
            Probed::Mute(why) => self.poor(why, rules, now),
            Probed::Ready(answer) => self.ready(answer, rules, member, now),
        }
        self.readmit_in_time(rules, member, now);
        self.settle(member);
        before != (self.state, self.replay, self.ejected_until)
    }

    /// It has told a request whether it stops, or is not ready. Whether that is news.
    pub(crate) fn told_not_ready(&mut self, stopping: bool, member: &Member, now: Instant) -> bool {
        let before = self.state;
        match stopping {
            true => self.stopping(now),
            false => self.starting(self.replay, now),
        }
        self.settle(member);
        before != self.state
    }

    /// What strategies look at has been asked. Whether something is known now that was not.
    pub(crate) fn learned(&mut self, facts: Facts) -> bool {
        self.data.learn(facts)
    }

    /// Whether the next probe should ask when it was started: what is known may be older.
    pub(crate) fn wants_start(&self) -> bool {
        self.data.started.is_none() || self.streak.good == 0
    }

    /// Whether the last probes say something else than its state: a few more, soon, decide.
    pub(crate) fn is_in_doubt(&self) -> bool {
        let Streak {
            lost,
            bad,
            reached,
            good,
            ..
        } = self.streak;
        match self.state {
            State::Warming | State::Healthy => bad > 0,
            State::Degraded => lost > 0 || good > 0,
            State::Down => reached > 0,
            // There the first one decides.
            State::Unknown | State::Starting | State::Stopping => false,
        }
    }

    fn lose_link(&mut self, why: &str, now: Instant) {
        let only = self.state != State::Down || self.streak.unlinked;
        self.streak = Streak {
            unlinked: only,
            ..Streak::default()
        };
        self.enter(State::Down, why, now);
    }

    fn lost(&mut self, why: &str, rules: &Health, now: Instant) {
        let streak = &mut self.streak;
        streak.lost = streak.lost.saturating_add(1);
        streak.bad = streak.bad.saturating_add(1);
        (streak.reached, streak.good) = (0, 0);
        let at_once = matches!(self.state, State::Unknown | State::Stopping | State::Down);
        if at_once || streak.lost >= rules.fall {
            if streak.lost >= rules.fall {
                streak.unlinked = false;
            }
            self.went_away();
            self.enter(State::Down, why, now);
        }
    }

    fn starting(&mut self, replay: Option<(u64, u64)>, now: Instant) {
        self.streak = Streak::default();
        self.went_away();
        self.replay = replay;
        let why: Arc<str> = match replay {
            Some((read, all)) => format!("{read}/{all} WAL segments").into(),
            None => "it says that it is not ready".into(),
        };
        self.enter(State::Starting, why, now);
    }

    fn stopping(&mut self, now: Instant) {
        self.streak = Streak::default();
        self.went_away();
        self.enter(State::Stopping, "it says that it stops", now);
    }

    /// Whoever comes back may have been started anew.
    fn went_away(&mut self) {
        self.warmth.gone();
        self.data.started = None;
    }

    fn poor(&mut self, why: &str, rules: &Health, now: Instant) {
        let streak = &mut self.streak;
        streak.bad = streak.bad.saturating_add(1);
        streak.reached = streak.reached.saturating_add(1);
        (streak.lost, streak.good) = (0, 0);
        let enters = match self.state {
            State::Unknown | State::Starting | State::Stopping | State::Degraded => true,
            State::Warming | State::Healthy => streak.bad >= rules.fall,
            State::Down => streak.unlinked || streak.reached >= rules.rise,
        };
        if enters {
            self.enter(State::Degraded, why, now);
        }
    }

    fn ready(&mut self, answer: &Answer, rules: &Health, member: &Member, now: Instant) {
        let data = &mut self.data;
        data.now = answer.now;
        data.age = answer.age;
        data.targets = answer.targets;
        data.started = answer.started.or(data.started);
        data.clock_skew = answer.clock_skew;
        let cold = self.warmth.of(&self.data, rules, member, now);
        if cold.is_none()
            && let Some(why) = answer.fault(rules)
        {
            return self.poor(&why, rules, now);
        }
        let streak = &mut self.streak;
        streak.reached = streak.reached.saturating_add(1);
        streak.good = streak.good.saturating_add(1);
        (streak.lost, streak.bad) = (0, 0);
        let enters = match self.state {
            State::Down => streak.unlinked || streak.good >= rules.rise,
            // A server that was started anew is not what it was.
            State::Degraded => cold.is_some() || streak.good >= rules.rise,
            _ => true,
        };
        match cold {
            _ if !enters => {}
            Some(why) => self.enter(State::Warming, why, now),
            None => self.enter(State::Healthy, "", now),
        }
    }
}

impl Answer {
    /// What is wrong with it, if anything is.
    fn fault(&self, rules: &Health) -> Option<String> {
        match (self.targets, self.age) {
            (Some(_), None) => return Some("nothing was scraped for minutes".to_owned()),
            (_, Some(age)) if age > rules.max_staleness.as_secs_f64() => {
                return Some(format!("its newest scrape is {} old", seconds(age)));
            }
            _ => {}
        }
        let slow = self.took > rules.timeout / 2;
        slow.then(|| {
            format!(
                "it takes {:.1} s for the smallest query",
                self.took.as_secs_f64()
            )
        })
    }
}
