//! The pools there are.

use std::sync::{Arc, PoisonError, RwLock};

use super::{Common, Pool};
use crate::config::query::Query;
use crate::query::asked::Memory;

/// Every pool, in the order of the configuration.
#[derive(Debug)]
pub(crate) struct Pools {
    common: Common,
    pools: RwLock<Arc<Vec<Arc<Pool>>>>,
}

/// A pool, and what is asked of it.
#[derive(Debug)]
pub(crate) struct Below {
    pub(crate) pool: Arc<Pool>,
    /// The path below its prefix, with its slash.
    pub(crate) path: String,
}

impl Pools {
    /// Starts those of the configuration.
    pub(crate) fn start(query: &Query, common: Common) -> Self {
        let pools = query.pools.iter();
        let pools = pools.map(|config| Arc::new(Pool::start(config, &common)));
        Self {
            pools: RwLock::new(Arc::new(pools.collect())),
            common,
        }
    }

    /// What is held by all of them together.
    pub(crate) fn memory(&self) -> &Memory {
        &self.common.memory
    }

    pub(crate) fn current(&self) -> Arc<Vec<Arc<Pool>>> {
        Arc::clone(&self.pools.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these. One that is the same goes on, with all it knows.
    pub(crate) fn replace(&self, query: &Query) {
        let before = self.current();
        let mut pools = Vec::new();
        for config in &query.pools {
            let named = before.iter().find(|p| p.config().name == config.name);
            pools.push(match named {
                Some(pool) if pool.config() == config => Arc::clone(pool),
                Some(pool) => Arc::new(pool.again(config, &self.common)),
                None => Arc::new(Pool::start(config, &self.common)),
            });
        }
        *self.pools.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pools);
    }

    /// Reads the files of every backend again, those of pools that are the same. It blocks.
    pub(crate) fn read_again(&self) {
        for pool in self.current().iter() {
            for member in pool.members().iter() {
                member.backend.read_again();
            }
        }
    }

    /// Who answers to this host and path: before all others a pool that names the host, and then the one
    /// with the longest prefix.
    pub(crate) fn find(&self, host: Option<&str>, path: &str) -> Option<Below> {
        let host = host.map(without_port).unwrap_or_default();
        let pools = self.current();
        let fits = |pool: &&Arc<Pool>| {
            let config = pool.config();
            let named = config.hosts.iter();
            let mut named = named.map(|each| each.eq_ignore_ascii_case(host));
            (config.hosts.is_empty() || named.any(|is| is)) && below(config, path).is_some()
        };
        let rank = |pool: &&Arc<Pool>| {
            let config = pool.config();
            (!config.hosts.is_empty(), config.path_prefix.len())
        };
        // The first of equals, not the last.
        let pool = pools.iter().rev().filter(fits).max_by_key(rank)?;
        let path = below(pool.config(), path)?.to_owned();
        Some(Below {
            pool: Arc::clone(pool),
            path,
        })
    }
}

/// Whole segments only; the prefix itself is its root.
fn below<'a>(config: &crate::config::query::Pool, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(config.path_prefix.as_str())?;
    match rest {
        "" => Some("/"),
        rest => rest.starts_with('/').then_some(rest),
    }
}

/// `prom.example:9090` and `[::1]:9090` without what stands behind the last colon outside of brackets.
fn without_port(host: &str) -> &str {
    let end = host.rfind(']').map_or(0, |end| end + 1);
    let colon = host[end..].rfind(':').map(|at| end + at);
    host[..colon.unwrap_or(host.len())].trim_end_matches('.')
}
