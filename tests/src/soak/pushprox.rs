//! PushProx clients beside Adit's, each at one proxy, through a relay of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use super::world::World;
use crate::network::Relay;
use crate::pushprox::FakePushProx;

/// How many there are.
pub(super) const POLLERS: usize = 4;

/// One of them. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Poller {
    pub(super) id: String,
    /// The number of its proxy.
    pub(super) proxy: usize,
    /// What leads there.
    pub(super) relay: Arc<Relay>,
    _client: FakePushProx,
}

impl Poller {
    /// Polls `proxy` for the name of a place, which is at `target`.
    pub(super) async fn start(
        world: &World,
        place: usize,
        proxy: usize,
        target: SocketAddr,
    ) -> Self {
        let name = &world.places[place].name;
        let relay = Arc::new(Relay::start(world.proxies[proxy]).await);
        let client = FakePushProx::start(relay.address, name, target);
        world.owners.set(name, name);
        Self {
            id: name.clone(),
            proxy,
            relay,
            _client: client,
        }
    }
}
