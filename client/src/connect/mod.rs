//! A tunnel to every proxy: dialled, kept, moved, and dialled again when it is lost.
//!
//! 1. [`Keepers::follow`] sees to it that every proxy that is configured has a keeper, and no other.
//! 2. [`keeper`] is the life of one: wait, dial, serve, and again; while a proxy goes away, the next
//!    tunnel is dialled before the last one is closed. Never more than two at once.
//! 3. [`dial`] opens a connection, straight or [`through`] the HTTP proxy that `crate::routes` finds on
//!    the way, with TLS where the URL says so, and [`upgrade`] asks for the WebSocket in it. Both
//!    are one request by a connection of its own ([`asking`]) over any [`wire`].
//! 4. [`tunnel`] runs a session in it, for as long as both ends want.
//!
//! What stands in the way of a tunnel is remembered by [`trouble`], for whoever asks.

mod keeper;

mod wire;
mod asking;

mod through;
mod dial;
mod upgrade;

mod tunnel;

mod trouble;

/// The steps of a dial by themselves, for who wants to know how far it comes.
pub(crate) mod steps {
    pub(crate) use super::dial::{reach, secure};
    pub(crate) use super::upgrade::{Unopened, upgrade};
}

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::keeper::Keeper;
pub(crate) use self::trouble::Troubles;
use crate::Client;
use crate::config::ProxyUrl;

/// Tunnels to one proxy at once: one that serves, and one before or after it.
const MOST_TUNNELS: usize = 2;
/// Between the first dials of two proxies.
const STAGGER: Duration = Duration::from_millis(100);

/// Whoever keeps a tunnel to a proxy, by its URL. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keepers(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// Of the keeper that starts next.
    number: u64,
    /// Removed by each keeper at its end.
    kept: HashMap<ProxyUrl, Kept>,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    leaving: CancellationToken,
    /// A permit for each tunnel; outlives its keeper where the proxy is configured again before the
    /// last tunnel to it has ended.
    slots: Arc<Semaphore>,
}

impl Keepers {
    /// Starts a keeper for every proxy that is configured and has none, and tells those of others
    /// to let what is under way finish and end.
    pub(crate) fn follow(&self, client: &Arc<Client>) {
        let proxies = &client.settings().proxies;
        let mut table = self.lock();
        for (proxy, kept) in &table.kept {
            if !proxies.contains(proxy) && !kept.leaving.is_cancelled() {
                tracing::info!(%proxy, "proxy is configured no longer");
                kept.leaving.cancel();
            }
        }
        let mut first = Duration::ZERO;
        for proxy in proxies {
            let before = table.kept.get(proxy);
            if before.is_some_and(|kept| !kept.leaving.is_cancelled()) {
                continue;
            }
            let slots = match before {
                Some(kept) => Arc::clone(&kept.slots),
                None => Arc::new(Semaphore::new(MOST_TUNNELS)),
            };
            table.number += 1;
            let kept = Kept {
                number: table.number,
                leaving: client.stop.draining().child_token(),
                slots,
            };
            self.start(client, proxy, &kept, first);
            table.kept.insert(proxy.clone(), kept);
            first += STAGGER;
        }
    }

    fn start(&self, client: &Arc<Client>, proxy: &ProxyUrl, kept: &Kept, first: Duration) {
        let keeper = Keeper::new(
            Arc::clone(client),
            proxy.clone(),
            kept.leaving.clone(),
            Arc::clone(&kept.slots),
        );
        client.metrics.know(&proxy.to_string());
        let span = tracing::info_span!("proxy", %proxy);
        let (keepers, number) = (self.clone(), kept.number);
        let (client_, proxy) = (Arc::clone(client), proxy.clone());
        let keeping = async move {
            keeper.run(first).await;
            keepers.ended(&client_, &proxy, number);
        };
        client.stop.spawn(keeping.instrument(span));
    }

    /// All tunnels of that keeper have ended.
    fn ended(&self, client: &Client, proxy: &ProxyUrl, number: u64) {
        let mut table = self.lock();
        if table.kept.get(proxy).is_some_and(|k| k.number == number) {
            table.kept.remove(proxy);
            client.metrics.forget(&proxy.to_string());
            client.troubles.clear(&proxy.to_string());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
