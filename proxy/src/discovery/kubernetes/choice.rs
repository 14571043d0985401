//! Backends of what the cluster has.

use std::collections::HashSet;
use std::net::Ipv6Addr;

use super::object::{Address, Group};
use crate::config::query::KubernetesSource;
use crate::config::query::url::BackendUrl;
use crate::discovery::Found;

/// What is made of all groups.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Ordered by the names of pods, so that the first stays the first.
    pub(super) found: Vec<Found>,
    /// Addresses that have no such port.
    pub(super) without_port: usize,
}

/// Makes backends of these groups. A pod that has an address of each family is one backend.
pub(super) fn choose<'a>(
    groups: impl Iterator<Item = &'a Group>,
    source: &KubernetesSource,
) -> Choice {
    let mut without_port = 0;
    let mut places = Vec::new();
    for group in groups {
        match port(group, source.port.as_deref()) {
            Some(port) => places.extend(group.addresses.iter().map(|address| (address, port))),
            None => without_port += group.addresses.len(),
        }
    }
    places.sort_by_key(|(address, port)| order(address, *port));
    let mut pods = HashSet::new();
    let mut addresses = HashSet::new();
    places.retain(|(address, port)| {
        let pod = address.pod.as_ref();
        pod.is_none_or(|(_, uid)| pods.insert((uid, *port)))
            && addresses.insert((&address.host, *port))
    });
    let found = places.into_iter().filter_map(|(address, port)| {
        let url = url(&address.host, port, source)?;
        Some(Found::new(url, &source.manner))
    });
    Choice {
        found: found.collect(),
        without_port,
    }
}

/// By pod; IPv4 first, which every pod network has that has both.
fn order(address: &Address, port: u16) -> (&str, bool, &str, u16) {
    let pod = address.pod.as_ref().map_or("", |(name, _)| name.as_str());
    (pod, is_ipv6(&address.host), &address.host, port)
}

fn is_ipv6(host: &str) -> bool {
    host.parse::<Ipv6Addr>().is_ok()
}

/// Which of a group's ports is meant.
fn port(group: &Group, wanted: Option<&str>) -> Option<u16> {
    let mut ports = group.ports.iter();
    let Some(wanted) = wanted else {
        return ports.next().map(|port| port.number);
    };
    // A name has a letter in it (RFC 6335 §5.1).
    let Ok(number) = wanted.parse::<u16>() else {
        let port = ports.find(|port| port.name.as_deref() == Some(wanted));
        return port.map(|port| port.number);
    };
    let declared = group.open || ports.any(|port| port.number == number);
    (declared && number != 0).then_some(number)
}

/// `None` for what is no address at all.
fn url(host: &str, port: u16, source: &KubernetesSource) -> Option<BackendUrl> {
    let scheme = source.scheme.as_str();
    let prefix = source.path_prefix.trim_matches('/');
    let slash = if prefix.is_empty() { "" } else { "/" };
    let url = match is_ipv6(host) {
        true => format!("{scheme}://[{host}]:{port}{slash}{prefix}"),
        false => format!("{scheme}://{host}:{port}{slash}{prefix}"),
    };
    url.parse()
        .map_err(|error| tracing::debug!(host, %error, "kubernetes: no backend's address"))
        .ok()
}

#[cfg(test)]
mod tests {
    use adit_common::target::Scheme;

    use super::super::follow::tests::source;
    use super::super::object::Port;
    use super::*;
    use crate::config::query::KubernetesSelect;

    fn address(host: &str, pod: &str) -> Address {
        let pod = (!pod.is_empty()).then(|| (pod.to_owned(), format!("uid-{pod}")));
        Address {
            host: host.to_owned(),
            pod,
        }
    }

    fn group(addresses: &[(&str, &str)], ports: &[(&str, u16)]) -> Group {
        let ports = ports.iter().map(|(name, number)| Port {
            name: Some((*name).to_owned()),
            number: *number,
        });
        Group {
            addresses: addresses.iter().map(|(ip, pod)| address(ip, pod)).collect(),
            ports: ports.collect(),
            open: false,
        }
    }

    fn chosen(groups: &[Group], port: Option<&str>) -> (Vec<String>, usize) {
        let mut source = source(KubernetesSelect::Service("x".to_owned()));
        source.port = port.map(str::to_owned);
        let choice = choose(groups.iter(), &source);
        let urls = choice.found.iter().map(|found| found.url.to_string());
        (urls.collect(), choice.without_port)
    }

    /// Case 50.
    #[test]
    fn a_port_is_meant_by_name_by_number_or_is_the_first() {
        let groups = [
            group(&[("10.0.0.1", "")], &[("web", 9090), ("grpc", 10901)]),
            group(&[("10.0.0.2", "")], &[("grpc", 10901), ("web", 9091)]),
        ];
        for (port, urls, without) in [
            (
                None,
                ["http://10.0.0.1:9090", "http://10.0.0.2:10901"].as_slice(),
                0,
            ),
            (
                Some("web"),
                &["http://10.0.0.1:9090", "http://10.0.0.2:9091"],
                0,
            ),
            (
                Some("10901"),
                &["http://10.0.0.1:10901", "http://10.0.0.2:10901"],
                0,
            ),
            (Some("9091"), &["http://10.0.0.2:9091"], 1),
            // M14: never port 0.
            (Some("no-such"), &[], 2),
            (Some("0"), &[], 2),
        ] {
            let (found, left) = chosen(&groups, port);
            assert_eq!(found, urls, "{port:?}");
            assert_eq!(left, without, "{port:?}");
        }
    }

    #[test]
    fn a_port_that_no_container_declares_is_taken_where_that_may_be() {
        let closed = group(&[("10.0.0.1", "p-0")], &[]);
        let open = Group {
            open: true,
            ..closed.clone()
        };
        assert_eq!(chosen(&[closed], Some("9090")).1, 1);
        let (found, _) = chosen(std::slice::from_ref(&open), Some("9090"));
        assert_eq!(found, ["http://10.0.0.1:9090"]);
        for port in [None, Some("web"), Some("0")] {
            assert_eq!(chosen(std::slice::from_ref(&open), port), (vec![], 1));
        }
    }

    #[test]
    fn a_pod_of_both_families_is_one_backend() {
        let groups = [
            group(&[("fd00::1", "p-1"), ("fd00::2", "p-0")], &[("web", 9090)]),
            group(&[("10.0.0.1", "p-1"), ("fd00::3", "")], &[("web", 9090)]),
            // The same once more, as while a slice is being replaced by another.
            group(&[("10.0.0.1", "p-1"), ("fd00::3", "")], &[("web", 9090)]),
        ];
        let (found, _) = chosen(&groups, None);
        assert_eq!(
            found,
            [
                "http://[fd00::3]:9090",
                "http://[fd00::2]:9090",
                "http://10.0.0.1:9090"
            ]
        );
    }

    #[test]
    fn scheme_and_path_are_the_sources() {
        let mut source = source(KubernetesSelect::Service("x".to_owned()));
        source.scheme = Scheme::Https;
        let groups = [group(
            &[("prometheus.example", ""), ("a b", "")],
            &[("web", 9090)],
        )];
        for prefix in ["/prom", "prom", "/prom/"] {
            source.path_prefix = prefix.to_owned();
            let found = choose(groups.iter(), &source).found;
            assert_eq!(found.len(), 1, "and no backend of what is no address");
            assert_eq!(
                found[0].url.to_string(),
                "https://prometheus.example:9090/prom"
            );
        }
    }
}
