//! From a socket to whoever is at its other end, and whether there is room for them.

use std::io;
use std::sync::Arc;

use adit_common::net::socket::{Peer, Socket};
use http::HeaderMap;
use tokio::time::{Instant, sleep, timeout_at};

use super::crowd::{Crowd, Entry};
use super::{FIRST_REQUEST, forwarded, proxy_protocol};
use crate::Proxy;
use crate::auth::Visitor;
use crate::clock::Clock;
use crate::scrape::Refusal;

/// Somebody who has come in.
pub(super) struct Arrived {
    pub(super) socket: Socket,
    pub(super) peer: Peer,
    /// Held for as long as the socket is open.
    pub(super) entry: Arc<Entry>,
}

/// Finds out who has connected; nothing, when they are not let in.
pub(super) async fn arrive(
    proxy: &Proxy,
    crowd: &Arc<Crowd>,
    socket: Socket,
    peer: Peer,
    until: Instant,
) -> Option<Arrived> {
    let trusted = proxy.rules.trusted();
    let (socket, peer) = match trusted.trusts(peer) {
        false => (socket, peer),
        true => match named(proxy, socket, until).await {
            Ok((socket, named)) => (socket, named.unwrap_or(peer)),
            Err(error) => {
                if error.kind() == io::ErrorKind::TimedOut {
                    proxy.metrics.limit("head_time");
                }
                tracing::debug!(%peer, err = %error, "connection ended before its first request");
                return None;
            }
        },
    };
    let entry = crowd.enter(peer, &trusted);
    if matches!(entry, Entry::Told(_) | Entry::Refused) {
        note(proxy, crowd, peer);
    }
    let refused = matches!(entry, Entry::Refused);
    (!refused).then(|| Arrived {
        socket,
        peer,
        entry: Arc::new(entry),
    })
}

/// What a trusted proxy says of who is behind it.
async fn named(
    proxy: &Proxy,
    socket: Socket,
    until: Instant,
) -> io::Result<(Socket, Option<Peer>)> {
    let leaving = async {
        proxy.stop.draining().cancelled().await;
        sleep(FIRST_REQUEST).await;
    };
    let (socket, source) = tokio::select! {
        biased;
        read = timeout_at(until, proxy_protocol::read(socket)) => read??,
        () = leaving => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    Ok((socket, source.map(Peer::from)))
}

/// Who sends this request: a trusted proxy may send it for somebody else, who is counted while it
/// is served, and while the tunnel lives that it may open.
///
/// # Errors
/// When there are too many of theirs.
pub(super) fn admit(
    proxy: &Proxy,
    crowd: &Arc<Crowd>,
    entry: &Entry,
    visitor: &Visitor,
    clock: &Clock,
    headers: &HeaderMap,
) -> Result<Visitor, Refusal> {
    let peer = visitor.peer();
    if let Entry::Told(_) = entry {
        return Err(Refusal::Crowded(peer, crowd.most()));
    }
    let trusted = proxy.rules.trusted();
    let origin = forwarded::origin(peer, headers, &trusted);
    if origin == peer {
        return Ok(visitor.clone());
    }
    match crowd.enter(origin, &trusted) {
        Entry::Exempt => {}
        Entry::Seated(seat) => clock.keep(Box::new(seat)),
        Entry::Told(_) | Entry::Refused => {
            note(proxy, crowd, origin);
            return Err(Refusal::Crowded(origin, crowd.most()));
        }
    }
    Ok(visitor.forwarded_from(origin))
}

/// Counted, and said in the log now and then: whoever is refused may come as often as they like.
fn note(proxy: &Proxy, crowd: &Crowd, peer: Peer) {
    proxy.metrics.limit("connections_per_address");
    let limit = crowd.most();
    match crowd.news.is_due() {
        true => tracing::warn!(%peer, limit, "connections_per_address is reached"),
        false => tracing::debug!(%peer, limit, "connections_per_address is reached"),
    }
}
