//! Who is asked.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};

use super::names;

/// For one question to one server, which is asked once more.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Asks one server, or those of the system.
pub(super) struct Resolver {
    resolver: TokioResolver,
    ndots: usize,
    search: Vec<Name>,
    /// `/etc/hosts`; the one server is asked for what it says itself.
    hosts: Option<Hosts>,
}

impl Resolver {
    /// It blocks: without a server, the system's configuration is read.
    ///
    /// # Errors
    /// What is wrong with the system's configuration.
    pub(super) fn new(server: Option<SocketAddr>) -> Result<Self, String> {
        let (config, mut options, hosts) = match server {
            Some(server) => {
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![alone(server)]);
                (config, ResolverOpts::default(), None)
            }
            None => {
                let (config, options) = system_conf::read_system_conf()
                    .map_err(|error| format!("/etc/resolv.conf: {error}"))?;
                (
                    config,
                    options,
                    Some(Hosts::from_system().unwrap_or_default()),
                )
            }
        };
        options.timeout = ANSWERS_WITHIN;
        options.attempts = 1;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let (ndots, search) = (options.ndots, config.search().to_vec());
        let provider = TokioRuntimeProvider::default();
        let resolver = TokioResolver::builder_with_config(config, provider)
            .with_options(options)
            .build()
            .map_err(|error| format!("no resolver: {error}"))?;
        Ok(Self {
            resolver,
            ndots,
            search,
            hosts,
        })
    }

    /// Such records of the first of the names meant that has any.
    ///
    /// # Errors
    /// None has, and one of them could not be asked for: then nobody knows.
    pub(super) async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, String> {
        let mut failure = None;
        let names = names::meant(name, self.ndots, &self.search)?;
        if let Some(known) = self.host(name, kind) {
            return Ok(known);
        }
        for name in names {
            match self.resolver.lookup(name.clone(), kind).await {
                Ok(answer) => {
                    // An alias on the way there comes with the answer.
                    let records = answer.answers().iter().map(|record| &record.data);
                    let records = records.filter(|data| data.record_type() == kind);
                    let records: Vec<RData> = records.cloned().collect();
                    if !records.is_empty() {
                        return Ok(records);
                    }
                }
                Err(error) if error.is_no_records_found() => {}
                Err(error) => {
                    failure.get_or_insert_with(|| format!("{kind} of {name}: {error}"));
                }
            }
        }
        failure.map_or(Ok(Vec::new()), Err)
    }

    fn host(&self, name: &str, kind: RecordType) -> Option<Vec<RData>> {
        let name = Name::from_str_relaxed(name).ok()?;
        let known = self.hosts.as_ref()?;
        let known = known.lookup_static_host(&Query::query(name, kind))?;
        let records = known.answers().iter().map(|record| record.data.clone());
        Some(records.collect())
    }
}

fn alone(server: SocketAddr) -> NameServerConfig {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut config.connections {
        connection.port = server.port();
    }
    config
}
