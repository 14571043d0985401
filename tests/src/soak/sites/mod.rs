//! Clients, each at a site of its own: a relay to every proxy, some names, and a life of being
//! stopped, killed, started and told of other targets.
//!
//! [`offer`] is what a site offers, as its client's file has it; [`running`] is a client, in this
//! process or as a program.
//!
//! A client that another instance has replaced stays away for minutes, as it should. Here the
//! operator restarts it, when the other has gone.

mod offer;
mod running;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::chance::Chance;
use super::world::World;
use crate::network::Relay;

pub(super) use self::offer::Offer;
use self::running::Running;
pub(super) use self::running::{Kind, Up, flags};

/// Seconds between two events at one site, on average.
const EVENT_EVERY: f64 = 90.0;
/// How often the operator looks.
const LOOK: Duration = Duration::from_secs(2);
/// Orders that wait.
const QUEUE: usize = 8;

/// A site, as others see it.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) id: String,
    pub(super) kind: Kind,
    /// What leads to each proxy.
    pub(super) relays: Vec<Arc<Relay>>,
    /// Another instance claims its names: the operator waits.
    pub(super) contested: AtomicBool,
    /// The client, while it is up.
    pub(super) up: watch::Receiver<Option<Up>>,
    offer: watch::Receiver<Offer>,
    orders: mpsc::Sender<Order>,
}

/// What a site is told from outside.
#[derive(Debug)]
struct Order {
    offer: Offer,
    done: oneshot::Sender<()>,
}

/// Who does it.
pub(super) struct Keeper {
    world: Arc<World>,
    site: Arc<Site>,
    chance: Chance,
    config: PathBuf,
    running: Option<Running>,
    up: watch::Sender<Option<Up>>,
    offer: watch::Sender<Offer>,
    orders: mpsc::Receiver<Order>,
}

impl Site {
    /// Starts its client; returns when it is accepted by one proxy.
    pub(super) async fn start(
        world: &Arc<World>,
        id: String,
        kind: Kind,
        offer: Offer,
        folder: &std::path::Path,
    ) -> (Arc<Self>, Keeper) {
        let mut relays = Vec::new();
        for proxy in &world.proxies {
            relays.push(Arc::new(Relay::start(*proxy).await));
        }
        let (up, seen) = watch::channel(None);
        let (orders, queue) = mpsc::channel(QUEUE);
        let offer = watch::Sender::new(offer);
        let site = Arc::new(Self {
            relays,
            kind,
            contested: AtomicBool::new(false),
            up: seen,
            offer: offer.subscribe(),
            orders,
            id: id.clone(),
        });
        let mut keeper = Keeper {
            world: Arc::clone(world),
            site: Arc::clone(&site),
            chance: world.chance(&id),
            config: folder.join(format!("{id}.yml")),
            running: None,
            up,
            offer,
            orders: queue,
        };
        keeper.write();
        keeper.up().await;
        (site, keeper)
    }

    /// What its client dials.
    fn urls(&self) -> Vec<String> {
        self.relays.iter().map(|relay| relay.url()).collect()
    }

    /// What it offers now.
    pub(super) fn offer(&self) -> Offer {
        self.offer.borrow().clone()
    }

    /// Tells it to offer something else; returns when its client was told, if one is up.
    pub(super) async fn offers(&self, offer: Offer) {
        let (done, told) = oneshot::channel();
        if self.orders.send(Order { offer, done }).await.is_ok() {
            // An error: the run is over.
            let _ = told.await;
        }
    }
}

impl Keeper {
    /// Keeps the site for as long as it is polled; after the faults only as an operator.
    pub(super) async fn keep(mut self) {
        let world = Arc::clone(&self.world);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = Box::pin(sleep(self.chance.until_next(EVENT_EVERY)));
        loop {
            tokio::select! {
                () = &mut next, if world.rages() => {
                    self.event().await;
                    next = Box::pin(sleep(self.chance.until_next(EVENT_EVERY)));
                }
                Some(order) = self.orders.recv() => self.obey(order).await,
                _ = looks.tick() => self.look().await,
            }
        }
    }

    async fn event(&mut self) {
        match self.chance.number(0..10) {
            0..4 => self.restart("client told to stop, and started", true).await,
            4..8 => self.restart("client killed, and started", false).await,
            _ => {
                self.world
                    .change(&self.site.id, "client's configuration reloaded");
                self.reload().await;
            }
        }
    }

    async fn restart(&mut self, what: &str, politely: bool) {
        self.world.change(&self.site.id, what);
        self.down(politely).await;
        // Half of them at once, as systemd does.
        if self.chance.often(0.5) {
            sleep(self.chance.time(0.0..6.0)).await;
        }
        self.up().await;
        self.world.chronicle.note(&self.site.id, "up again");
    }

    async fn obey(&mut self, order: Order) {
        for name in order.offer.names() {
            self.world.owners.set(&name, &self.site.id);
        }
        let words = format!("offers {} from now on", order.offer);
        self.world.chronicle.note(&self.site.id, words);
        self.offer.send_replace(order.offer);
        self.write();
        self.reload().await;
        // Whoever ordered may have left.
        let _ = order.done.send(());
    }

    /// Restarts a client that was told by a proxy that another instance has its names, when that
    /// is over: it would not dial for minutes.
    async fn look(&mut self) {
        let Some(running) = &self.running else { return };
        let urls = self.site.urls();
        if !self.site.contested.load(Ordering::Relaxed) && running.was_replaced(&urls).await {
            self.restart("client restarted, having been replaced", true)
                .await;
        }
    }

    async fn reload(&mut self) {
        if let Some(running) = &self.running {
            running.reload(&self.world, &self.site.id).await;
        }
    }

    async fn up(&mut self) {
        for name in self.offer.borrow().names() {
            self.world.owners.set(&name, &self.site.id);
        }
        let urls = self.site.urls();
        let running = Running::start(self.site.kind, &urls, &self.config).await;
        self.up.send_replace(Some(running.up()));
        self.running = Some(running);
    }

    async fn down(&mut self, politely: bool) {
        self.up.send_replace(None);
        if let Some(running) = self.running.take() {
            let log = self.config.with_extension("log");
            running
                .stop(&self.world, &self.site.id, politely, &log)
                .await;
        }
    }

    fn write(&self) {
        let text = self.offer.borrow().file();
        std::fs::write(&self.config, text).expect("a folder of our own");
    }
}
