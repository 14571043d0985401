//! The way in.
//!
//! 1. [`serve`] accepts on every address: a permit first, then a connection, and the rest in a
//!    task of its own, so that one slow peer stalls nobody.
//! 2. [`arrival`] finds out who has come: what a trusted proxy writes before its first byte is in
//!    [`proxy_protocol`], what it writes in each request in [`forwarded`]. [`crowd`] has room for so
//!    many from one address.
//! 3. [`patience`] sits below HTTP and says how long each phase of a connection may take; [`framing`]
//!    looks at heads as they come, and [`last_words`] is what is told to whoever does not get as far as
//!    a request.
//! 4. [`dispatch`] tells a scrape from a query and from a request for ourselves, before any router sees a path, and
//!    holds it against the roles of the address; what is [`misdirected`] only looks like the latter.
//!    [`answer`] is what comes back, of one type.

mod arrival;
mod forwarded;
mod proxy_protocol;

mod crowd;
mod seldom;

mod framing;
mod patience;

mod last_words;

mod dispatch;
mod misdirected;

mod answer;

#[cfg(fuzzing)]
pub(crate) use self::{
    forwarded::origin,
    proxy_protocol::{Start, start},
};

use std::sync::Arc;
use std::time::Duration;

use adit_common::net::listen::Listener;
use adit_common::net::socket::{Peer, Socket};
use adit_common::tunnel::settings::MAX_REQUEST_HEAD;
use adit_common::web_config::{Handshake, PeerNames, Secured};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use self::arrival::{Arrived, arrive};
use self::crowd::Crowd;
use self::patience::{Patient, Place};
use self::seldom::Seldom;
use crate::Proxy;
use crate::auth::Visitor;
use crate::clock::Clock;
use crate::config::{Bound, Roles};

/// Between two attempts to accept after a failure, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// When we stop, a connection that has just been made may have its request under way. hyper would
/// close it, and a scrape that could have been answered would be lost.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Room for those who come, by whichever address.
#[derive(Debug)]
struct Room {
    in_all: Arc<Semaphore>,
    full: Seldom,
    crowd: Arc<Crowd>,
}

impl Room {
    /// A permit for one more; waited for, while those who come wait in the kernel's queue.
    async fn permit(&self, proxy: &Proxy) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.in_all).try_acquire_owned() {
            return Some(permit);
        }
        proxy.metrics.limit("connections");
        let limit = proxy.limits.connections;
        if self.full.is_due() {
            tracing::warn!(limit, "no more are accepted: connections is reached");
        }
        // The semaphore is never closed.
        Arc::clone(&self.in_all).acquire_owned().await.ok()
    }
}

/// Starts accepting on every address.
pub(crate) fn serve(proxy: &Arc<Proxy>, listeners: Vec<Bound>) {
    let limits = &proxy.limits;
    let room = Arc::new(Room {
        in_all: Arc::new(Semaphore::new(limits.connections)),
        full: Seldom::default(),
        crowd: Arc::new(Crowd::new(limits.connections_per_address)),
    });
    for bound in listeners {
        let accepting = accept(Arc::clone(proxy), bound, Arc::clone(&room));
        // Work: what it hands over last must find the rest still there.
        proxy.stop.spawn_work(accepting);
    }
}

async fn accept(proxy: Arc<Proxy>, bound: Bound, room: Arc<Room>) {
    let Bound { listener, roles } = bound;
    let heard_out = proxy.is_heard_out();
    tokio::pin!(heard_out);
    loop {
        let accepting = async {
            let permit = room.permit(&proxy).await?;
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
        let crowd = Arc::clone(&room.crowd);
        let connection = connection(Arc::clone(&proxy), crowd, roles, (socket, peer), place);
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

async fn connection(
    proxy: Arc<Proxy>,
    crowd: Arc<Crowd>,
    roles: Roles,
    (socket, peer): (Socket, Peer),
    place: Place,
) {
    let until = Instant::now() + proxy.limits.head_time;
    let Some(arrived) = arrive(&proxy, &crowd, socket, peer, until).await else {
        return;
    };
    let Arrived {
        socket,
        peer,
        entry,
    } = arrived;
    let Some((socket, names)) = secure(&proxy, socket, peer).await else {
        return;
    };
    let clock = Clock::start(&proxy.limits);
    let request_head = proxy.limits.request_head;
    let places = (place, Arc::clone(&entry));
    let io = Patient::new(socket, clock.clone(), request_head, &proxy.metrics, places);
    let visitor = Visitor::new(peer, names);
    let service = service_fn(|request: Request<Incoming>| {
        let (proxy, clock) = (Arc::clone(&proxy), clock.clone());
        let headers = request.headers();
        let admitted = arrival::admit(&proxy, &crowd, &entry, &visitor, &clock, headers);
        async move { dispatch::dispatch(proxy, roles, admitted, clock, request).await }
    });
    let mut http = http1::Builder::new();
    let connection = http
        .timer(TokioTimer::new())
        // hyper's own counts idle time between requests too; ours tells the two apart.
        .header_read_timeout(None)
        .max_header_size(request_head)
        .max_buf_size(MAX_REQUEST_HEAD * 2)
        .auto_date_header(false)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        // Whoever has a push to bring may bring it by a connection that is free: Go's client cannot
        // tell one that is being closed, and a push that meets the close is a lost scrape.
        () = proxy.is_heard_out() => {
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
        broken(&proxy, peer, &error);
    }
}

/// hyper has ended it, and answered by itself where the request was at fault.
fn broken(proxy: &Proxy, peer: Peer, error: &hyper::Error) {
    if error.is_parse_too_large() {
        proxy.metrics.limit("request_head");
    } else if error.is_parse() {
        proxy.metrics.malformed.inc();
    }
    tracing::debug!(%peer, err = %cause(error), "connection ended");
}

/// Shakes hands where the web configuration says so.
async fn secure(proxy: &Proxy, socket: Socket, peer: Peer) -> Option<(Secured, PeerNames)> {
    let web = proxy.auth.web().current();
    let Some(tls) = &web.tls else {
        return Some((Secured::Plain(socket), PeerNames::default()));
    };
    let deadline = Instant::now() + proxy.limits.handshake_time;
    let leaving = async {
        proxy.stop.draining().cancelled().await;
        tokio::time::sleep(FIRST_REQUEST).await;
    };
    let accepted = tokio::select! {
        accepted = tls.accept(socket, deadline) => accepted,
        () = leaving => return None,
    };
    match accepted {
        Ok(accepted) => Some((Secured::Tls(Box::new(accepted.stream)), accepted.names)),
        Err(error) => {
            if matches!(error, Handshake::Timeout) {
                proxy.metrics.limit("handshake_time");
            }
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
