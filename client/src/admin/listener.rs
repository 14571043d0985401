//! Accepting who asks for a page: a place, TLS where the web configuration says so, HTTP.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use adit_common::net::listen::Listener;
use adit_common::net::socket::{Peer, Socket};
use adit_common::web_config::Secured;
use axum::Router;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tower_service::Service;

use super::visitors::Visitor;
use crate::Client;

/// Connections at once: a Prometheus, a probe, and somebody who looks.
const CONNECTIONS: usize = 64;
/// For a handshake: whoever asks is close.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For a request's head, and between requests.
const IDLE: Duration = Duration::from_secs(360);
/// Between two attempts to accept after a failure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Starts answering on every address.
pub(super) fn serve(client: &Arc<Client>, listeners: Vec<Listener>, router: &Router) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    for listener in listeners {
        let accepting = accept(
            Arc::clone(client),
            listener,
            router.clone(),
            Arc::clone(&permits),
        );
        client.stop.spawn_until_draining(accepting);
    }
}

async fn accept(client: Arc<Client>, listener: Listener, router: Router, permits: Arc<Semaphore>) {
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((socket, peer)) => {
                let answering = answer(Arc::clone(&client), socket, peer, router.clone(), permit);
                client.stop.spawn_until_draining(answering);
            }
            Err(error) => {
                tracing::warn!(address = %listener.local(), err = %error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(
    client: Arc<Client>,
    socket: Socket,
    peer: Peer,
    router: Router,
    _permit: OwnedSemaphorePermit,
) {
    let Some((socket, is_certified)) = secure(&client, socket, peer).await else {
        return;
    };
    let visitor = Visitor { peer, is_certified };
    let service = service_fn(|request: Request<Incoming>| {
        let (client, mut router) = (Arc::clone(&client), router.clone());
        async move {
            let answer = match visitor.check(&client, request.headers()).await {
                Ok(()) => router.call(request).await?,
                Err(denied) => denied.into_response(),
            };
            Ok::<_, Infallible>(with_headers(answer, &client.web.current().headers))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(socket), service);
    if let Err(error) = connection.await {
        tracing::debug!(err = %error, "connection ended");
    }
}

fn with_headers(mut answer: Response, headers: &HeaderMap) -> Response {
    for (name, value) in headers {
        answer.headers_mut().insert(name, value.clone());
    }
    answer
}

/// With TLS where it is asked for; and whether a certificate was verified.
async fn secure(client: &Client, socket: Socket, peer: Peer) -> Option<(Secured, bool)> {
    let web = client.web.current();
    let Some(tls) = &web.tls else {
        return Some((Secured::Plain(socket), false));
    };
    match tls.accept(socket, Instant::now() + HANDSHAKE).await {
        Ok(accepted) => Some((accepted.stream.into(), accepted.names.is_verified())),
        Err(error) => {
            tracing::debug!(%peer, reason = %error, "no TLS");
            None
        }
    }
}
