//! For whom a front says that it asks.
//!
//! An input is `P` and the start of a connection, or `F` and two lines: what a stranger wrote into
//! `X-Forwarded-For`, and what the fronts behind have made of it.
#![no_main]

use std::sync::LazyLock;

use adit_common::net::socket::Peer;
use adit_proxy::config::trusted::{Trusted, TrustedProxies};
use adit_proxy::fuzzing;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

static TRUSTED: LazyLock<TrustedProxies> = LazyLock::new(|| {
    let networks = ["10.0.0.0/8", "fd00::/8", "unix"];
    let parsed = networks.map(|text| text.parse::<Trusted>().unwrap());
    parsed.into_iter().collect()
});

fuzz_target!(|data: &[u8]| {
    match data {
        [b'P', bytes @ ..] => proxy_header(bytes),
        [b'F', lines @ ..] => forwarded_for(lines),
        _ => {}
    }
});

/// What has been found out stays so, whatever follows, and needs no more than it takes.
fn proxy_header(bytes: &[u8]) {
    let whole = fuzzing::proxy_header(bytes);
    let mut found = None;
    for end in 0..=bytes.len().min(600) {
        let now = fuzzing::proxy_header(&bytes[..end]);
        assert!(found.is_none() || now == found);
        if let (None, Some(Ok((length, _)))) = (found, now) {
            assert_eq!(length, end);
        }
        found = now;
    }
    assert!(found.is_none() || whole == found);
    if let Some(Ok((length, _))) = whole {
        assert!((1..=bytes.len()).contains(&length));
    }
}

/// Nobody makes himself another by what he writes.
fn forwarded_for(lines: &[u8]) {
    let Some(end) = lines.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (stranger, fronts) = (&lines[..end], &lines[end + 1..]);
    let front: Peer = "10.0.0.1:9".parse::<std::net::SocketAddr>().unwrap().into();
    let (Some(alone), Some(both), Some(apart)) = (
        origin(front, &[fronts]),
        origin(front, &[&[stranger, b",", fronts].concat()]),
        origin(front, &[stranger, fronts]),
    ) else {
        return;
    };
    assert_eq!(both, apart);
    if !TRUSTED.trusts(alone) {
        assert_eq!(both, alone);
    }
    if let Some(ip) = both.ip() {
        assert_eq!(ip, ip.to_canonical());
    }
    let other: Peer = "192.0.2.1:9"
        .parse::<std::net::SocketAddr>()
        .unwrap()
        .into();
    assert_eq!(origin(other, &[fronts]), Some(other));
}

fn origin(peer: Peer, fields: &[&[u8]]) -> Option<Peer> {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append("x-forwarded-for", HeaderValue::from_bytes(field).ok()?);
    }
    Some(fuzzing::origin(peer, &headers, &TRUSTED))
}
