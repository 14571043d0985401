//! What a client offers: the targets it names, and every port of its names where it says so.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use adit_common::fault::{Fault, Report};
use adit_common::name::Name;
use adit_common::net::tls::ClientTls;
use adit_common::registration::{self, Registration};
use adit_common::target::Target;
use adit_common::telemetry::version;
use bytes::Bytes;
use http::{HeaderValue, Method};
use tokio_util::sync::CancellationToken;

use super::rules::Rules;
use crate::config::{Config, SettingsError, TargetConfig, UpstreamUrl};
use crate::tls::Tls;
use crate::upstream::Upstream;

/// What a client offers.
#[derive(Debug)]
pub(crate) struct Offer {
    /// What the proxy is told.
    line: Bytes,
    targets: HashMap<Target, Offered>,
    /// Every port of these names, at localhost.
    any_port: Option<AnyPort>,
}

/// A target that is named.
#[derive(Debug)]
struct Offered {
    upstream: Upstream,
    rules: Rules,
}

/// What a target is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked<'a> {
    /// To answer a request for a path.
    Request(&'a Method, &'a str),
    /// For bytes both ways.
    Connect,
}

#[derive(Debug)]
struct AnyPort {
    names: Vec<Name>,
    tls: Tls,
    /// Made as they are asked for.
    known: Mutex<HashMap<Target, Upstream>>,
    /// For those that are not kept in there, and cancelled when nothing is kept there any more.
    withdrawn: CancellationToken,
}

/// Ports with connections kept for reuse under `--allow-any-port`; further ones work without.
const MOST_PORTS: usize = 1024;

impl Offer {
    /// What `config` offers, with its certificates read, and with the connections to targets that
    /// are as they were in `before`.
    ///
    /// # Errors
    /// Whose TLS settings cannot be used, and why; what a proxy would not take.
    pub(crate) fn new(config: &Config, before: Option<&Self>) -> Result<Self, SettingsError> {
        let line = registration(config).to_line();
        // As the proxy will look at it: too much of something is found before it is told.
        Registration::from_line(line.trim_ascii_end())?;
        let system = Tls::system();
        let mut targets = HashMap::new();
        for target in &config.targets {
            let upstream = Upstream::of(target, tls(target, &system)?, authorization(target)?);
            let rules = Rules::of(target);
            let kept = before.and_then(|before| before.find(&target.target));
            let upstream = match kept {
                // What passes bytes no longer leaves those that do behind, to be withdrawn.
                Some((kept, connect)) if rules.connect().is_ok() || !connect => {
                    upstream.continuing(&kept)
                }
                _ => upstream,
            };
            targets.insert(target.target.clone(), Offered { upstream, rules });
        }
        Ok(Self {
            line: line.into(),
            targets,
            any_port: config.allow_any_port.then(|| AnyPort {
                names: config.names.clone(),
                tls: system,
                known: Mutex::default(),
                withdrawn: CancellationToken::new(),
            }),
        })
    }

    /// The registration, a line of JSON.
    pub(crate) fn line(&self) -> &Bytes {
        &self.line
    }

    /// How many targets are named.
    pub(crate) fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Where a target really is, if it is offered and may be asked that.
    ///
    /// # Errors
    /// [`Fault::NotOffered`], naming the target and what of it.
    pub(crate) fn admit(&self, target: &Target, asked: Asked<'_>) -> Result<Upstream, Report> {
        if let Some(named) = self.targets.get(target) {
            check(target, asked, &named.rules)?;
            return Ok(named.upstream.clone());
        }
        if let Some(any) = &self.any_port
            && any.names.contains(&target.name)
        {
            // First of all: what is refused leaves nothing behind.
            check(target, asked, &Rules::any_port())?;
            return Ok(any.upstream(target));
        }
        let words = format!("{target} is not offered by this client");
        Err(Report::new(Fault::NotOffered, words))
    }

    /// In force now instead of `before`: goes on with what is known of its ports, and withdraws all
    /// that is offered no longer, or is somewhere else.
    pub(crate) fn take_over(&self, before: &Self) {
        if let Some(any) = &before.any_port {
            any.withdrawn.cancel();
        }
        for (target, upstream) in before.drain() {
            let goes_on = match (self.targets.get(&target), &self.any_port) {
                (Some(now), _) => now.upstream.continues(&upstream),
                (None, Some(any)) => any.adopt(target, &upstream),
                (None, None) => false,
            };
            if !goes_on {
                upstream.withdraw();
            }
        }
    }

    /// The upstream of a target that was named, or asked for, and whether bytes may pass to it.
    fn find(&self, target: &Target) -> Option<(Upstream, bool)> {
        if let Some(named) = self.targets.get(target) {
            return Some((named.upstream.clone(), named.rules.connect().is_ok()));
        }
        let asked = self.any_port.as_ref()?.lock().get(target).cloned();
        asked.map(|upstream| (upstream, false))
    }

    /// Every upstream; those that were asked for are known no longer.
    fn drain(&self) -> Vec<(Target, Upstream)> {
        let mut all: Vec<_> = self
            .targets
            .iter()
            .map(|(target, offered)| (target.clone(), offered.upstream.clone()))
            .collect();
        if let Some(any) = &self.any_port {
            all.extend(any.lock().drain());
        }
        all
    }
}

impl AnyPort {
    fn upstream(&self, target: &Target) -> Upstream {
        let mut known = self.lock();
        if let Some(upstream) = known.get(target) {
            return upstream.clone();
        }
        let make = |withdrawn| Upstream::localhost(target.port, self.tls.clone(), withdrawn);
        // A scrape that began just before a reload is withdrawn with the others, and known to nobody.
        if known.len() >= MOST_PORTS || self.withdrawn.is_cancelled() {
            return make(self.withdrawn.clone());
        }
        let upstream = make(CancellationToken::new());
        known.insert(target.clone(), upstream.clone());
        upstream
    }

    /// Goes on with an upstream that is what this would make; says whether it does.
    fn adopt(&self, target: Target, before: &Upstream) -> bool {
        if !self.names.contains(&target.name) {
            return false;
        }
        let make = Upstream::localhost(target.port, self.tls.clone(), CancellationToken::new());
        let upstream = make.continuing(before);
        let goes_on = upstream.continues(before);
        let mut known = self.lock();
        // One that was asked for since then stays.
        if goes_on && known.len() < MOST_PORTS && !known.contains_key(&target) {
            known.insert(target, upstream);
            return true;
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Target, Upstream>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(target: &Target, asked: Asked<'_>, rules: &Rules) -> Result<(), Report> {
    let allowed = match asked {
        Asked::Request(method, path) => rules.request(method, path),
        Asked::Connect => rules.connect().map_err(str::to_owned),
    };
    allowed.map_err(|what| Report::new(Fault::NotOffered, format!("{target}: {what}")))
}

fn tls(target: &TargetConfig, system: &Tls) -> Result<Tls, SettingsError> {
    if target.tls == ClientTls::default() {
        return Ok(system.clone());
    }
    Tls::new(&target.tls).map_err(|error| SettingsError::Tls {
        what: format!("target {}: tls", target.target),
        error,
    })
}

fn authorization(target: &TargetConfig) -> Result<Option<HeaderValue>, SettingsError> {
    let read = target.credentials.as_ref().map(|file| file.read());
    read.transpose().map_err(|error| SettingsError::Secret {
        what: format!("target {}: credentials", target.target),
        error,
    })
}

/// The hosts of targets route by themselves, or nobody could reach them.
fn registration(config: &Config) -> Registration {
    let mut names = config.names.clone();
    names.extend(config.targets.iter().map(|t| t.target.name.clone()));
    names.sort_unstable();
    names.dedup();
    let targets = config.targets.iter().map(|target| registration::Offered {
        target: target.target.clone(),
        scheme: match &target.url {
            Some(UpstreamUrl::Http { scheme, .. }) => Some(*scheme),
            _ => None,
        },
        labels: target.labels.clone(),
    });
    Registration {
        names,
        targets: targets.collect(),
        any_port: config.allow_any_port,
        labels: config.labels.clone(),
        version: version::VERSION.to_owned(),
    }
}

#[cfg(test)]
#[path = "offer_tests.rs"]
mod tests;
