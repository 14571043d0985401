//! Who is believed when they say for whom they ask: front proxies and load balancers.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use adit_common::net::socket::Peer;
use ipnet::{IpNet, Ipv4Net};

/// Front proxies: what they say of where a request comes from is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Trusted>);

/// Some of them: `192.0.2.7`, `10.0.0.0/8`, `fd00::/8`, or `unix` for whoever comes by a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trusted {
    /// Everybody in this network.
    Net(IpNet),
    /// Everybody on a Unix socket.
    Unix,
}

/// Why a text is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustedError {
    /// No address, no network.
    #[error("trusted proxy {0:?}: expected an address, a network like 10.0.0.0/8, or unix")]
    Syntax(String),
    /// `10.0.0.1/8` is one machine or sixteen million.
    #[error("trusted proxy {0:?} is an address within a network: write {1} for all of it")]
    Within(String, IpNet),
}

impl FromStr for Trusted {
    type Err = TrustedError;

    fn from_str(text: &str) -> Result<Self, TrustedError> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let syntax = || TrustedError::Syntax(text.to_owned());
        let net: IpNet = match text.contains('/') {
            true => text.parse().map_err(|_| syntax())?,
            false => text.parse::<IpAddr>().map_err(|_| syntax())?.into(),
        };
        if net != net.trunc() {
            return Err(TrustedError::Within(text.to_owned(), net.trunc()));
        }
        Ok(Self::Net(canonical(net)))
    }
}

/// Peers are canonical, so networks must be: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn canonical(net: IpNet) -> IpNet {
    let mapped = net.addr().to_canonical();
    match (mapped, net.prefix_len().checked_sub(96)) {
        (IpAddr::V4(v4), Some(prefix)) if net.addr().is_ipv6() => {
            // At most 32, of 128.
            Ipv4Net::new(v4, prefix).map_or(net, IpNet::V4)
        }
        _ => net,
    }
}

impl fmt::Display for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) => net.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl FromIterator<Trusted> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = Trusted>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl TrustedProxies {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is one of them.
    pub fn trusts(&self, peer: Peer) -> bool {
        match peer {
            Peer::Ip(address) => self.has(address.ip()),
            Peer::Unix => self.0.contains(&Trusted::Unix),
        }
    }

    /// Whether one of them has this address.
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|trusted| match trusted {
            Trusted::Net(net) => net.contains(&address),
            Trusted::Unix => false,
        })
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, trusted) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{trusted}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn of(texts: &[&str]) -> TrustedProxies {
        let parsed = texts.iter().map(|text| text.parse::<Trusted>());
        parsed.map(Result::unwrap).collect()
    }

    #[test]
    fn networks_addresses_and_unix_sockets() {
        let proxies = of(&["10.0.0.0/8", "192.0.2.7", "fd00::/8", "unix"]);
        assert_eq!(
            proxies.to_string(),
            "10.0.0.0/8, 192.0.2.7/32, fd00::/8, unix"
        );
        for (address, is) in [
            ("10.255.0.1", true),
            ("::ffff:10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("fd12::1", true),
            ("fe80::1", false),
            ("::a00:1", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(proxies.has(address), is, "{address}");
            let peer = Peer::from(std::net::SocketAddr::new(address, 9));
            assert_eq!(proxies.trusts(peer), is, "{address}");
        }
        assert!(proxies.trusts(Peer::Unix));
        assert!(!of(&["0.0.0.0/0", "::/0"]).trusts(Peer::Unix));
        assert!(!TrustedProxies::default().trusts(Peer::Unix));
    }

    #[test]
    fn a_mapped_network_is_the_one_it_maps() {
        assert_eq!(
            of(&["::ffff:10.0.0.0/104", "::ffff:192.0.2.7"]),
            of(&["10.0.0.0/8", "192.0.2.7"])
        );
        // All of IPv6, and the mapped addresses with it: no peer has one of those.
        assert!(!of(&["::/0"]).has("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_none_says_what_would_be() {
        for (text, says) in [
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("10.0.0.0/33", "expected an address"),
            ("10.0.0", "expected an address"),
            ("proxy.example", "expected an address"),
            ("unix:/run/x", "or unix"),
            ("", "expected an address"),
            ("fe80::1%eth0", "expected an address"),
        ] {
            let error = text.parse::<Trusted>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    proptest! {
        /// Against arithmetic on the bits themselves.
        #[test]
        fn a_network_has_what_shares_its_prefix(
            bits: u32, prefix in 0u8..=32, other: u32, mapped: bool,
        ) {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            let base = Ipv4Addr::from_bits(bits & mask);
            let text = match mapped {
                true => format!("::ffff:{base}/{}", prefix + 96),
                false => format!("{base}/{prefix}"),
            };
            let trusted = of(&[&text]);
            // One that is near, and one that is anywhere.
            for address in [other, bits ^ (other & !mask), bits ^ (1 << (other % 32))] {
                let is = (address ^ bits) & mask == 0;
                let v4 = Ipv4Addr::from_bits(address);
                prop_assert_eq!(trusted.has(v4.into()), is);
                prop_assert_eq!(trusted.has(v4.to_ipv6_mapped().into()), is);
            }
        }

        #[test]
        fn ipv6_likewise(bits: u128, prefix in 97u8..=128, flip in 0u32..128) {
            let bits = bits | 1 << 127;
            let mask = u128::MAX << (128 - u32::from(prefix));
            let trusted = of(&[&format!("{}/{prefix}", Ipv6Addr::from_bits(bits & mask))]);
            let other = bits ^ (1 << flip);
            let is = (other ^ bits) & mask == 0;
            prop_assert_eq!(trusted.has(Ipv6Addr::from_bits(other).into()), is);
        }

        #[test]
        fn no_text_is_a_panic(text in "[0-9a-f:./%]{0,24}") {
            if let Ok(trusted) = text.parse::<Trusted>() {
                prop_assert_eq!(trusted.to_string().parse::<Trusted>(), Ok(trusted));
            }
        }
    }
}
