//! CONNECT: bytes both ways between the tunnel and an offered target.

use std::sync::Arc;
use std::time::Duration;

use adit_common::deadline::Deadline;
use adit_common::fault::Report;
use adit_common::net::socket::Socket;
use adit_common::tunnel::relay::relay;
use http::{Request, Response};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::body::Answer;
use super::{Carrier, LONGEST_SCRAPE};
use crate::Client;
use crate::policy::Asked;
use crate::upstream::Turn;

/// Without a byte either way for so long it is forgotten by whoever opened it: Prometheus closes
/// idle connections to targets after five minutes.
const IDLE: Duration = Duration::from_secs(900);

/// Dials the target and answers 200; from then on bytes go both ways until the stream or the
/// tunnel ends.
pub(super) async fn connect(
    client: &Arc<Client>,
    carrier: Carrier,
    mut request: Request<Incoming>,
    deadline: Deadline,
) -> Result<Response<Answer>, Report> {
    let target = super::target(&request, None)?;
    let upstream = client.settings().offer.admit(&target, Asked::Connect)?;
    // Of the dial alone: what is carried then has no end that we could know.
    let deadline = super::capped(deadline, &upstream);
    let turn = upstream.connect_turn(&target)?;
    client.metrics.upstream_dials.inc();
    let socket = upstream.dial(&target, deadline.instant()).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    let terms = Terms {
        leaving: carrier.leaving,
        withdrawn: upstream.withdrawn().clone(),
        _turn: turn,
    };
    let carrying = carry(Arc::clone(client), socket, upgrade, terms);
    carrier.tasks.spawn(carrying);
    Ok(Response::new(Either::Left(Empty::new())))
}

/// What ends a CONNECT from our side.
struct Terms {
    leaving: CancellationToken,
    withdrawn: CancellationToken,
    /// Ends with the rest.
    _turn: Turn,
}

async fn carry(client: Arc<Client>, socket: Socket, upgrade: OnUpgrade, terms: Terms) {
    // Fails when the stream was reset before our 200 left.
    let Ok(tunnel) = upgrade.await else {
        return;
    };
    let _open = Open::count(client);
    let hurry = terms.leaving.child_token();
    let relaying = relay(socket, TokioIo::new(tunnel), IDLE, hurry.clone());
    // A scrape under way may finish. But a scraper that asks often is never idle, and one that asks
    // by a connection of old must not have the target for ever.
    let withdrawn = async {
        terms.withdrawn.cancelled().await;
        hurry.cancel();
        sleep(LONGEST_SCRAPE).await;
    };
    tokio::select! {
        ended = relaying => match ended {
            Ok((sent, received)) => tracing::debug!(sent, received, "CONNECT ended"),
            Err(error) => tracing::debug!(err = %error, "CONNECT broke off"),
        },
        () = withdrawn => tracing::debug!("CONNECT cut: its target is offered no longer"),
    }
}

/// Counted until it is dropped, which the end of the tunnel does as well.
struct Open(Arc<Client>);

impl Open {
    fn count(client: Arc<Client>) -> Self {
        client.metrics.connects_open.inc();
        Self(client)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.connects_open.dec();
    }
}
