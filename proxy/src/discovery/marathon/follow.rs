//! The round: every app, every so often.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::members::Members;
use crate::config::query::MarathonSource;
use crate::discovery::{Found, Report};

/// Tells where the apps' tasks are, for ever. Dropping it closes its connections.
pub(crate) async fn follow(source: MarathonSource, report: Report) {
    let mut follower = Follower {
        source,
        members: None,
        told: HashSet::new(),
    };
    loop {
        let begun = Instant::now();
        match follower.round().await {
            Ok(found) => report.found(found).await,
            Err(why) => report.failed(why).await,
        }
        sleep_until(begun + follower.spread()).await;
    }
}

struct Follower {
    source: MarathonSource,
    members: Option<Members>,
    /// Apps that were warned of.
    told: HashSet<String>,
}

impl Follower {
    /// A tenth more or less, so that not all proxies ask at once.
    fn spread(&self) -> Duration {
        self.source.refresh.mul_f64(0.9 + 0.2 * fastrand::f64())
    }

    /// An app that cannot be asked for is a failure of all: without its tasks the list would be a lie.
    async fn round(&mut self) -> Result<Vec<Found>, String> {
        let mut members = match self.members.take() {
            Some(members) => members,
            None => self.made().await?,
        };
        let found = self.all(&mut members).await;
        self.members = Some(members);
        found
    }

    async fn made(&self) -> Result<Members, String> {
        let source = self.source.clone();
        let made = tokio::task::spawn_blocking(move || Members::new(&source)).await;
        // It neither panics nor is aborted.
        made.unwrap_or_else(|error| Err(error.to_string()))
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
