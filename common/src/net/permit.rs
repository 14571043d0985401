//! Which addresses a name may lead to.
//!
//! Whoever answers a lookup chooses where we connect to: a DNS server, a router in its name, or an
//! attacker whose name changes its answer (DNS rebinding). Nothing anybody means to scrape is at the
//! addresses refused here, and the keys of a whole cloud account are at some of them. They are
//! compared in the form the packets will have: every way of writing IPv4 as IPv6 is undone first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses of a name may be dialled. An IP address in place of a name is what somebody wrote
/// and is dialled in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Every one.
    Any,
    /// None of those that [`prohibited`] tells.
    Ordinary,
}

impl Permit {
    /// What `ip` is, when it may not be dialled.
    pub(super) fn refuses(self, ip: IpAddr) -> Option<&'static str> {
        match self {
            Self::Any => None,
            Self::Ordinary => prohibited(ip),
        }
    }
}

const UNSPECIFIED: &str = "an unspecified address";
const LINK_LOCAL: &str = "a link-local address";
const METADATA: &str = "a metadata address";
const MULTICAST: &str = "a multicast address";
const BROADCAST: &str = "the broadcast address";

/// Where clouds tell a machine its secrets, beside 169.254.0.0/16, which is link-local.
const METADATA_V4: [Ipv4Addr; 3] = [
    // Alibaba Cloud.
    Ipv4Addr::new(100, 100, 100, 200),
    // Azure's wire server.
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle Cloud, of old.
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The same in IPv6, and the length of the prefix.
const METADATA_V6: [(Ipv6Addr, u32); 4] = [
    // AWS: metadata at ::254, credentials of EKS at ::23.
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32),
    // Google Cloud.
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128),
    // Oracle Cloud.
    (Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe), 128),
    // Scaleway.
    (Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128),
];

/// What `ip` is, when it is one that no name has a reason to lead to.
pub fn prohibited(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => of_v4(ip),
        IpAddr::V6(ip) if ip.is_loopback() => None,
        IpAddr::V6(ip) => of_v6(ip).or_else(|| embedded(ip).and_then(of_v4)),
    }
}

fn of_v4(ip: Ipv4Addr) -> Option<&'static str> {
    // 0.0.0.0 is this machine to Linux, and all of 0.0.0.0/8 to some others (RFC 1122, 3.2.1.3).
    if ip.octets()[0] == 0 {
        Some(UNSPECIFIED)
    } else if METADATA_V4.contains(&ip) || ip == Ipv4Addr::new(169, 254, 169, 254) {
        Some(METADATA)
    } else if ip.is_link_local() {
        Some(LINK_LOCAL)
    } else if ip.is_multicast() {
        Some(MULTICAST)
    } else if ip.is_broadcast() {
        Some(BROADCAST)
    } else {
        None
    }
}

fn of_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let within = |(network, length): &(Ipv6Addr, u32)| {
        (ip.to_bits() ^ network.to_bits()).leading_zeros() >= *length
    };
    if ip.is_unspecified() {
        Some(UNSPECIFIED)
    } else if METADATA_V6.iter().any(within) {
        Some(METADATA)
    } else if ip.is_unicast_link_local() {
        Some(LINK_LOCAL)
    } else if ip.is_multicast() {
        Some(MULTICAST)
    } else {
        None
    }
}

/// The IPv4 address a packet to `ip` may end at.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let joined = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        // Mapped, compatible, and translated (RFC 4291, 2.5.5; RFC 2765, 2.1).
        [0, 0, 0, 0, 0, 0 | 0xffff, a, b] | [0, 0, 0, 0, 0xffff, 0, a, b] => Some(joined(a, b)),
        // NAT64: everybody's prefix, and one's own (RFC 6052, 2.1; RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0, a, b] | [0x64, 0xff9b, 1, _, _, _, a, b] => Some(joined(a, b)),
        // 6to4 (RFC 3056).
        [0x2002, a, b, ..] => Some(joined(a, b)),
        // Teredo has the client's inverted (RFC 4380, 4).
        [0x2001, 0, _, _, _, _, a, b] => Some(joined(!a, !b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(ip: &str) -> Option<&'static str> {
        prohibited(ip.parse().expect(ip))
    }

    #[test]
    fn every_address_that_is_refused() {
        for (ips, what) in [
            ("0.0.0.0 0.1.2.3 :: ::ffff:0.0.0.0 64:ff9b::", UNSPECIFIED),
            (
                "169.254.169.254 100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::254 \
                 fd00:ec2::23 fd20:ce::254 fd00:c1::a9fe:a9fe fd00:42::42",
                METADATA,
            ),
            (
                "::ffff:169.254.169.254 ::169.254.169.254 ::ffff:0:169.254.169.254 \
                 64:ff9b::169.254.169.254 64:ff9b:1::a9fe:a9fe 64:ff9b:1:2:3:4:a9fe:a9fe \
                 2002:a9fe:a9fe::1 2001:0:1:2:3:4:5601:5601 ::ffff:100.100.100.200",
                METADATA,
            ),
            (
                "169.254.0.1 169.254.170.2 fe80::1 febf:ffff::1 ::ffff:169.254.1.1 64:ff9b::a9fe:1",
                LINK_LOCAL,
            ),
            (
                "224.0.0.1 239.255.255.255 ff02::1 ::ffff:224.0.0.1",
                MULTICAST,
            ),
            ("255.255.255.255 ::ffff:255.255.255.255", BROADCAST),
        ] {
            for ip in ips.split_whitespace() {
                assert_eq!(of(ip), Some(what), "{ip}");
            }
        }
    }

    #[test]
    fn what_people_scrape_is_not() {
        for ip in "127.0.0.1 ::1 127.0.1.1 10.0.0.1 192.168.1.5 172.16.0.1 100.64.0.1 8.8.8.8 \
                   169.253.255.255 169.255.0.1 fd00::1 fd00:ec3::1 fec0::1 2001:db8::1 2a00::1 \
                   ::ffff:10.0.0.1 64:ff9b::10.0.0.1 2002:a00:1::1 fd20:ce::1"
            .split_whitespace()
        {
            assert_eq!(of(ip), None, "{ip}");
        }
    }

    proptest! {
        #[test]
        fn no_way_of_writing_an_ipv4_address_changes_what_it_is(bits: u32, near in 0u8..4) {
            // Three quarters of them where it matters.
            let ip = Ipv4Addr::from_bits(match near {
                0 => 0xa9fe_0000 | bits & 0xffff,
                1 => 0xe000_0000 | bits & 0x1fff_ffff,
                2 => METADATA_V4[bits as usize % 3].to_bits(),
                _ => bits,
            });
            // ::0.0.0.1 is the loopback, and not compatible with anything.
            prop_assume!(ip.to_bits() > 1);
            let (high, low) = ((ip.to_bits() >> 16) as u16, ip.to_bits() as u16);
            for other in [
                ip.to_ipv6_mapped(),
                ip.to_ipv6_compatible(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, !high, !low),
            ] {
                prop_assert_eq!(prohibited(other.into()), prohibited(ip.into()), "{}", other);
            }
        }
    }
}
