//! The way to every proxy, step by step.

use std::sync::Arc;
use std::time::Duration;

use adit_common::tunnel::goodbye::{Ending, Farewell, Goodbye};
use adit_common::tunnel::stream::TunnelStream;
use adit_common::tunnel::traffic::Traffic;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Step, target};
use crate::config::{Config, ProxyUrl};
use crate::connect::steps::{Unopened, reach, secure, upgrade};
use crate::{Client, RunError};

/// For each proxy, and for each target.
const TIME: Duration = Duration::from_secs(10);
/// For a goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// Dials every proxy and asks every target; whether all went well. Nothing is registered.
///
/// # Errors
/// What [`super::files`] finds.
pub async fn online(config: Config, tell: &mut dyn FnMut(&Step)) -> Result<bool, RunError> {
    let targets = config.targets.clone();
    let (client, _) = Client::new(config)?;
    let _end = client.stop.end_on_drop();
    let mut all = true;
    let mut tell = |step: Step| {
        all &= step.is_ok();
        tell(&step);
    };
    let settings = client.settings();
    for proxy in &settings.proxies {
        if let Err(why) = one(&client, proxy, &mut tell).await {
            tell(Step::new(format!("proxy {proxy}"), Err(why.to_string())));
        }
    }
    for one in &targets {
        let asked = target::ask(&client, one, TIME).await;
        tell(Step::new(format!("target {}", one.target), asked));
    }
    Ok(all)
}

async fn one(
    client: &Client,
    proxy: &ProxyUrl,
    tell: &mut impl FnMut(Step),
) -> Result<(), Unopened> {
    let mut done = |says: String| tell(Step::new(format!("proxy {proxy}"), Ok(says)));
    let deadline = Instant::now() + TIME;
    let settings = client.settings();
    let identity = settings.identities.last();
    let hop = settings.routes.hop(proxy);
    let wire = reach(proxy, hop, &identity, deadline).await?;
    done(match hop {
        Some(hop) => format!("connected through the HTTP proxy {}", hop.url),
        None => "connected".to_owned(),
    });
    let wire = secure(proxy, &identity, wire, deadline).await?;
    if proxy.tls {
        done("its certificate is good".to_owned());
    }
    let upgraded = upgrade(&client.instance, proxy, &identity, wire, deadline).await?;
    done("it lets us in".to_owned());
    leave(client, upgraded).await;
    Ok(())
}

/// Before a name is told. How that goes is no matter.
async fn leave(client: &Client, upgraded: Upgraded) {
    let ending = Ending::default();
    let stream = TunnelStream::new(
        TokioIo::new(upgraded),
        Role::Client,
        client.liveness,
        Arc::new(Traffic::default()),
        ending.clone(),
    );
    let mut stream = stream.await;
    ending.say(Goodbye::new(Farewell::GoingAway, "only looking"));
    let _ = timeout(GOODBYE, stream.shutdown()).await;
}
