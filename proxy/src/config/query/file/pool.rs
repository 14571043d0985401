//! A pool, with all its keys.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use adit_common::config_file::Parsed;
use adit_common::name::Name;
use serde::Deserialize;

use super::backends::FileBackend;
use super::care::{FileAllow, FileHealth, FileHedge, FileRetry};
use super::sources::FileDiscovery;
use super::strategy::{
    FileAffinity, FileChoice, FileCookie, FileMostData, FileSourceAddress, FileStrategy,
};
use super::values::{PathPrefix, path_prefix};
use crate::config::limits::{Count, Size, Time, bounded, size};
use crate::config::query::{Pool, Source};

/// For one request.
const MOST_HELD: usize = 1 << 30;
const SHORTEST: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// As written. What is left out is [`Pool::new`]'s.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FilePool {
    /// `main`, if it is the only one.
    pub(super) name: Option<String>,
    hosts: Vec<Name>,
    path_prefix: Option<Parsed<PathPrefix>>,
    backends: Vec<FileBackend>,
    discovery: FileDiscovery,
    selection_interval: Option<Time>,
    strategy: Option<Parsed<FileStrategy>>,
    most_data: Option<FileMostData>,
    fail_back: Option<Time>,
    /// Without it `[primary]` for most-data, min-history and first-available, `[source-address]` for
    /// consistent-hash, and nobody stays with anybody for the others.
    affinity: Option<Vec<FileAffinity>>,
    cookie: Option<FileCookie>,
    source_address: Option<FileSourceAddress>,
    health: FileHealth,
    retry: FileRetry,
    hedge: Option<FileHedge>,
    allow: FileAllow,
    request_body: Option<Size>,
    response_hold: Option<Size>,
    timeout: Option<Time>,
    backend_requests: Option<Count>,
}

impl FilePool {
    /// What these backends come to, with every other key left out.
    pub(super) fn of(backends: Vec<FileBackend>) -> Self {
        Self {
            backends,
            ..Self::default()
        }
    }

    /// What is meant by it, under this name, which was looked at. It blocks.
    ///
    /// # Errors
    /// Which key, and why.
    pub(super) fn resolve(
        mut self,
        name: &str,
        directory: &Path,
        query_memory: usize,
    ) -> Result<Pool, String> {
        let default = Pool::new(name);
        let choice = FileChoice {
            strategy: self.strategy.take(),
            most_data: self.most_data.take(),
            fail_back: self.fail_back.take(),
            affinity: self.affinity.take(),
            cookie: self.cookie.take(),
            source_address: self.source_address.take(),
        };
        let prefix = path_prefix(self.path_prefix.take());
        let (strategy, affinity) = choice.resolve(&prefix)?;
        let mut hosts: Vec<String> = Vec::new();
        for host in &self.hosts {
            let host = host.as_str().to_owned();
            match hosts.contains(&host) {
                true => return Err(format!("hosts: {host} stands here twice: keep one")),
                false => hosts.push(host),
            }
        }
        let grace = self.discovery.grace.take();
        let held = |key: &str, written: Option<Size>, default: usize| {
            let bytes = bounded(key, written, default.min(query_memory), 0..=MOST_HELD)?;
            match bytes <= query_memory {
                true => Ok(bytes),
                false => Err(format!(
                    "{key}: {} is above limits.query_memory ({})",
                    size(bytes),
                    size(query_memory)
                )),
            }
        };
        Ok(Pool {
            hosts,
            path_prefix: prefix,
            grace: bounded(
                "discovery.grace",
                grace,
                default.grace,
                Duration::ZERO..=7 * DAY,
            )?,
            sources: sources(self.backends, self.discovery, directory)?,
            selection_interval: bounded(
                "selection_interval",
                self.selection_interval,
                default.selection_interval,
                SHORTEST..=HOUR,
            )?,
            health: self.health.resolve()?,
            strategy,
            affinity,
            retry: self.retry.resolve()?,
            hedge: self.hedge.map(FileHedge::resolve).transpose()?,
            allow: self.allow.resolve(),
            request_body: held("request_body", self.request_body, default.request_body)?,
            response_hold: held("response_hold", self.response_hold, default.response_hold)?,
            timeout: bounded("timeout", self.timeout, default.timeout, SHORTEST..=DAY)?,
            backend_requests: bounded(
                "backend_requests",
                self.backend_requests,
                default.backend_requests,
                1..=1_000_000,
            )?,
            ..default
        })
    }
}

/// Those that are written down first, as they are written.
fn sources(
    backends: Vec<FileBackend>,
    discovery: FileDiscovery,
    directory: &Path,
) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    let (mut urls, mut names) = (HashSet::new(), HashSet::new());
    for (index, backend) in backends.into_iter().enumerate() {
        let named = |error: String| format!("backends[{index}].{error}");
        let backend = backend.resolve(directory).map_err(named)?;
        if !urls.insert(backend.url.clone()) {
            return Err(named(format!(
                "url: {} stands here twice: keep one",
                backend.url
            )));
        }
        let name = backend
            .name
            .clone()
            .unwrap_or_else(|| backend.url.to_string());
        if !names.insert(name.clone()) {
            return Err(named(format!("name: {name} is another one's already")));
        }
        sources.push(Source::Static(backend));
    }
    sources.extend(discovery.resolve(directory)?);
    match sources.is_empty() {
        true => Err("backends: there are none: give some, or discovery".to_owned()),
        false => Ok(sources),
    }
}
