//! PushProx clients beside Adit's, each with one name at one proxy, behind a relay of its own.
//!
//! They are fakes that do what the released one does. Their network never falls silent for good: the
//! released client would wait for ever on a poll that nobody answers, were it not for the kernel's
//! keep-alive, and here that is the weather's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::world::World;
use crate::network::Relay;
use crate::pushprox::{FakePushProx, Loss};

/// How many there are.
pub(super) const POLLERS: usize = 4;
/// Seconds between two events at one of them, on average.
const EVENT_EVERY: f64 = 40.0;
/// As the flags of the released one: it waits half or one and a half times as long.
const RETRY: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(2)];

/// A PushProx client before it polls.
pub(super) struct Poller {
    world: Arc<World>,
    name: String,
    upstream: SocketAddr,
    /// What leads to its proxy.
    pub(super) relay: Arc<Relay>,
    running: Option<FakePushProx>,
}

impl Poller {
    /// One that polls for `name` at a proxy.
    pub(super) async fn start(
        world: &Arc<World>,
        name: &str,
        proxy: usize,
        upstream: SocketAddr,
    ) -> Self {
        let mut poller = Self {
            relay: Arc::new(Relay::start(world.proxies[proxy]).await),
            world: Arc::clone(world),
            name: name.to_owned(),
            upstream,
            running: None,
        };
        poller.up();
        poller
    }

    fn up(&mut self) {
        let [initial, most] = RETRY;
        let builder = FakePushProx::builder(self.relay.address, &self.name);
        let builder = builder.upstream(self.upstream).retry(initial, most);
        self.running = Some(builder.start());
    }

    /// Keeps it for as long as this is polled; nothing happens to it any more when there is calm.
    pub(super) async fn keep(mut self) {
        let world = Arc::clone(&self.world);
        let mut chance = world.chance(&self.name);
        loop {
            sleep(chance.until_next(EVENT_EVERY)).await;
            if !world.rages() {
                continue;
            }
            if chance.often(0.5) {
                world.change(&self.name, "PushProx client ended, and started");
                self.running = None;
                sleep(chance.time(0.0..4.0)).await;
                self.up();
                world.chronicle.note(&self.name, "up again");
            } else if let Some(running) = &self.running {
                let loss = *chance.pick(&[Loss::Fin, Loss::Reset]);
                let what = format!("its connections are lost by {loss:?}");
                world.fault(&self.name, "a PushProx client's connections lost", what);
                running.cut(loss);
            }
        }
    }
}
