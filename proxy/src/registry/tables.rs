//! Sessions and polls by name, as they are at one moment: what is done to several names at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use adit_common::name::Name;

use super::seat::{Left, Seat};
use crate::carrier::Session;
use crate::config::duplicates::Duplicates;

/// Names remembered after they left. With authentication only an accepted client puts one there;
/// where PushProx's clients may poll, anybody can, and at so many some other goes.
pub(super) const MOST_AWAY: usize = 100_000;

/// Who has which name.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) seats: HashMap<Name, Seat>,
    /// The names of each session, by its id: leaving costs as much as it had, not as all have.
    pub(super) names: HashMap<u64, Vec<Name>>,
    /// How many seats are empty.
    pub(super) away: usize,
}

/// A name is held by somebody who keeps it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is held by {by}")]
pub(crate) struct Taken {
    pub(crate) name: Name,
    pub(crate) by: String,
}

impl Tables {
    /// Sessions of other instances that have the name.
    pub(super) fn others(
        &self,
        session: &Session,
        name: &Name,
    ) -> impl Iterator<Item = &Arc<Session>> {
        let id = session.instance().id;
        let held = self.seats.get(name).map_or(&[][..], Seat::sessions);
        held.iter().filter(move |held| held.instance().id != id)
    }

    pub(super) fn may_claim(
        &self,
        session: &Session,
        name: &Name,
        rule: Duplicates,
        grace: Duration,
    ) -> Result<(), Taken> {
        let taken = |by: String| Taken {
            name: name.clone(),
            by,
        };
        let started = session.instance().started;
        match rule {
            Duplicates::Replicas => Ok(()),
            Duplicates::Replace => {
                let mut others = self.others(session, name).map(|held| held.instance());
                match others.find(|held| held.started > started) {
                    Some(by) => Err(taken(format!("an instance that started later ({})", by.id))),
                    None => Ok(()),
                }
            }
            Duplicates::Reject => {
                if let Some(by) = self.others(session, name).next() {
                    return Err(taken(format!("instance {}", by.instance().id)));
                }
                let seat = self.seats.get(name).filter(|seat| seat.session().is_none());
                match seat.is_some_and(|seat| seat.has_poller(grace)) {
                    true => Err(taken("a PushProx client".into())),
                    false => Ok(()),
                }
            }
        }
    }

    /// A seat that is about to be taken.
    pub(super) fn seat(&mut self, name: &Name) -> &mut Seat {
        if self.seats.get(name).is_some_and(Seat::is_empty) {
            self.away -= 1;
        }
        self.seats.entry(name.clone()).or_insert_with(Seat::new)
    }

    /// Takes all names but `keep` from a session. Says whether it had any.
    pub(super) fn remove(&mut self, id: u64, keep: &[Name], left: Left) -> bool {
        let Some(names) = self.names.remove(&id) else {
            return false;
        };
        for name in names {
            if keep.contains(&name) {
                continue;
            }
            if let Some(seat) = self.seats.get_mut(&name)
                && !seat.is_empty()
            {
                seat.leave(id, left);
                if seat.is_empty() {
                    self.now_empty(&name);
                }
            }
        }
        true
    }

    /// The last one has left the seat of `name`.
    pub(super) fn now_empty(&mut self, name: &Name) {
        self.away += 1;
        if self.away > MOST_AWAY {
            let other = |(other, seat): &(&Name, &Seat)| *other != name && seat.is_empty();
            let other = self
                .seats
                .iter()
                .find(other)
                .map(|(other, _)| other.clone());
            if let Some(other) = other {
                self.seats.remove(&other);
                self.away -= 1;
            }
        }
    }
}
