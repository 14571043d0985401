//! Requests for a target that a front proxy made look like requests for us.
//!
//! nginx, Caddy and Apache send `GET http://pi:9100/metrics` on as `GET /metrics` with `Host:
//! pi:9100` (RFC 9112 §3.2.2 has them do so). Answered with our own metrics it would be a target that
//! is up, with another's numbers.

use adit_common::name::Name;
use http::header::{FORWARDED, HOST, HeaderMap, HeaderName, VIA};
use http::uri::Authority;

use crate::Proxy;
use crate::config::external::ExternalUrl;

/// What a front proxy leaves on a request it passed.
const TRACES: [HeaderName; 4] = [
    FORWARDED,
    VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
];

/// For whom a request for a page of ours was meant, if not for us.
pub(super) fn misdirected(proxy: &Proxy, headers: &HeaderMap) -> Option<Authority> {
    let host: Authority = headers.get(HOST)?.to_str().ok()?.parse().ok()?;
    let ours = Ours {
        external: proxy.config.external_url.as_ref(),
        ports: proxy.config.ports().collect(),
    };
    let is_forwarded = TRACES.iter().any(|trace| headers.contains_key(trace));
    let is_routed = |name: &Name| proxy.registry.has(name);
    (!ours.is_meant(&host, is_forwarded, is_routed)).then_some(host)
}

/// What we are called.
struct Ours<'a> {
    external: Option<&'a ExternalUrl>,
    /// Where we listen.
    ports: Vec<u16>,
}

impl Ours<'_> {
    /// Whether `host` is us, as far as anybody can tell.
    fn is_meant(
        &self,
        host: &Authority,
        is_forwarded: bool,
        is_routed: impl Fn(&Name) -> bool,
    ) -> bool {
        // What is no name routes nowhere, either.
        let Ok(name) = Name::parse(host.host()) else {
            return true;
        };
        let is_loopback = name.as_str() == "localhost"
            || name.ip().is_some_and(|ip| ip.to_canonical().is_loopback());
        let external = self.external.map(|url| url.authority.host());
        if is_loopback || external.is_some_and(|host| Name::parse(host).as_ref() == Ok(&name)) {
            return true;
        }
        match is_forwarded {
            // Who knows what a front calls us knows what it does not.
            true => external.is_none() && !is_routed(&name),
            // A machine that runs both programs has one name for both.
            false => !is_routed(&name) || self.ports.contains(&host.port_u16().unwrap_or(80)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_told_from_us() {
        let external: ExternalUrl = "https://adit.example/adit".parse().unwrap();
        let (us, them) = (true, false);
        for (host, is_forwarded, without_url, with_url) in [
            // The URL's host, in any spelling.
            ("adit.example", true, us, us),
            ("ADIT.example.:8443", true, us, us),
            // A client's name, and one that is no client's yet.
            ("pi:9100", true, them, them),
            ("PI", true, them, them),
            ("[fd00::1]:9100", true, them, them),
            ("nas:9100", true, us, them),
            ("10.0.0.1:9100", true, us, them),
            // Nobody passed it on.
            ("pi:9100", false, them, them),
            ("pi:8080", false, us, us),
            ("nas:9100", false, us, us),
            ("adit.monitoring.svc:8080", false, us, us),
            // Who is on this machine, or a front that says nothing better.
            ("localhost:9100", true, us, us),
            ("127.0.0.1:8080", true, us, us),
            ("[::1]:8080", false, us, us),
            ("a..b", true, us, us),
        ] {
            let host: Authority = host.parse().unwrap();
            let routed = |name: &Name| ["pi", "fd00::1", "localhost"].contains(&name.as_str());
            for (external, meant) in [(None, without_url), (Some(&external), with_url)] {
                let ours = Ours {
                    external,
                    ports: vec![8080],
                };
                let is_meant = ours.is_meant(&host, is_forwarded, routed);
                assert_eq!(is_meant, meant, "{host} {is_forwarded} {external:?}");
            }
        }
    }

    #[test]
    fn the_url_may_have_a_clients_name() {
        let external: ExternalUrl = "https://pi/adit".parse().unwrap();
        let ours = Ours {
            external: Some(&external),
            ports: Vec::new(),
        };
        for host in ["pi", "pi:9100"] {
            assert!(ours.is_meant(&host.parse().unwrap(), true, |_| true));
        }
    }
}
