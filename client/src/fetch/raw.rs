//! CONNECT: bytes both ways between the tunnel and an offered target.

use std::sync::Arc;
use std::time::Duration;

use adit_common::deadline::Deadline;
use adit_common::fault::Report;
use adit_common::net::socket::Socket;
use adit_common::tunnel::relay::relay;
use adit_common::tunnel::tasks::Tasks;
use http::{Request, Response};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body::Answer;
use crate::Client;

/// Without a byte either way for so long it is forgotten by whoever opened it: Prometheus closes
/// idle connections to targets after five minutes.
const IDLE: Duration = Duration::from_secs(900);

/// Dials the target and answers 200; from then on bytes go both ways until the stream or the
/// tunnel ends.
pub(super) async fn connect(
    client: &Arc<Client>,
    tasks: Tasks,
    mut request: Request<Incoming>,
    deadline: Deadline,
) -> Result<Response<Answer>, Report> {
    let target = super::target(&request, None)?;
    let upstream = client.offer.admit(&target)?;
    client.metrics.upstream_dials.inc();
    let socket = upstream.dial(&target, deadline.instant()).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    tasks.spawn(carry(Arc::clone(client), socket, upgrade));
    Ok(Response::new(Either::Left(Empty::new())))
}

async fn carry(client: Arc<Client>, socket: Socket, upgrade: OnUpgrade) {
    // Fails when the stream was reset before our 200 left.
    let Ok(tunnel) = upgrade.await else {
        return;
    };
    let _open = Open::count(Arc::clone(&client));
    let hurry = client.stop.draining().clone();
    match relay(socket, TokioIo::new(tunnel), IDLE, hurry).await {
        Ok((sent, received)) => tracing::debug!(sent, received, "CONNECT ended"),
        Err(error) => tracing::debug!(err = %error, "CONNECT broke off"),
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
