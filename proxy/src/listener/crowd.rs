//! How many connections there are from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit_common::net::socket::Peer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::seldom::Seldom;
use crate::auth::network;
use crate::config::trusted::TrustedProxies;

/// Connections that are open only to be told at their first request that they are too many. More are
/// closed without a word.
const TOLD: usize = 64;

/// Open connections by address. An entry is there while one is.
#[derive(Debug)]
pub(super) struct Crowd {
    by_address: Mutex<HashMap<IpAddr, usize>>,
    most: usize,
    told: Arc<Semaphore>,
    pub(super) news: Seldom,
}

/// What somebody who comes is given.
#[derive(Debug)]
pub(super) enum Entry {
    /// Not counted: on this machine, or a trusted proxy, which comes for many.
    Exempt,
    /// One of those its address may have.
    Seated(Seat),
    /// One too many, to be told so.
    Told(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit),
    /// One too many, and too many are being told.
    Refused,
}

/// A connection that is counted, until this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    network: IpAddr,
}

impl Crowd {
    /// At most so many from one address.
    pub(super) fn new(most: usize) -> Self {
        Self {
            by_address: Mutex::default(),
            most,
            told: Arc::new(Semaphore::new(TOLD)),
            news: Seldom::default(),
        }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Lets somebody in.
    pub(super) fn enter(self: &Arc<Self>, peer: Peer, trusted: &TrustedProxies) -> Entry {
        let Some(address) = peer.ip() else {
            return Entry::Exempt;
        };
        if address.is_loopback() || trusted.has(address) {
            return Entry::Exempt;
        }
        let network = network(address);
        let mut table = self.lock();
        let taken = table.get(&network).copied().unwrap_or(0);
        if taken >= self.most {
            drop(table);
            let told = Arc::clone(&self.told).try_acquire_owned();
            return told.map_or(Entry::Refused, Entry::Told);
        }
        table.insert(network, taken + 1);
        drop(table);
        let crowd = Arc::clone(self);
        Entry::Seated(Seat { crowd, network })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.crowd.lock();
        if let Some(taken) = table.get_mut(&self.network) {
            *taken -= 1;
            if *taken == 0 {
                table.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn enter(crowd: &Arc<Crowd>, address: &str) -> Entry {
        let trusted = [
            crate::config::trusted::Trusted::Unix,
            "10.0.0.0/8".parse().unwrap(),
        ];
        let ip: IpAddr = address.parse().unwrap();
        let peer = Peer::from(SocketAddr::new(ip, 9));
        crowd.enter(peer, &trusted.into_iter().collect())
    }

    fn is_seated(entry: &Entry) -> bool {
        matches!(entry, Entry::Seated(_))
    }

    #[test]
    fn an_address_has_so_many_and_nothing_stays_of_it() {
        let crowd = Arc::new(Crowd::new(2));
        let seats = ["192.0.2.1", "::ffff:192.0.2.1"].map(|address| enter(&crowd, address));
        assert!(seats.iter().all(is_seated));
        assert!(matches!(enter(&crowd, "192.0.2.1"), Entry::Told(_)));
        let other = enter(&crowd, "192.0.2.2");
        assert!(is_seated(&other), "another is not held up");
        let [one, two] = seats;
        drop(one);
        let again = enter(&crowd, "192.0.2.1");
        assert!(is_seated(&again));
        drop((two, other, again));
        assert!(crowd.lock().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let crowd = Arc::new(Crowd::new(1));
        let _one = enter(&crowd, "2001:db8::1");
        assert!(!is_seated(&enter(&crowd, "2001:db8::ffff:2")));
        assert!(is_seated(&enter(&crowd, "2001:db8:0:1::1")));
    }

    #[test]
    fn who_is_here_and_who_comes_for_many_is_not_counted() {
        let crowd = Arc::new(Crowd::new(1));
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "10.1.2.3",
            "::ffff:10.1.2.3",
        ] {
            for _ in 0..2 {
                assert!(matches!(enter(&crowd, address), Entry::Exempt), "{address}");
            }
        }
        let trusted = TrustedProxies::default();
        assert!(matches!(crowd.enter(Peer::Unix, &trusted), Entry::Exempt));
        assert!(crowd.lock().is_empty());
    }

    #[test]
    fn so_many_are_told_at_once_and_the_others_are_not_heard() {
        let crowd = Arc::new(Crowd::new(1));
        let _one = enter(&crowd, "192.0.2.1");
        let told: Vec<Entry> = (0..TOLD).map(|_| enter(&crowd, "192.0.2.1")).collect();
        assert!(told.iter().all(|entry| matches!(entry, Entry::Told(_))));
        assert!(matches!(enter(&crowd, "192.0.2.1"), Entry::Refused));
        drop(told);
        assert!(matches!(enter(&crowd, "192.0.2.1"), Entry::Told(_)));
    }
}
