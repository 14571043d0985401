//! From a URL to the byte stream of a tunnel.

use std::sync::Arc;
use std::time::Duration;

use adit_common::net::dial::dial;
use adit_common::tunnel::goodbye::Ending;
use adit_common::tunnel::stream::TunnelStream;
use adit_common::tunnel::traffic::Traffic;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::upgrade::{Unopened, upgrade};
use crate::Client;
use crate::config::ProxyUrl;
use crate::identity::Identity;

/// For addresses, TLS and upgrade together: what a mobile link takes on a bad day.
const DIAL_TIME: Duration = Duration::from_secs(20);

/// A tunnel nobody has said anything in yet.
pub(super) struct Opened {
    pub(super) stream: TunnelStream<TokioIo<Upgraded>>,
    pub(super) ending: Ending,
}

/// Dials, shakes hands, upgrades as `identity`. Dropping the future closes everything.
pub(super) async fn open(
    client: &Client,
    proxy: &ProxyUrl,
    identity: &Identity,
) -> Result<Opened, Unopened> {
    let deadline = Instant::now() + DIAL_TIME;
    let name = proxy.address.name.as_str();
    let (tcp, address) = dial(name, proxy.address.port, None, deadline)
        .await
        .map_err(Unopened::failed)?;
    tracing::debug!(%address, "connected");
    let upgrading = async {
        if !proxy.tls {
            return upgrade(client, proxy, identity, tcp).await;
        }
        let connector = identity.tls.connector().await.map_err(Unopened::failed)?;
        let tls = connector.connect(name, tcp, deadline).await;
        upgrade(client, proxy, identity, tls.map_err(Unopened::failed)?).await
    };
    let Ok(upgraded) = timeout_at(deadline, upgrading).await else {
        let words = format!("no answer to the upgrade within {DIAL_TIME:?}");
        return Err(Unopened::Failed(words));
    };
    let ending = Ending::default();
    let stream = TunnelStream::new(
        TokioIo::new(upgraded?),
        Role::Client,
        client.liveness,
        Arc::new(Traffic::default()),
        ending.clone(),
    )
    .await;
    Ok(Opened { stream, ending })
}
