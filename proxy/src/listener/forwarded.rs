//! For whom a front proxy asks.
//!
//! `X-Forwarded-For` is the one field that every front sets. Each appends whom it sees, so that only
//! the right end is what trusted ones have written, and whatever a stranger sent stands left of it.
//! `Forwarded` (RFC 7239) is not read: no front sets it unless told to, and one that does not know it
//! passes a stranger's on.

use std::net::{IpAddr, SocketAddr};

use adit_common::net::socket::Peer;
use http::{HeaderMap, HeaderName};

use crate::config::trusted::TrustedProxies;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Where a request comes from that `peer` sends: the right-most address that is no trusted proxy's,
/// or the left-most if all are. `peer` itself, when it is not trusted, says nothing, or writes
/// something that is no address.
pub(crate) fn origin(peer: Peer, headers: &HeaderMap, trusted: &TrustedProxies) -> Peer {
    if !trusted.trusts(peer) {
        return peer;
    }
    let fields = headers.get_all(FORWARDED_FOR).iter().rev();
    let addresses = fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b','));
    let mut origin = peer;
    for address in addresses {
        match read(address) {
            Some(hop) => origin = hop,
            None => return peer,
        }
        if !trusted.trusts(origin) {
            return origin;
        }
    }
    origin
}

/// `192.0.2.7`, `192.0.2.7:5000`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:5000`; and `unix:`, as
/// nginx names whoever came by a Unix socket.
fn read(written: &[u8]) -> Option<Peer> {
    let written = str::from_utf8(written).ok()?.trim();
    if written == "unix:" {
        return Some(Peer::Unix);
    }
    let bracketed = || written.strip_prefix('[')?.strip_suffix(']');
    let address = written.parse::<SocketAddr>().ok().or_else(|| {
        let ip: IpAddr = bracketed().unwrap_or(written).parse().ok()?;
        let brackets_fit = ip.is_ipv6() || bracketed().is_none();
        brackets_fit.then(|| SocketAddr::new(ip, 0))
    });
    address.map(Peer::from)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::config::trusted::Trusted;

    fn trusted() -> TrustedProxies {
        let networks = ["10.0.0.0/8", "fd00::/8", "unix"];
        let parsed = networks.map(|text| text.parse::<Trusted>().unwrap());
        parsed.into_iter().collect()
    }

    fn peer(text: &str) -> Peer {
        text.parse::<SocketAddr>().unwrap().into()
    }

    fn origin_of(peer: Peer, fields: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for field in fields {
            let value = HeaderValue::from_bytes(field.as_bytes()).unwrap();
            headers.append(FORWARDED_FOR, value);
        }
        origin(peer, &headers, &trusted()).to_string()
    }

    #[test]
    fn the_right_most_that_is_not_trusted() {
        for (fields, is) in [
            (&[][..], "10.0.0.1:9"),
            (&["192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7:5000"], "192.0.2.7:5000"),
            (&["[2001:db8::1]:5000"], "[2001:db8::1]:5000"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["::ffff:192.0.2.7"], "192.0.2.7"),
            (&["[::ffff:192.0.2.7]:5000"], "192.0.2.7:5000"),
            // What a stranger wrote stays left of what the front saw.
            (&["127.0.0.1, 192.0.2.7"], "192.0.2.7"),
            (&["rubbish, 192.0.2.7"], "192.0.2.7"),
            (&["10.9.9.9, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
            (&["192.0.2.7 ,\t10.0.0.2,::ffff:10.0.0.3"], "192.0.2.7"),
            (&["127.0.0.1", "192.0.2.7", "10.0.0.2"], "192.0.2.7"),
            (&["192.0.2.7, unix:"], "192.0.2.7"),
            // All of them are trusted: one of those asks for itself.
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ] {
            assert_eq!(origin_of(peer("10.0.0.1:9"), fields), is, "{fields:?}");
        }
        assert_eq!(origin_of(Peer::Unix, &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(origin_of(Peer::Unix, &[]), "unix");
    }

    #[test]
    fn what_is_no_address_is_the_front_itself() {
        for field in [
            "",
            "unknown",
            "192.0.2.7,",
            "192.0.2.7, ",
            "192.0.2",
            "[192.0.2.7]",
            "192.0.2.7:99999",
            "fe80::1%eth0",
            "\"192.0.2.7\"",
            "192.0.2.7, x, 10.0.0.2",
            "\u{e9}",
        ] {
            assert_eq!(origin_of(peer("10.0.0.1:9"), &[field]), "10.0.0.1:9");
        }
    }

    #[test]
    fn nobody_else_is_believed() {
        for stranger in ["192.0.2.1:9", "127.0.0.1:9", "[2001:db8::2]:9"] {
            assert_eq!(origin_of(peer(stranger), &["192.0.2.7"]), stranger);
        }
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
            any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).to_ipv6_mapped().into()),
            any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits).into()),
        ]
    }

    proptest! {
        #[test]
        fn whatever_strangers_write_the_front_is_believed(
            rubbish in "[ -~]{0,40}", stranger in address(), port: u16, with_port: bool, hops in 0usize..4,
        ) {
            prop_assume!(!trusted().has(stranger));
            let written = match with_port && port > 0 {
                true => SocketAddr::new(stranger, port).to_string(),
                false => stranger.to_string(),
            };
            let hops = ", 10.1.2.3".repeat(hops);
            let field = format!("{rubbish}, {written}{hops}");
            let is = SocketAddr::new(stranger, if with_port { port } else { 0 });
            prop_assert_eq!(
                origin_of(peer("10.0.0.1:9"), &[&field]),
                Peer::from(is).to_string()
            );
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(Peer::Ip(address)) = read(&bytes) {
                prop_assert_eq!(address.ip(), address.ip().to_canonical());
            }
        }
    }
}
