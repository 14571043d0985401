//! Those who guess.
//!
//! An address may have some passwords checked at once and then one every while. Whoever has been let
//! in is known at once afterwards, and never stands in this line.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Checks an address may have at once: a Prometheus, a Grafana and some people behind one NAT, each
/// with a typing error.
const AT_ONCE: u32 = 10;
/// For each further one.
const EVERY: Duration = Duration::from_secs(1);
/// Addresses held. At so many the ones that have waited longest are forgotten first.
const MOST: usize = 4096;

/// How many checks each address has left.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    failing: Mutex<HashMap<Option<IpAddr>, Failing>>,
}

#[derive(Debug)]
struct Failing {
    /// Full again then, and of no more interest.
    full_at: Instant,
    /// Lines in the log.
    said: u32,
}

/// Lines in the log about one address until it has been quiet.
const LINES: u32 = 3;

impl Throttle {
    /// Takes one of the checks this address has left, if it has one.
    pub(super) fn may_try(&self, address: Option<IpAddr>) -> bool {
        let now = Instant::now();
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entry(&mut failing, address, now);
        let full_at = entry.full_at.max(now) + EVERY;
        if full_at > now + EVERY * AT_ONCE {
            return false;
        }
        entry.full_at = full_at;
        true
    }

    /// It was no guess.
    pub(super) fn succeeded(&self, address: Option<IpAddr>) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = failing.get_mut(&key(address)) {
            entry.full_at = entry.full_at.checked_sub(EVERY).unwrap_or(entry.full_at);
        }
    }

    /// Whether a failure of this address is worth a line.
    pub(super) fn is_news(&self, address: Option<IpAddr>) -> bool {
        let now = Instant::now();
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entry(&mut failing, address, now);
        // Failures that cost no check keep an address in the table as well.
        entry.full_at = entry.full_at.max(now + EVERY);
        entry.said = entry.said.saturating_add(1);
        entry.said <= LINES
    }
}

fn entry(
    failing: &mut HashMap<Option<IpAddr>, Failing>,
    address: Option<IpAddr>,
    now: Instant,
) -> &mut Failing {
    let key = key(address);
    if failing.len() >= MOST && !failing.contains_key(&key) {
        failing.retain(|_, entry| entry.full_at > now);
        if failing.len() >= MOST {
            // All of them have failed within seconds. Half of them, those who did so least, start anew.
            let mut times: Vec<Instant> = failing.values().map(|entry| entry.full_at).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            failing.retain(|_, entry| entry.full_at > median);
        }
    }
    let entry = failing.entry(key).or_insert(Failing {
        full_at: now,
        said: 0,
    });
    if entry.full_at <= now {
        entry.said = 0;
    }
    entry
}

fn key(address: Option<IpAddr>) -> Option<IpAddr> {
    address.map(network)
}

/// Who shares what one address may have. Whoever has an IPv6 address has 2^64 of them.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = v6.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn ten_at_once_and_then_one_a_second() {
        let throttle = Throttle::default();
        let pi = address("192.0.2.1");
        let tried = |n: u32| (0..n).filter(|_| throttle.may_try(pi)).count();
        assert_eq!(tried(1000), 10);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(tried(1000), 3);
        assert!(
            throttle.may_try(address("192.0.2.2")),
            "another is not held up"
        );
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(tried(1000), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_right_spends_nothing() {
        let throttle = Throttle::default();
        for _ in 0..1000 {
            assert!(throttle.may_try(None));
            throttle.succeeded(None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_ipv6_is_one_address_and_a_mapped_one_is_ipv4() {
        assert_eq!(
            key(address("2001:db8::1")),
            key(address("2001:db8::ffff:2"))
        );
        assert_ne!(key(address("2001:db8::1")), key(address("2001:db8:0:1::1")));
        assert_eq!(key(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_forgets_who_is_quiet() {
        let throttle = Throttle::default();
        let busy = address("192.0.2.1");
        while throttle.may_try(busy) {}
        for n in 0..20_000u32 {
            throttle.may_try(Some(IpAddr::V4((0x0a00_0000 + n).into())));
        }
        let size = || throttle.failing.lock().unwrap().len();
        assert!(size() <= MOST, "{}", size());
        assert!(
            !throttle.may_try(busy),
            "who failed most is remembered longest"
        );
        tokio::time::advance(Duration::from_secs(60)).await;
        for n in 0..u32::try_from(MOST).unwrap() {
            throttle.may_try(Some(IpAddr::V4((0x0b00_0000 + n).into())));
        }
        assert!(throttle.may_try(busy));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_some_lines() {
        let throttle = Throttle::default();
        let lines = (0..1000).filter(|_| throttle.is_news(None)).count();
        assert_eq!(lines, 3);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(throttle.is_news(None));
    }
}
