//! The round: every app, every so often.

use std::collections::HashSet;

use super::members::Members;
use crate::config::query::MarathonSource;
use crate::discovery::{Found, Report, turns};

/// A tenth more or less, so that not all proxies ask at once.
const SPREAD: f64 = 0.1;

/// Tells where the apps' tasks are, for ever. Dropping it closes its connections.
pub(crate) async fn follow(source: MarathonSource, report: Report) {
    let mut follower = Follower {
        source,
        members: None,
        told: HashSet::new(),
    };
    loop {
        let word = follower.round(&report).await;
        report.say(word).await;
        turns::next(follower.source.refresh, SPREAD).await;
    }
}

struct Follower {
    source: MarathonSource,
    members: Option<Members>,
    /// Apps that were warned of.
    told: HashSet<String>,
}

impl Follower {
    /// An app that cannot be asked for is a failure of all: without its tasks the list would be a lie.
    async fn round(&mut self, report: &Report) -> Result<Vec<Found>, String> {
        let mut members = match self.members.take() {
            Some(members) => members,
            None => self.made(report).await?,
        };
        let found = self.all(&mut members).await;
        self.members = Some(members);
        found
    }

    async fn made(&self, report: &Report) -> Result<Members, String> {
        let source = self.source.clone();
        turns::blocking(report, move || Members::new(&source)).await?
    }

    async fn all(&mut self, members: &mut Members) -> Result<Vec<Found>, String> {
        let (mut all, mut without) = (Vec::new(), HashSet::new());
        for id in &self.source.apps {
            let app = members.app(id).await;
            let app = app.map_err(|why| format!("app {id}: {why}"))?;
            let found = match &app {
                None => Vec::new(),
                Some(app) => app.backends(self.source.port.as_deref(), &self.source.manner),
            };
            let tasks = app.as_ref().map_or(0, |app| app.tasks());
            if found.is_empty() {
                if !self.told.contains(id) {
                    let exists = app.is_some();
                    tracing::warn!(app = id, exists, tasks, "marathon: no backend in this app");
                }
                without.insert(id.clone());
            }
            all.extend(found);
        }
        self.told = without;
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
