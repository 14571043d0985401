//! The network an address is in: what a caller has in common with themselves tomorrow.

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};

/// Bits that count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefixes {
    pub(super) ipv4: u8,
    pub(super) ipv6: u8,
}

impl Prefixes {
    /// As bytes; of the two families never the same.
    pub(super) fn network(self, address: IpAddr) -> Vec<u8> {
        match address.to_canonical() {
            IpAddr::V4(address) => Ipv4Net::new(address, self.ipv4)
                .map_or(address, |net| net.network())
                .octets()
                .to_vec(),
            IpAddr::V6(address) => Ipv6Net::new(address, self.ipv6)
                .map_or(address, |net| net.network())
                .octets()
                .to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case 35, M3.
    #[test]
    fn addresses_of_both_families_are_told_apart_by_the_bits_that_count() {
        let prefixes = Prefixes { ipv4: 24, ipv6: 64 };
        let same = |a: &str, b: &str| {
            let network = |text: &str| prefixes.network(text.parse().unwrap());
            network(a) == network(b)
        };
        assert!(same("192.0.2.1", "192.0.2.254"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.7"));
        assert!(!same("192.0.2.1", "192.0.3.1"));
        assert!(same("2001:db8:0:1::1", "2001:db8:0:1:ffff::"));
        assert!(!same("2001:db8:0:1::1", "2001:db8:0:2::1"));
        assert!(!same("0.0.0.0", "::"));
        let whole = Prefixes {
            ipv4: 32,
            ipv6: 128,
        };
        let network = |text: &str| whole.network(text.parse().unwrap());
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_ne!(network("::1"), network("::2"));
    }
}
