//! The round: a list, then what changes, until only a list helps; and again.
//!
//! A watch that ends is begun anew where it was: nothing is lost, and nothing is told. What cannot be
//! asked is told as a failure, and the same backends are told again as soon as it can.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use adit_common::backoff::Backoff;
use tokio::time::{Instant, sleep};

use super::api::{Api, ApiError, Watch};
use super::choice::choose;
use super::resource::Resource;
use super::store::{Stop, Store};
use super::surroundings::{self, Surroundings};
use crate::config::query::KubernetesSource;
use crate::discovery::{Found, Report, turns};

/// How long a watch lasts.
#[derive(Debug, Clone)]
struct Pace {
    /// As it is asked for, in seconds; between the two by chance, so that not all begin anew at once.
    watch: Range<u64>,
    /// After that, a server that has not ended it is taken for dead.
    margin: Duration,
}

const PACE: Pace = Pace {
    watch: 240..330,
    margin: Duration::from_secs(30),
};

/// Files are read sooner than that.
const PROMPT: Duration = Duration::from_secs(5);

/// Tells which pods there are, for ever. Dropping it closes its connections.
pub(crate) async fn follow(source: KubernetesSource, report: Report) {
    let surroundings = Surroundings::own();
    Follower::new(source, report, surroundings, PACE)
        .run()
        .await;
}

struct Follower {
    source: KubernetesSource,
    report: Report,
    surroundings: Surroundings,
    pace: Pace,
    backoff: Backoff,
    api: Option<Arc<Api>>,
    /// What was told last, unless it was a failure.
    told: Option<Vec<Found>>,
    /// That addresses without the port were warned of.
    warned: bool,
    /// Versions that had expired, without a word of a watch in between.
    expired: u32,
}

impl Follower {
    fn new(
        source: KubernetesSource,
        report: Report,
        surroundings: Surroundings,
        pace: Pace,
    ) -> Self {
        Self {
            source,
            report,
            surroundings,
            pace,
            backoff: Backoff::default(),
            api: None,
            told: None,
            warned: false,
            expired: 0,
        }
    }

    async fn run(&mut self) {
        loop {
            match self.round().await {
                Stop::Expired => {
                    self.expired += 1;
                    // A list is at once too old where a server is in trouble.
                    if self.expired == 1 {
                        continue;
                    }
                }
                Stop::Failed(why) => self.failed(why).await,
            }
            sleep(self.backoff.next_wait()).await;
        }
    }

    async fn failed(&mut self, why: String) {
        self.told = None;
        self.report.failed(why).await;
    }

    /// From a list to the next that is needed.
    async fn round(&mut self) -> Stop {
        let (resource, mut store) = match self.list().await {
            Ok(listed) => listed,
            Err(ApiError::Expired) => return Stop::Expired,
            Err(error) => return Stop::Failed(error.to_string()),
        };
        self.tell(&store).await;
        loop {
            let mut watch = match self.watch(resource, &store).await {
                Ok(watch) => watch,
                Err(ApiError::Expired) => return Stop::Expired,
                Err(ApiError::Failed(why)) => {
                    self.failed(why).await;
                    sleep(self.backoff.next_wait()).await;
                    continue;
                }
                Err(error) => return Stop::Failed(error.to_string()),
            };
            let begun = Instant::now();
            // Once more after a failure: they are believed again.
            self.tell(&store).await;
            if let Err(stop) = self.watched(&mut watch, &mut store).await {
                return stop;
            }
            self.backoff.ended(Some(begun));
            sleep(self.backoff.next_wait()).await;
        }
    }

    /// Follows a watch to its end, whatever that is.
    async fn watched(&mut self, watch: &mut Watch, store: &mut Store) -> Result<(), Stop> {
        loop {
            let events = match watch.next().await {
                Ok(Some(events)) => events,
                Ok(None) => return Ok(()),
                Err(why) => {
                    tracing::debug!(%why, "kubernetes: watch broken off");
                    return Ok(());
                }
            };
            let mut changed = false;
            for event in events {
                changed |= store.take(event)?;
                self.expired = 0;
            }
            if changed {
                self.tell(store).await;
            }
        }
    }

    /// Of the kinds that tell the same the first that the server has and lets us see.
    async fn list(&mut self) -> Result<(Resource, Store), ApiError> {
        let api = self.api().await?;
        let (mut forbidden, mut absent) = (None, None);
        for resource in Resource::of(&self.source.select) {
            match api.list(*resource, &self.source).await {
                Ok(store) => {
                    tracing::debug!(server = api.cluster().server, %resource, "kubernetes: listed");
                    return Ok((*resource, store));
                }
                // The first has the words that help: the others are what older servers have.
                Err(ApiError::Forbidden(why)) => forbidden = forbidden.or(Some(why)),
                Err(ApiError::Absent(why)) => absent = absent.or(Some(why)),
                Err(error) => return Err(error),
            }
        }
        // There is at least one kind.
        Err(ApiError::Failed(forbidden.or(absent).unwrap_or_default()))
    }

    async fn watch(&mut self, resource: Resource, store: &Store) -> Result<Watch, ApiError> {
        let api = self.api().await?;
        let time = Duration::from_secs(fastrand::u64(self.pace.watch.clone()));
        let margin = self.pace.margin;
        api.watch(resource, &self.source, store.version(), time, margin)
            .await
    }

    /// As the files say now; connections are kept when they say the same.
    async fn api(&mut self) -> Result<Arc<Api>, ApiError> {
        let (kubeconfig, surroundings) =
            (self.source.kubeconfig.clone(), self.surroundings.clone());
        let before = self.api.clone();
        let begun = Instant::now();
        let read = turns::blocking(&self.report, move || {
            let cluster = surroundings::cluster(kubeconfig.as_deref(), &surroundings)?;
            match before {
                Some(api) if *api.cluster() == cluster => Ok(api),
                _ => Api::new(cluster).map(Arc::new),
            }
        });
        let api = read.await.and_then(|api| api);
        if begun.elapsed() > PROMPT {
            // A failure may have been told meanwhile.
            self.told = None;
        }
        let api = api.map_err(ApiError::Failed)?;
        self.api = Some(Arc::clone(&api));
        Ok(api)
    }

    async fn tell(&mut self, store: &Store) {
        let choice = choose(store.groups(), &self.source);
        if choice.without_port > 0 && !self.warned {
            tracing::warn!(
                namespace = self.source.namespace,
                port = self.source.port.as_deref().unwrap_or("(the first)"),
                addresses = choice.without_port,
                "kubernetes: no such tcp port, so these are left out: give the port's name or number"
            );
        }
        self.warned = choice.without_port > 0;
        if self.told.as_ref() != Some(&choice.found) {
            self.report.found(choice.found.clone()).await;
            self.told = Some(choice.found);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
