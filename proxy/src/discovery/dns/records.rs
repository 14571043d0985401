//! Backends, from records.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;

use hickory_resolver::proto::rr::{Name, RData};

use super::super::Found;
use crate::config::query::DnsSource;
use crate::config::query::url::BackendUrl;

/// One for each address, sorted.
pub(super) fn addresses(
    mut addresses: Vec<IpAddr>,
    source: &DnsSource,
) -> Result<Vec<Found>, String> {
    addresses.sort_unstable();
    addresses.dedup();
    let found = addresses.into_iter().map(|address| {
        let authority = SocketAddr::new(address, source.port).to_string();
        Ok(Found::new(url(&authority, source)?, &source.manner))
    });
    found.collect()
}

/// One for each service (RFC 2782), sorted: lower priorities first. A weight of 0 is the least there is.
pub(super) fn services(records: Vec<RData>, source: &DnsSource) -> Result<Vec<Found>, String> {
    let mut services: Vec<_> = records
        .into_iter()
        .filter_map(|record| match record {
            // The root for a host says that there is decidedly no such service.
            RData::SRV(service) if !service.target.is_root() => Some(service),
            _ => None,
        })
        .collect();
    services.sort_unstable_by(|a, b| {
        let key = |priority, target: &Name, port| (priority, target.to_ascii(), port);
        key(a.priority, &a.target, a.port).cmp(&key(b.priority, &b.target, b.port))
    });
    services.dedup();
    let found = services.into_iter().map(|service| {
        let host = service.target.to_ascii();
        let authority = format!("{}:{}", host.trim_end_matches('.'), service.port);
        let weight = NonZero::new(u32::from(service.weight)).unwrap_or(NonZero::<u32>::MIN);
        let found = Found::new(url(&authority, source)?, &source.manner);
        Ok(found.weighing(u32::from(service.priority), weight))
    });
    found.collect()
}

fn url(authority: &str, source: &DnsSource) -> Result<BackendUrl, String> {
    let (scheme, prefix) = (source.scheme, &source.path_prefix);
    format!("{scheme}://{authority}{prefix}")
        .parse()
        .map_err(|error| format!("{}: {authority}: {error}", source.name))
}
