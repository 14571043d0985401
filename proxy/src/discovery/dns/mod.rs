//! A name in the DNS.
//!
//! [`resolver`] asks whoever is to be asked for each record, [`names`] is what a short name may stand for,
//! and [`records`] is what is made of the answers. A name that does not exist, or has no such records, has
//! no backends; whatever else comes instead of an answer is a failure. DNS has no order: the same answer is
//! always the same list.

mod names;
mod resolver;
mod records;

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::time::timeout;

use self::resolver::Resolver;
use super::turns::{self, blocking};
use super::{Found, Report};
use crate::config::query::{DnsRecords, DnsSource};

/// For all questions of one look.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks it up again and again. It never ends.
pub(super) async fn follow(source: DnsSource, report: Report) {
    loop {
        report.say(look(&source, &report).await).await;
        turns::next(source.refresh, 0.1).await;
    }
}

async fn look(source: &DnsSource, report: &Report) -> Result<Vec<Found>, String> {
    // Made anew each time: what the system says of its resolvers changes, and a look is meant as one,
    // whatever is still held for its TTL. Whoever asks for less load has a resolver that holds it.
    let server = source.server;
    let resolver = blocking(report, move || Resolver::new(server)).await??;
    match timeout(PATIENCE, found(source, &resolver)).await {
        Ok(found) => found,
        Err(_) => Err(format!("{}: no answer within {PATIENCE:?}", source.name)),
    }
}

async fn found(source: &DnsSource, resolver: &Resolver) -> Result<Vec<Found>, String> {
    let name = &source.name;
    let addresses = match source.records {
        DnsRecords::Srv => {
            let answers = resolver.ask(name, RecordType::SRV).await?;
            return records::services(answers, source);
        }
        DnsRecords::A => resolver.ask(name, RecordType::A).await?,
        DnsRecords::Aaaa => resolver.ask(name, RecordType::AAAA).await?,
        DnsRecords::Addresses => {
            let (four, six) = tokio::join!(
                resolver.ask(name, RecordType::A),
                resolver.ask(name, RecordType::AAAA)
            );
            // Half of an answer would take the other half's backends away.
            [four?, six?].concat()
        }
    };
    let addresses: Vec<IpAddr> = addresses.iter().filter_map(RData::ip_addr).collect();
    records::addresses(addresses, source)
}

#[cfg(test)]
#[path = "../../../../tests/src/dnsmasq.rs"]
#[allow(unreachable_pub, reason = "it is another crate's")]
mod dnsmasq;
#[cfg(test)]
mod tests;
