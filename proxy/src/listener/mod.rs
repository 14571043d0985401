//! The way in.
//!
//! 1. [`serve`] accepts on every address: a permit first, then a connection, and the rest in a
//!    task of its own, so that one slow peer stalls nobody.
//! 2. [`patience`] sits below HTTP and says how long each phase of a connection may take.
//! 3. [`dispatch`] tells a scrape from a request for ourselves, before any router sees a path, and
//!    holds it against the roles of the address. [`answer`] is what comes back, of one type.

mod patience;

mod dispatch;

mod answer;

use std::sync::Arc;
use std::time::Duration;

use adit_common::net::listen::Listener;
use adit_common::net::socket::{Peer, Socket};
use adit_common::tunnel::settings::MAX_REQUEST_HEAD;
use adit_common::web_config::{PeerNames, Secured};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::patience::{Patient, Place};
use crate::Proxy;
use crate::auth::Visitor;
use crate::clock::Clock;
use crate::config::{Bound, Roles};

/// Between two attempts to accept after a failure, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// When we stop, a connection that has just been made may have its request under way. hyper would
/// close it, and a scrape that could have been answered would be lost.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Starts accepting on every address.
pub(crate) fn serve(proxy: &Arc<Proxy>, listeners: Vec<Bound>) {
    let permits = Arc::new(Semaphore::new(proxy.limits.connections));
    for bound in listeners {
        let accepting = accept(Arc::clone(proxy), bound, Arc::clone(&permits));
        // Work: what it hands over last must find the rest still there.
        proxy.stop.spawn_work(accepting);
    }
}

async fn accept(proxy: Arc<Proxy>, bound: Bound, permits: Arc<Semaphore>) {
    let Bound { listener, roles } = bound;
    let heard_out = proxy.is_heard_out();
    tokio::pin!(heard_out);
    loop {
        let accepting = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
            let (socket, peer) = next(&listener).await;
            Some((permit, socket, peer))
        };
        let accepted = tokio::select! {
            biased;
            accepted = accepting => accepted,
            // Who is in the queue has connected already. Then the listener is dropped, and gives its
            // address to a successor.
            () = &mut heard_out => None,
        };
        let Some((permit, socket, peer)) = accepted else {
            return;
        };
        let place = Place::take(permit, &proxy.metrics.connections);
        let connection = connection(Arc::clone(&proxy), roles, socket, peer, place);
        proxy.stop.spawn_work(connection);
    }
}

async fn next(listener: &Listener) -> (Socket, Peer) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(address = %listener.local(), err = %error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(proxy: Arc<Proxy>, roles: Roles, socket: Socket, peer: Peer, place: Place) {
    let Some((socket, names)) = secure(&proxy, socket, peer).await else {
        return;
    };
    let clock = Clock::start(&proxy.limits);
    let io = TokioIo::new(Patient::new(socket, clock.clone(), place));
    let visitor = Visitor::new(peer, names);
    let service = service_fn(|request| {
        let proxy = Arc::clone(&proxy);
        let (visitor, clock) = (visitor.clone(), clock.clone());
        async move { dispatch::dispatch(proxy, roles, visitor, clock, request).await }
    });
    let mut http = http1::Builder::new();
    let connection = http
        .timer(TokioTimer::new())
        // hyper's own counts idle time between requests too; ours tells the two apart.
        .header_read_timeout(None)
        .max_header_size(MAX_REQUEST_HEAD)
        .max_buf_size(MAX_REQUEST_HEAD * 2)
        .auto_date_header(false)
        .title_case_headers(true)
        .serve_connection(io, service)
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = proxy.stop.draining().cancelled() => {
            let first = async {
                if clock.is_fresh() {
                    tokio::time::sleep(FIRST_REQUEST).await;
                }
            };
            tokio::select! {
                result = &mut connection => result,
                () = first => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = result {
        if error.is_parse() && !error.is_parse_too_large() {
            proxy.metrics.malformed.inc();
        }
        tracing::debug!(peer = %peer, err = %cause(&error), "connection ended");
    }
}

/// Shakes hands where the web configuration says so.
async fn secure(proxy: &Proxy, socket: Socket, peer: Peer) -> Option<(Secured, PeerNames)> {
    let web = proxy.auth.web().current();
    let Some(tls) = &web.tls else {
        return Some((Secured::Plain(socket), PeerNames::default()));
    };
    let deadline = Instant::now() + proxy.limits.handshake_time;
    match tls.accept(socket, deadline).await {
        Ok(accepted) => Some((Secured::Tls(Box::new(accepted.stream)), accepted.names)),
        Err(error) => {
            let failures = &proxy.metrics.tls_failures;
            failures.with_label_values(&[error.word()]).inc();
            tracing::debug!(%peer, reason = %error, "no TLS");
            None
        }
    }
}

/// hyper's errors print their own level only; the last of the chain is what happened.
fn cause(error: &hyper::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    let mut text = error.to_string();
    while let Some(next) = cause.source() {
        text = format!("{text}: {next}");
        cause = next;
    }
    text
}
