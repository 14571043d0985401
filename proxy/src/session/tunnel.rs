//! From an upgraded connection to an HTTP/2 one with the roles turned round.

use std::sync::Arc;

use adit_common::tunnel::goodbye::{End, Ending};
use adit_common::tunnel::settings;
use adit_common::tunnel::stream::TunnelStream;
use adit_common::tunnel::tasks::Tasks;
use adit_common::tunnel::traffic::Traffic;
use adit_common::tunnel::watchdog::Liveness;
use hyper::client::conn::http2::{Connection, SendRequest};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::carrier::RequestBody;

/// The HTTP/2 connection of a tunnel: polled until it ends, for as long as anything is sent in it.
pub(super) type Driver =
    Connection<TokioIo<TunnelStream<TokioIo<hyper::upgrade::Upgraded>>>, RequestBody, Tasks>;

/// A tunnel before anybody knows what its client offers.
pub(super) struct Tunnel {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) driver: Driver,
    pub(super) tasks: Tasks,
    pub(super) traffic: Arc<Traffic>,
    pub(super) ending: Ending,
}

impl Tunnel {
    /// Waits for the upgrade and speaks HTTP/2 in it.
    /// Its client's messages have `max_message` bytes at most.
    pub(super) async fn open(
        upgrade: OnUpgrade,
        liveness: Liveness,
        max_message: usize,
    ) -> Result<Self, String> {
        let upgraded = upgrade.await.map_err(|error| error.to_string())?;
        let (traffic, ending) = (Arc::new(Traffic::default()), Ending::default());
        let stream = TunnelStream::with_limit(
            TokioIo::new(upgraded),
            Role::Server,
            liveness,
            Arc::clone(&traffic),
            ending.clone(),
            max_message,
        )
        .await;
        let tasks = Tasks::default();
        let handshake = settings::proxy_end(tasks.clone()).handshake(TokioIo::new(stream));
        match handshake.await {
            Ok((sender, driver)) => Ok(Self {
                sender,
                driver,
                tasks,
                traffic,
                ending,
            }),
            Err(error) => {
                tasks.end();
                let error = error.to_string();
                Err(ending.end().map_or(error, End::to_string))
            }
        }
    }
}
