//! The names of this process' own sessions and polls, and for a while of those that left.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use adit_common::name::Name;
use adit_common::registration::Registration;
use adit_common::tunnel::goodbye::End;
use tokio::sync::watch;
use tokio::time::Instant;

use super::seat::{Left, Seat};
use super::tables::{Tables, Taken};
use super::waiting::Waiting;
use crate::carrier::{Carrier, Poll, Poller, Session};
use crate::config::duplicates::{Duplicates, Rules};

/// For how long what is known of a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// A name that left is known as away.
    pub(crate) remember: Duration,
    /// It is expected to return, and nobody else steps in for it.
    pub(crate) grace: Duration,
    /// So long after the start every name may be one that has yet to return.
    pub(crate) startup: Duration,
    /// It still stands in lists: a client that dials again is no target that vanished.
    pub(crate) list: Duration,
}

/// One writer when sessions and polls come and go, many readers for scrapes.
#[derive(Debug)]
pub(crate) struct Registry {
    memory: Memory,
    started: Instant,
    waiting: Arc<Waiting>,
    tables: RwLock<Tables>,
    /// Counts what happens to sessions.
    changes: watch::Sender<u64>,
}

/// What is known of a name.
#[derive(Debug)]
pub(crate) enum Found {
    /// This carries the next scrape.
    Here(Carrier),
    /// Nobody does, since then.
    Away(Instant),
    /// Never seen, or forgotten.
    Unknown,
}

/// Whether a name has a tunnel.
#[derive(Debug)]
pub(crate) enum Tunnel {
    /// This one.
    Here(Arc<Session>),
    /// None, but somebody polls for it: a PushProx client.
    Polled,
    /// Nobody has it.
    Nobody,
}

impl Registry {
    pub(crate) fn new(memory: Memory, waiting: Arc<Waiting>) -> Self {
        Self {
            memory,
            started: Instant::now(),
            waiting,
            tables: RwLock::default(),
            changes: watch::Sender::default(),
        }
    }

    /// Told after each time a session has come, gone or changed what it offers. One change may stand
    /// for several: whoever is told looks at what there is. That a name that left is listed no longer
    /// comes by time alone, and is not told.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Never with the tables locked: whoever is woken looks at them.
    fn changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Those who wait for a name to return.
    pub(crate) fn waiting(&self) -> &Arc<Waiting> {
        &self.waiting
    }

    /// Whether a name is somebody's, or was lately.
    pub(crate) fn has(&self, name: &Name) -> bool {
        self.read().seats.contains_key(name)
    }

    /// Who carries the next scrape of a name; a poll is taken out by it, to be held as a
    /// [`super::Lease`]. Leaves no trace of a name
    /// that nobody has.
    pub(crate) fn find(&self, name: &Name) -> Found {
        let unpolled = {
            let tables = self.read();
            match tables.seats.get(name) {
                None => return Found::Unknown,
                Some(seat) => match seat.session() {
                    Some(session) => {
                        return Found::Here(Carrier::Session(Arc::clone(session)));
                    }
                    None => (!seat.is_polled()).then(|| seat.seen()),
                },
            }
        };
        if let Some(seen) = unpolled {
            return self.away(seen);
        }
        let mut tables = self.write();
        let Some(seat) = tables.seats.get_mut(name) else {
            return Found::Unknown;
        };
        let taken = seat.take(self.memory.grace);
        let (seen, is_empty) = (seat.seen(), seat.is_empty());
        if taken.is_some() && is_empty {
            tables.now_empty(name);
        }
        match taken {
            Some(carrier) => Found::Here(carrier),
            None => self.away(seen),
        }
    }

    fn away(&self, seen: Instant) -> Found {
        match seen.elapsed() < self.memory.remember {
            true => Found::Away(seen),
            false => Found::Unknown,
        }
    }

    /// Until when it is worth waiting for somebody, from `arrived` on. A name that is away gets its time
    /// from then, and from when it was seen last, which moves on while others are served by its polls.
    pub(crate) fn patience(&self, found: &Found, arrived: Instant) -> Instant {
        match found {
            Found::Here(_) => arrived,
            Found::Away(seen) => arrived.max(*seen) + self.memory.grace,
            Found::Unknown => self.started + self.memory.startup,
        }
    }

    /// The same for the tunnel of a name that has none. Whoever polls will not dial one.
    pub(crate) fn tunnel_patience(&self, name: &Name, arrived: Instant) -> Instant {
        let found = match self.tunnel(name) {
            Tunnel::Here(_) | Tunnel::Polled => return arrived,
            Tunnel::Nobody => match self.read().seats.get(name) {
                Some(seat) => self.away(seat.seen()),
                None => Found::Unknown,
            },
        };
        self.patience(&found, arrived)
    }

    /// Gives `session` exactly these names, or none of them and the reason.
    ///
    /// Sessions of one instance share names. The sessions returned have lost a name and must be
    /// told, so that data of two machines is never mixed.
    pub(crate) fn claim(
        &self,
        session: &Arc<Session>,
        names: &[Name],
        rules: &Rules,
    ) -> Result<Vec<Arc<Session>>, Taken> {
        let mut tables = self.write();
        for name in names {
            tables.may_claim(session, name, rules.of(name), self.memory.grace)?;
        }
        let mut evicted: Vec<Arc<Session>> = Vec::new();
        for name in names {
            let others = tables.others(session, name);
            for held in others.filter(|_| rules.of(name) == Duplicates::Replace) {
                if !evicted.iter().any(|other| other.id() == held.id()) {
                    evicted.push(Arc::clone(held));
                }
            }
        }
        for old in &evicted {
            tables.remove(old.id(), &[], Left::now());
        }
        // A changed registration: what is no longer offered leaves, the rest keeps its place.
        tables.remove(session.id(), names, Left::now());
        for name in names {
            tables.seat(name).enter(session);
        }
        tables.names.insert(session.id(), names.to_vec());
        drop(tables);
        self.waiting.wake_all(names);
        self.changed();
        Ok(evicted)
    }

    /// Takes every name from a session that ended. Again does nothing.
    pub(crate) fn release(&self, session: &Session) {
        let now = Instant::now();
        let left = match session.ending().end() {
            // Who says goodbye is not coming back in a moment.
            Some(End::Peer(_) | End::Own(_)) => Left::now(),
            // It was away before anybody knew.
            Some(End::Silent(time)) => Left {
                heard: now.checked_sub(*time).unwrap_or(now),
                was_lost: true,
            },
            _ => Left {
                heard: now,
                was_lost: true,
            },
        };
        let had_names = self.write().remove(session.id(), &[], left);
        if had_names {
            self.changed();
        }
    }

    /// Parks a poll of a machine at `from`; `make` makes it, given what is known of that machine.
    pub(crate) fn park(
        &self,
        name: &Name,
        from: Option<IpAddr>,
        rules: &Rules,
        scrapes: usize,
        make: impl FnOnce(Poller) -> Poll,
    ) -> Arc<Poll> {
        let mut tables = self.write();
        let seat = tables.seat(name);
        let rule = rules.of(name);
        if rule != Duplicates::Replicas && seat.is_polled_from_elsewhere(from, self.memory.grace) {
            // Once for each, or its owner would wonder why it is never scraped.
            tracing::warn!(%name, ?from, "another machine polls for this name: its polls are kept in reserve");
        }
        let poller = seat.poller(from, || Poller::new(from, scrapes));
        let poll = Arc::new(make(poller));
        seat.park(Arc::clone(&poll), rule);
        drop(tables);
        self.waiting.wake_one(name);
        poll
    }

    /// Takes a poll out that ended without a scrape. Again does nothing.
    pub(crate) fn withdraw(&self, poll: &Poll) {
        let mut tables = self.write();
        if let Some(seat) = tables.seats.get_mut(poll.name())
            && !seat.is_empty()
        {
            seat.withdraw(poll);
            if seat.is_empty() {
                tables.now_empty(poll.name());
            }
        }
    }

    /// Takes a poll back that has carried nothing.
    pub(super) fn give_back(&self, poll: &Arc<Poll>) {
        let mut tables = self.write();
        let name = poll.name();
        // It is remembered for longer than a scrape takes; else its client will poll again.
        if let Some(seat) = tables.seats.get_mut(name) {
            let was_empty = seat.is_empty();
            if seat.give_back(poll) {
                tables.away -= usize::from(was_empty);
                drop(tables);
                self.waiting.wake_one(name);
            }
        }
    }

    /// Takes a carrier out that failed. Again does nothing.
    pub(super) fn dismiss(&self, carrier: &Carrier) {
        match carrier {
            Carrier::Session(session) => self.release(session),
            Carrier::Poll(poll) => self.withdraw(poll),
        }
    }

    /// Forgets what has been away for long.
    pub(crate) fn sweep(&self) {
        let remember = self.memory.remember;
        let mut tables = self.write();
        tables
            .seats
            .retain(|_, seat| !seat.is_empty() || seat.seen().elapsed() < remember);
        tables.away = tables.seats.values().filter(|seat| seat.is_empty()).count();
    }

    /// Every name that is here or was a moment ago, sorted.
    pub(crate) fn names(&self) -> Vec<Name> {
        let list = self.memory.list;
        let listed = |seat: &Seat| !seat.is_empty() || seat.seen().elapsed() < list;
        let tables = self.read();
        let listed = tables.seats.iter().filter(|(_, seat)| listed(seat));
        let mut names: Vec<Name> = listed.map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// The tunnel that has a name. No poll is taken out for it.
    pub(crate) fn tunnel(&self, name: &Name) -> Tunnel {
        let tables = self.read();
        match tables.seats.get(name) {
            None => Tunnel::Nobody,
            Some(seat) => match seat.session() {
                Some(session) => Tunnel::Here(Arc::clone(session)),
                None if seat.has_poller(self.memory.grace) => Tunnel::Polled,
                None => Tunnel::Nobody,
            },
        }
    }

    /// What is offered under every such name, sorted by name. Of PushProx's clients nobody knows.
    pub(crate) fn offers(&self) -> Vec<(Name, Arc<Registration>)> {
        let list = self.memory.list;
        let listed = |seat: &Seat| !seat.is_empty() || seat.seen().elapsed() < list;
        let tables = self.read();
        let listed = tables.seats.iter().filter(|(_, seat)| listed(seat));
        let mut offers: Vec<_> = listed
            .filter_map(|(name, seat)| Some((name.clone(), Arc::clone(seat.offer()?))))
            .collect();
        drop(tables);
        offers.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        offers
    }

    /// How many names are here, and how many away.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let tables = self.read();
        (tables.seats.len() - tables.away, tables.away)
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
