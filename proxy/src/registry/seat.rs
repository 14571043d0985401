//! One name: who carries it now, and whose turn it is.
//!
//! Sessions come before polls, and the newest session before older ones. Polls of two machines are
//! never mixed unless the rule is `replicas`: the first machine's are used, and another's are parked
//! until the first, or the session that was lost, has had its time to return.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_common::registration::Registration;
use tokio::time::Instant;

use crate::carrier::{Carrier, Poll, Poller, Session};
use crate::config::duplicates::Duplicates;

/// Machines whose polls are kept for one name, and polls kept of one machine where several may be
/// behind its address. Beyond it the oldest goes.
const MOST_POLLS: usize = 16;

/// One name.
#[derive(Debug)]
pub(super) struct Seat {
    /// The newest last.
    sessions: Vec<Arc<Session>>,
    pollers: Vec<Polling>,
    /// The machine whose polls are used.
    active: Option<Option<IpAddr>>,
    /// Of whoever took the name last.
    offer: Option<Arc<Registration>>,
    /// By the rule that held when a poll came last.
    duplicates: Duplicates,
    /// When the last session was lost, if it did not say that it leaves.
    lost: Option<Instant>,
    /// When somebody was last seen to carry it.
    seen: Instant,
}

/// How a session left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// When it was heard last.
    pub(super) heard: Instant,
    /// It did not say that it goes.
    pub(super) was_lost: bool,
}

impl Left {
    /// At this moment, and by intent.
    pub(super) fn now() -> Self {
        Self {
            heard: Instant::now(),
            was_lost: false,
        }
    }
}

/// A machine that polls.
#[derive(Debug)]
struct Polling {
    poller: Poller,
    seen: Instant,
    /// The newest last. One, unless the rule is `replicas`: a client polls once at a time, so that
    /// its next poll says that the one before is dead.
    polls: Vec<Arc<Poll>>,
}

impl Seat {
    pub(super) fn new() -> Self {
        Self {
            sessions: Vec::new(),
            pollers: Vec::new(),
            active: None,
            offer: None,
            duplicates: Duplicates::default(),
            lost: None,
            seen: Instant::now(),
        }
    }

    /// Nobody carries the name.
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.pollers.iter().all(|p| p.polls.is_empty())
    }

    /// The session scrapes go to.
    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        self.sessions.last()
    }

    /// All of them.
    pub(super) fn sessions(&self) -> &[Arc<Session>] {
        &self.sessions
    }

    /// Somebody polls.
    pub(super) fn is_polled(&self) -> bool {
        self.pollers.iter().any(|p| !p.polls.is_empty())
    }

    /// When somebody was last seen to carry it.
    pub(super) fn seen(&self) -> Instant {
        self.seen
    }

    /// A machine has polled for it within `grace`: its next poll is to be expected.
    pub(super) fn has_poller(&self, grace: Duration) -> bool {
        let since = |p: &Polling| !p.polls.is_empty() || p.seen.elapsed() < grace;
        self.pollers.iter().any(since)
    }

    /// What whoever had it last offers, also while it is away.
    pub(super) fn offer(&self) -> Option<&Arc<Registration>> {
        self.offer.as_ref()
    }

    /// A session takes the name, or keeps it.
    pub(super) fn enter(&mut self, session: &Arc<Session>) {
        self.lost = None;
        self.offer = Some(session.offer());
        if !self.sessions.iter().any(|other| other.id() == session.id()) {
            self.sessions.push(Arc::clone(session));
        }
    }

    /// A session leaves. Polls step in at once when it said that it goes, and after the grace when
    /// it was lost.
    pub(super) fn leave(&mut self, id: u64, left: Left) {
        let before = self.sessions.len();
        self.sessions.retain(|session| session.id() != id);
        if self.sessions.len() < before && self.sessions.is_empty() {
            self.seen = left.heard;
            self.lost = left.was_lost.then_some(left.heard);
        }
    }

    /// The machine at this address; `make` is for one that is new.
    pub(super) fn poller(&mut self, from: Option<IpAddr>, make: impl FnOnce() -> Poller) -> Poller {
        if let Some(known) = self.pollers.iter().find(|p| p.poller.from == from) {
            return known.poller.clone();
        }
        if self.pollers.len() >= MOST_POLLS
            && let Some(oldest) = self.oldest_poller()
        {
            for poll in self.pollers.remove(oldest).polls {
                poll.dismiss();
            }
        }
        let poller = make();
        self.pollers.push(Polling {
            poller: poller.clone(),
            seen: Instant::now(),
            polls: Vec::new(),
        });
        poller
    }

    fn oldest_poller(&self) -> Option<usize> {
        let ages = self.pollers.iter().enumerate();
        let (index, _) = ages.min_by_key(|(_, p)| p.seen)?;
        Some(index)
    }

    /// A machine that has not polled yet is not the first to.
    pub(super) fn is_polled_from_elsewhere(&self, from: Option<IpAddr>, grace: Duration) -> bool {
        let is_new = self.pollers.iter().all(|p| p.poller.from != from);
        is_new && self.has_poller(grace)
    }

    /// One more poll of a machine that [`Self::poller`] gave.
    pub(super) fn park(&mut self, poll: Arc<Poll>, rule: Duplicates) {
        self.duplicates = rule;
        self.seen = Instant::now();
        let from = poll.poller().from;
        let Some(polling) = self.pollers.iter_mut().find(|p| p.poller.from == from) else {
            return;
        };
        polling.seen = self.seen;
        let keep = match rule {
            Duplicates::Replicas => MOST_POLLS - 1,
            Duplicates::Replace | Duplicates::Reject => 0,
        };
        while polling.polls.len() > keep {
            polling.polls.remove(0).dismiss();
        }
        polling.polls.push(poll);
    }

    /// A poll that was taken out has carried nothing. Says whether a scrape may have it again: its
    /// client may have polled anew meanwhile.
    pub(super) fn give_back(&mut self, poll: &Arc<Poll>) -> bool {
        let from = poll.poller().from;
        let Some(polling) = self.pollers.iter_mut().find(|p| p.poller.from == from) else {
            return false;
        };
        if !polling.polls.is_empty() && self.duplicates != Duplicates::Replicas {
            poll.dismiss();
            return false;
        }
        polling.polls.push(Arc::clone(poll));
        true
    }

    /// A poll's connection closed, or it was told to poll again.
    pub(super) fn withdraw(&mut self, poll: &Poll) {
        for polling in &mut self.pollers {
            let before = polling.polls.len();
            polling.polls.retain(|other| other.id() != poll.id());
            if polling.polls.len() < before {
                self.seen = Instant::now();
                polling.seen = self.seen;
            }
        }
    }

    /// Who carries the next scrape. A poll is taken out: it carries no other. A machine that was
    /// lost lately is given `grace` before another's polls are used.
    pub(super) fn take(&mut self, grace: Duration) -> Option<Carrier> {
        if let Some(session) = self.session() {
            return Some(Carrier::Session(Arc::clone(session)));
        }
        let now = Instant::now();
        let polling = if self.duplicates == Duplicates::Replicas {
            let newest = |p: &&mut Polling| p.polls.last().map(|poll| poll.id());
            self.pollers.iter_mut().max_by_key(newest)
        } else {
            if self.lost.is_some_and(|lost| lost + grace > now) {
                return None;
            }
            self.turn(now, grace)
        }?;
        let poll = polling.polls.pop()?;
        polling.seen = now;
        self.seen = now;
        Some(Carrier::Poll(poll))
    }

    /// The machine whose polls are used: the same as before, until it has been away for long.
    fn turn(&mut self, now: Instant, grace: Duration) -> Option<&mut Polling> {
        let active = self.active.and_then(|from| {
            let mine = |p: &Polling| p.poller.from == from;
            self.pollers.iter().position(mine)
        });
        let here = |p: &Polling| !p.polls.is_empty();
        let index = match active {
            Some(index) if here(&self.pollers[index]) => index,
            Some(index) if self.pollers[index].seen + grace > now => return None,
            _ => self.pollers.iter().position(here)?,
        };
        let polling = self.pollers.get_mut(index)?;
        self.active = Some(polling.poller.from);
        Some(polling)
    }
}

#[cfg(test)]
mod tests {
    use adit_common::registration::Instance;
    use tokio::sync::oneshot;

    use super::*;
    use crate::carrier::Handed;

    const GRACE: Duration = Duration::from_secs(2);

    fn poll(seat: &mut Seat, from: u8, rule: Duplicates) -> (u64, oneshot::Receiver<Handed>) {
        let from = Some(IpAddr::from([192, 0, 2, from]));
        let poller = seat.poller(from, || Poller::new(from, 8));
        let (poll, handed) = Poll::for_tests("pi", poller);
        let id = poll.id();
        seat.park(Arc::new(poll), rule);
        (id, handed)
    }

    fn taken(seat: &mut Seat) -> Option<u64> {
        seat.take(GRACE).map(|carrier| match carrier {
            Carrier::Poll(poll) => poll.id(),
            Carrier::Session(session) => 1_000_000 + session.id(),
        })
    }

    fn session() -> Arc<Session> {
        Session::for_tests(Instance::now())
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_carries_one_scrape_and_the_next_poll_says_the_last_is_dead() {
        let mut seat = Seat::new();
        let (_, mut stale) = poll(&mut seat, 1, Duplicates::Replace);
        let (fresh, _handed) = poll(&mut seat, 1, Duplicates::Replace);
        assert!(stale.try_recv().is_err(), "dismissed");
        assert_eq!(taken(&mut seat), Some(fresh));
        assert_eq!(taken(&mut seat), None);
        assert!(seat.is_empty() && seat.has_poller(GRACE));
        tokio::time::advance(GRACE).await;
        assert!(!seat.has_poller(GRACE));
    }

    #[tokio::test(start_paused = true)]
    async fn polls_of_two_machines_are_not_mixed() {
        for rule in [Duplicates::Replace, Duplicates::Reject] {
            let mut seat = Seat::new();
            let (first, _a) = poll(&mut seat, 1, rule);
            let (second, _b) = poll(&mut seat, 2, rule);
            assert_eq!(taken(&mut seat), Some(first));
            // The first will poll again; until then the second is no substitute.
            assert_eq!(taken(&mut seat), None);
            tokio::time::advance(GRACE / 2).await;
            let (again, _c) = poll(&mut seat, 1, rule);
            assert_eq!(taken(&mut seat), Some(again));
            tokio::time::advance(GRACE).await;
            assert_eq!(taken(&mut seat), Some(second), "the first has left");
            let (_, _d) = poll(&mut seat, 1, rule);
            assert_eq!(taken(&mut seat), None, "and the second is first now");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_take_turns_by_who_came_last() {
        let mut seat = Seat::new();
        let (first, _a) = poll(&mut seat, 1, Duplicates::Replicas);
        let (second, _b) = poll(&mut seat, 2, Duplicates::Replicas);
        let (third, _c) = poll(&mut seat, 1, Duplicates::Replicas);
        assert_eq!(taken(&mut seat), Some(third));
        assert_eq!(taken(&mut seat), Some(second));
        assert_eq!(taken(&mut seat), Some(first), "two behind one address");
        assert_eq!(taken(&mut seat), None);
    }

    #[tokio::test(start_paused = true)]
    async fn polls_step_in_for_a_session_when_it_leaves_or_had_time_to_return() {
        for was_lost in [false, true] {
            let mut seat = Seat::new();
            let session = session();
            seat.enter(&session);
            let (parked, _a) = poll(&mut seat, 1, Duplicates::Replace);
            assert_eq!(taken(&mut seat), Some(1_000_000 + session.id()));
            seat.leave(
                session.id(),
                Left {
                    was_lost,
                    ..Left::now()
                },
            );
            if was_lost {
                assert_eq!(taken(&mut seat), None);
                tokio::time::advance(GRACE).await;
            }
            assert_eq!(taken(&mut seat), Some(parked));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_has_no_more_polls_than_may_be() {
        for rule in [Duplicates::Replace, Duplicates::Replicas] {
            let mut seat = Seat::new();
            let mut handed: Vec<_> = (0..100).map(|n| poll(&mut seat, n, rule).1).collect();
            handed.extend((0..100).map(|_| poll(&mut seat, 200, rule).1));
            let kept: usize = seat.pollers.iter().map(|p| p.polls.len()).sum();
            assert!(kept <= 2 * MOST_POLLS, "{kept}");
            let open = handed
                .iter_mut()
                .filter_map(|handed| match handed.try_recv() {
                    Err(oneshot::error::TryRecvError::Empty) => Some(()),
                    _ => None,
                });
            assert_eq!(open.count(), kept, "the others are told");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_carried_nothing_is_taken_again_unless_a_newer_came() {
        let mut seat = Seat::new();
        let (first, _a) = poll(&mut seat, 1, Duplicates::Replace);
        let Some(Carrier::Poll(taken_out)) = seat.take(GRACE) else {
            panic!("no poll");
        };
        assert!(seat.give_back(&taken_out));
        assert_eq!(taken(&mut seat), Some(first));
        let (newer, _b) = poll(&mut seat, 1, Duplicates::Replace);
        assert!(!seat.give_back(&taken_out));
        assert!(!taken_out.is_free(), "its client has polled anew");
        assert_eq!(taken(&mut seat), Some(newer));
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_is_withdrawn_is_not_taken() {
        let mut seat = Seat::new();
        let poller = seat.poller(None, || Poller::new(None, 8));
        let (first, _handed) = Poll::for_tests("pi", poller);
        let first = Arc::new(first);
        seat.park(Arc::clone(&first), Duplicates::Replace);
        seat.withdraw(&first);
        assert_eq!(taken(&mut seat), None);
        assert!(seat.is_empty());
    }
}
