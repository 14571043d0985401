//! Who there is: names, targets, and which site offers them at first.

use std::net::{SocketAddr, TcpListener};

use super::chance::Chance;
use super::sites::Offer;
use super::world::Place;
use crate::ports;

/// Before anything runs.
pub(super) struct Plan {
    pub(super) places: Vec<Place>,
    /// Of the places, in the same order: bound, so that nobody else is given the ports.
    pub(super) listeners: Vec<TcpListener>,
    /// What each site offers at first.
    pub(super) offers: Vec<Offer>,
    /// PushProx clients.
    pub(super) pollers: Vec<Polling>,
}

/// A PushProx client: its name, its proxy and its target.
pub(super) struct Polling {
    pub(super) name: String,
    pub(super) proxy: usize,
    pub(super) upstream: SocketAddr,
}

impl Plan {
    /// One or two names at each site, and one or two targets of each name; one of each for a PushProx
    /// client, at the proxies in turn.
    pub(super) fn draw(chance: &mut Chance, sites: usize, pollers: usize, proxies: usize) -> Self {
        let mut plan = Self {
            places: Vec::new(),
            listeners: Vec::new(),
            offers: Vec::new(),
            pollers: Vec::new(),
        };
        let mut names = 0;
        for _ in 0..sites {
            let mut offer = Offer::default();
            for _ in 0..chance.number(1..3) {
                let name = format!("n{names:02}");
                names += 1;
                for number in 0..chance.number(1..3) {
                    // Whoever counts its targets has one of 9100 and one of 9101.
                    let port = if number == 0 { 9100 } else { 9101 };
                    let address = plan.add(&name, port, None);
                    offer.add(&name, port, address);
                }
            }
            plan.offers.push(offer);
        }
        for number in 0..pollers {
            let (name, proxy) = (format!("old{number}"), number % proxies);
            let upstream = plan.add(&name, 9100, Some(proxy));
            plan.pollers.push(Polling {
                name,
                proxy,
                upstream,
            });
        }
        plan
    }

    fn add(&mut self, name: &str, port: u16, only_by: Option<usize>) -> SocketAddr {
        // A port of its own, which nobody is given while the target is away.
        let address = SocketAddr::from(([127, 0, 0, 1], ports::unused()));
        let listener = TcpListener::bind(address).expect("a port that was just free");
        let id = format!("t{:02}", self.places.len());
        let place = Place::new(id, name.to_owned(), port, only_by);
        self.places.push(place);
        self.listeners.push(listener);
        address
    }
}
