//! From a URL to the byte stream of a tunnel.

use std::sync::Arc;
use std::time::Duration;

use adit_common::net::dial::dial;
use adit_common::tunnel::goodbye::Ending;
use adit_common::tunnel::stream::TunnelStream;
use adit_common::tunnel::traffic::Traffic;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::through::through;
use super::upgrade::{By, Unopened, upgrade};
use super::wire::Wire;
use crate::Client;
use crate::config::ProxyUrl;
use crate::identity::Identity;
use crate::routes::Hop;

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
    let settings = client.settings();
    let wire = reach(proxy, settings.routes.hop(proxy), identity, deadline).await?;
    let wire = secure(proxy, identity, wire, deadline).await?;
    let upgraded = upgrade(&client.instance, proxy, identity, wire, deadline).await?;
    let ending = Ending::default();
    let stream = TunnelStream::new(
        TokioIo::new(upgraded),
        Role::Client,
        client.liveness,
        Arc::new(Traffic::default()),
        ending.clone(),
    )
    .await;
    Ok(Opened { stream, ending })
}

/// A connection to the proxy, straight or through the HTTP proxy on the way.
pub(crate) async fn reach(
    proxy: &ProxyUrl,
    hop: Option<&Hop>,
    identity: &Identity,
    deadline: Instant,
) -> Result<Box<dyn Wire>, Unopened> {
    let Some(hop) = hop else {
        let name = proxy.address.name.as_str();
        let dialled = dial(name, proxy.address.port, None, deadline).await;
        let (tcp, address) = dialled.map_err(Unopened::failed)?;
        tracing::debug!(%address, "connected");
        return Ok(Box::new(tcp));
    };
    let by = By::HttpProxy(hop.url.to_string());
    let failed = |error: String| Unopened::Failed(format!("{by} {error}"));
    let name = hop.url.address.name.as_str();
    let dialled = dial(name, hop.url.address.port, None, deadline).await;
    let (tcp, address) = dialled.map_err(|error| failed(error.to_string()))?;
    tracing::debug!(http_proxy = %hop.url, %address, "connected to the HTTP proxy");
    let authorization = match identity.hop_authorization() {
        None => hop.authorization.clone(),
        own => own,
    };
    let destination = proxy.address.to_string();
    let wire: Box<dyn Wire> = match hop.url.tls {
        false => Box::new(tcp),
        true => {
            let connector = identity.hop_tls.connector().await;
            let connector = connector.map_err(|error| failed(error.to_string()))?;
            let tls = connector.connect(name, tcp, deadline).await;
            Box::new(tls.map_err(|error| failed(error.to_string()))?)
        }
    };
    let through = through(&hop.url, authorization, &destination, wire, deadline).await?;
    Ok(Box::new(through))
}

/// With TLS over it, where the URL says so.
pub(crate) async fn secure(
    proxy: &ProxyUrl,
    identity: &Identity,
    wire: Box<dyn Wire>,
    deadline: Instant,
) -> Result<Box<dyn Wire>, Unopened> {
    if !proxy.tls {
        return Ok(wire);
    }
    let connector = identity.tls.connector().await.map_err(Unopened::failed)?;
    let name = proxy.address.name.as_str();
    let tls = connector.connect(name, wire, deadline).await;
    Ok(Box::new(tls.map_err(Unopened::failed)?))
}
