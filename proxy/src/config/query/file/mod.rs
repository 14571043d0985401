//! How the query side is written: the key `query` of the file.
//!
//! 1. [`pool`] has a pool's keys. Its [`backends`] are written down, or found by [`sources`] and
//!    [`clusters`]; [`manner`] is how they are spoken to.
//! 2. [`strategy`] says which of them is best and who stays with whom, [`care`] how they are watched,
//!    when another one is asked, and what is let through.
//! 3. [`values`] are single values.
//!
//! What is left out has the defaults of [`Pool::new`](super::Pool::new). Errors name the pool and the
//! key: `query.pools[main].health.interval: 0s is not between …`.

mod values;

mod manner;
mod backends;
mod clusters;
mod sources;

mod care;
mod strategy;

mod pool;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use self::backends::FileBackend;
use self::pool::FilePool;
use self::values::check_name;
use super::{Pool, Query, QueryFlags};

/// The only pool's name, unless it has another.
const MAIN: &str = "main";

/// The key `query`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileQuery {
    /// The short form: one pool, with these backends and every default.
    backends: Vec<FileBackend>,
    pools: Vec<FilePool>,
}

impl FileQuery {
    /// What is meant, with the files found that it names, which are beside it in `directory`, and with
    /// what flags say. No body may be larger than `query_memory`. It blocks.
    ///
    /// # Errors
    /// Which key cannot be used, and why.
    pub(crate) fn resolve(
        self,
        directory: &Path,
        flags: &QueryFlags,
        query_memory: usize,
    ) -> Result<Query, String> {
        let both = |key: &str| {
            Err(format!(
                "--query.backend and query.{key} of --config.file exclude each other: keep one"
            ))
        };
        let named = |error: String| format!("query.{error}");
        let is_written = !self.backends.is_empty() || !self.pools.is_empty();
        if let Some(pool) = &flags.mpp {
            if is_written || !flags.backends.is_empty() {
                return Err(
                    "--compat.mpp: mpp's flags say where the backends are: leave out \
                     --query.backend, and query in --config.file"
                        .to_owned(),
                );
            }
            let pools = vec![Arc::clone(pool)];
            return Ok(Query { pools });
        }
        let pools = match (self.backends.is_empty(), self.pools.is_empty()) {
            (false, false) => {
                return Err(
                    "query: backends and pools exclude each other: backends is short for one \
                            pool called main"
                        .to_owned(),
                );
            }
            (_, false) if !flags.backends.is_empty() => return both("pools"),
            (false, _) if !flags.backends.is_empty() => return both("backends"),
            (true, true) if flags.backends.is_empty() => Vec::new(),
            (true, true) => {
                let pool = FilePool::of(
                    flags
                        .backends
                        .iter()
                        .cloned()
                        .map(FileBackend::of)
                        .collect(),
                );
                let pool = pool.resolve(MAIN, directory, query_memory);
                vec![pool.map_err(|error| format!("--query.backend: {error}"))?]
            }
            (false, true) => {
                let pool = FilePool::of(self.backends);
                vec![pool.resolve(MAIN, directory, query_memory).map_err(named)?]
            }
            (true, false) => several(self.pools, directory, query_memory)?,
        };
        flags.check(&pools)?;
        Ok(Query {
            pools: in_order(pools),
        })
    }
}

fn several(
    written: Vec<FilePool>,
    directory: &Path,
    query_memory: usize,
) -> Result<Vec<Pool>, String> {
    let is_only = written.len() == 1;
    let mut pools: Vec<Pool> = Vec::new();
    for (index, pool) in written.into_iter().enumerate() {
        let name = match (&pool.name, is_only) {
            (Some(name), _) => name.clone(),
            (None, true) => MAIN.to_owned(),
            (None, false) => {
                return Err(format!(
                    "query.pools[{index}].name: is missing: only a single pool needs none"
                ));
            }
        };
        check_name(&name).map_err(|error| format!("query.pools[{index}].{error}"))?;
        let named = |error: String| format!("query.pools[{name}].{error}");
        let pool = pool
            .resolve(&name, directory, query_memory)
            .map_err(named)?;
        pools.push(pool);
    }
    apart(&pools)?;
    Ok(pools)
}

/// No two pools of one name, and no two that answer to the same.
fn apart(pools: &[Pool]) -> Result<(), String> {
    let mut names = HashMap::new();
    let mut places = HashMap::new();
    for pool in pools {
        if names.insert(&*pool.name, ()).is_some() {
            return Err(format!("query.pools: two are called {}", pool.name));
        }
        let hosts = pool.hosts.iter().map(|host| Some(&**host));
        let all = pool.hosts.is_empty().then_some(None);
        for host in hosts.chain(all) {
            let place = (host, &*pool.path_prefix);
            if let Some(other) = places.insert(place, &pool.name) {
                let host = host.unwrap_or("every host");
                let path = if pool.path_prefix.is_empty() {
                    "/"
                } else {
                    &pool.path_prefix
                };
                return Err(format!(
                    "query.pools: {other} and {} both answer to {host} at {path}: give one of them \
                     other hosts or another path_prefix",
                    pool.name
                ));
            }
        }
    }
    Ok(())
}

/// Who answers to less goes first: those with hosts, and of them those further below.
fn in_order(mut pools: Vec<Pool>) -> Vec<Arc<Pool>> {
    pools.sort_by_key(|pool| (pool.hosts.is_empty(), Reverse(pool.path_prefix.len())));
    pools.into_iter().map(Arc::new).collect()
}
