//! Everybody, from their gathering to their end.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::moves;
use super::plan::Polling;
use super::proxies::Proxy;
use super::pushprox::Poller;
use super::scrapers::Scrapers;
use super::settle::Expected;
use super::sites::{Kind, Offer, Site};
use super::tally::say;
use super::target::{self, Manners};
use super::weather::{self, Silence};
use super::world::{self, World};
use crate::network::Relay;

/// How often a line is said while nothing is wrong.
const NEWS: Duration = Duration::from_secs(30);

/// Everybody.
pub(super) struct Storm {
    world: Arc<World>,
    folder: PathBuf,
    proxies: Vec<Proxy>,
    sites: Vec<Arc<Site>>,
    /// What leads from each PushProx client to its proxy.
    pollers: Vec<(String, usize, Arc<Relay>)>,
    /// Targets and clients, until this is dropped.
    keepers: JoinSet<()>,
}

impl Storm {
    /// Starts the targets and the proxies, without a fault so far.
    pub(super) async fn gather(
        world: &Arc<World>,
        listeners: Vec<TcpListener>,
        folder: &Path,
    ) -> Self {
        let mut keepers = JoinSet::new();
        for (place, listener) in world.places.iter().zip(listeners) {
            let manners = Manners {
                id: place.id.clone(),
                for_pushprox: place.only_by.is_some(),
            };
            keepers.spawn(target::keep(Arc::clone(world), manners, listener));
        }
        let mut proxies = Vec::new();
        for index in 0..world.proxies.len() {
            proxies.push(Proxy::start(world, index, folder).await);
        }
        Self {
            world: Arc::clone(world),
            folder: folder.to_owned(),
            proxies,
            sites: Vec::new(),
            pollers: Vec::new(),
            keepers,
        }
    }

    /// Starts a client at a site for each of these.
    pub(super) async fn sites(&mut self, offers: Vec<Offer>) {
        for (number, offer) in offers.into_iter().enumerate() {
            let kinds = [Kind::Program, Kind::Here];
            let kind = kinds[number % kinds.len()];
            let id = format!("s{number:02}");
            let start = Site::start(&self.world, id, kind, offer, &self.folder);
            let (site, keeper) = start.await;
            self.keepers.spawn(keeper.keep());
            self.sites.push(site);
        }
    }

    /// Starts PushProx clients.
    pub(super) async fn pollers(&mut self, pollers: Vec<Polling>) {
        for Polling {
            name,
            proxy,
            upstream,
        } in pollers
        {
            let poller = Poller::start(&self.world, &name, proxy, upstream).await;
            self.pollers.push((name, proxy, Arc::clone(&poller.relay)));
            self.keepers.spawn(poller.keep());
        }
    }

    /// Who should be there when nothing is wrong.
    pub(super) fn expected(&self) -> Expected<'_> {
        Expected {
            world: &self.world,
            sites: &self.sites,
            pollers: (0..self.world.proxies.len())
                .map(|proxy| {
                    self.pollers
                        .iter()
                        .filter(|(_, at, _)| *at == proxy)
                        .count()
                })
                .collect(),
            processes: self.proxies.iter().map(Proxy::process).collect(),
        }
    }

    /// Everything at once for so long; returns when every fault has ended.
    pub(super) async fn rage(&mut self, scrapers: &Arc<Scrapers>, count: usize, time: Duration) {
        let world = &self.world;
        world.well_behaved.store(false, Ordering::Relaxed);
        let turn = Arc::new(Semaphore::new(1));
        let mut proxies = JoinSet::new();
        for proxy in self.proxies.drain(..) {
            proxies.spawn(proxy.keep(Arc::clone(&turn)));
        }
        let mut faults = self.faults();
        let stop = CancellationToken::new();
        let mut scraping = JoinSet::new();
        for number in 0..count {
            scraping.spawn(Arc::clone(scrapers).keep(number, stop.clone()));
        }
        self.wait(time).await;
        world.calm.cancel();
        stop.cancel();
        // Whoever panicked was noted by the hook.
        while scraping.join_next().await.is_some() {}
        while faults.join_next().await.is_some() {}
        while let Some(proxy) = proxies.join_next().await {
            self.proxies.extend(proxy.ok());
        }
        self.proxies.sort_by_key(Proxy::index);
        world.well_behaved.store(true, Ordering::Relaxed);
    }

    /// Everything that goes wrong but by itself, until there shall be calm.
    fn faults(&self) -> JoinSet<()> {
        let shared = || Arc::clone(&self.world);
        let mut faults = JoinSet::new();
        for site in &self.sites {
            for (proxy, relay) in site.relays.iter().enumerate() {
                let who = world::way(&site.id, proxy);
                let relay = Arc::clone(relay);
                faults.spawn(weather::keep(shared(), who, relay, Silence::ForGood));
            }
        }
        for (name, proxy, relay) in &self.pollers {
            let who = world::way(name, *proxy);
            let relay = Arc::clone(relay);
            faults.spawn(weather::keep(shared(), who, relay, Silence::FoundOut));
        }
        faults.spawn(moves::keep_moving(shared(), self.sites.clone()));
        faults.spawn(moves::keep_claiming(shared(), self.sites.clone()));
        faults
    }

    async fn wait(&self, time: Duration) {
        let end = Instant::now() + time;
        let mut next = Instant::now() + NEWS;
        while next < end {
            sleep_until(next).await;
            let at = self.world.chronicle.seconds(std::time::Instant::now());
            say(&format!("{at:6.0}s: {}", self.world.tally.line()));
            next += NEWS;
        }
        sleep_until(end).await;
    }

    /// Stops everybody in good order.
    pub(super) async fn end(mut self) {
        for proxy in &mut self.proxies {
            proxy.stop().await;
        }
        self.keepers.shutdown().await;
        let chronicle = self.world.chronicle.all();
        // Only of use when something was wrong.
        let _ = std::fs::write(self.folder.join("chronicle"), chronicle);
    }
}
