//! A connection to a target.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use adit_common::fault::{Fault, Report};
use adit_common::net::dial::{DialError, DialFailure, dial_permitted, dial_unix};
use adit_common::net::permit::Permit;
use adit_common::net::socket::Socket;
use adit_common::target::{Scheme, Target};
use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::turns::Turn;
use super::{Address, Upstream};

/// The body of a request to a target.
pub(crate) type UpstreamBody = Either<Empty<Bytes>, Incoming>;

/// Most header fields of an answer; Prometheus has no limit, hyper's is 100.
const MAX_HEADERS: usize = 1000;
/// Most bytes of an answer's head. Prometheus takes 10 MB; more than 1 MB was never seen.
const MAX_HEAD: usize = 4 << 20;
/// After a scrape's deadline its connection is cut even when nobody looks at its body.
const AFTER_DEADLINE: Duration = Duration::from_secs(1);

/// A connection to a target, with a task that drives it for as long as its lease lasts.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<UpstreamBody>,
    lease: watch::Sender<Instant>,
    turn: Held,
    driver: JoinHandle<()>,
    /// What has become of it, when its driver is done with it; nothing once that is known.
    over: Option<oneshot::Receiver<hyper::Result<()>>>,
}

/// The turn a connection is used in; nothing while it is kept. Its end is the driver's at the latest,
/// and then after that of the socket.
#[derive(Debug, Clone, Default)]
struct Held(Arc<Mutex<Option<Turn>>>);

impl Held {
    fn replace(&self, turn: Option<Turn>) -> Option<Turn> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *held, turn)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Drops the socket at once, whatever is under way on it.
        self.driver.abort();
    }
}

impl Connection {
    /// From now on it ends at this instant, used or not.
    pub(super) fn lease_until(&self, until: Instant) {
        // The driver is gone only when the connection has ended.
        let _ = self.lease.send(until);
    }

    /// Resolves when it has ended and its socket is closed, the first time with what was wrong with
    /// it, if anything was.
    pub(crate) async fn ended(&mut self) -> Option<hyper::Error> {
        let ended = self.over.as_mut()?.await;
        self.over = None;
        // Without a word its lease was over.
        ended.ok()?.err()
    }

    /// For a scrape with this deadline, in its turn.
    pub(crate) fn lease_for(&self, deadline: Instant, turn: Turn) {
        self.turn.replace(Some(turn));
        self.lease_until(deadline + AFTER_DEADLINE);
    }
}

impl Upstream {
    /// A socket to it, for raw bytes or for HTTP over it. `target` is its name in errors.
    pub(crate) async fn dial(&self, target: &Target, deadline: Instant) -> Result<Socket, Report> {
        match &self.address {
            Address::Unix(path) => {
                let stream = dial_unix(path, deadline).await;
                let stream = stream.map_err(|error| undialled(target, &error))?;
                Ok(Socket::from(stream))
            }
            Address::Tcp(Target { name, port }) => {
                let prefer = self.lasting.idle.winner();
                // What the operator wrote is a name or that very address.
                let dialling =
                    dial_permitted(name.as_str(), *port, Permit::Ordinary, prefer, deadline);
                let (stream, address) =
                    dialling.await.map_err(|error| undialled(target, &error))?;
                remember(self, prefer, address.ip());
                Ok(Socket::from(stream))
            }
        }
    }

    /// A connection that the target has kept open, the one used last.
    pub(crate) fn kept(&self, scheme: Scheme) -> Option<Connection> {
        self.lasting.idle.take(scheme)
    }

    /// Gives back a connection whose answer has ended well, and then its turn: whoever is next
    /// finds the connection, and a target that takes one at a time is never dialled a second time.
    pub(crate) fn keep(&self, scheme: Scheme, connection: Connection) {
        let turn = connection.turn.replace(None);
        self.lasting.idle.put(scheme, connection);
        drop(turn);
    }

    /// Dials, shakes hands, and is ready to send.
    pub(crate) async fn open(
        &self,
        scheme: Scheme,
        target: &Target,
        deadline: Instant,
    ) -> Result<Connection, Report> {
        let socket = self.dial(target, deadline).await?;
        if scheme == Scheme::Http {
            return speak(socket, target, deadline).await;
        }
        let host = match &self.address {
            Address::Tcp(address) => address.name.as_str(),
            // No name of its own: the one it is scraped by.
            Address::Unix(_) => target.name.as_str(),
        };
        let shaking = async {
            let connector = self.tls.connector().await?;
            connector.connect(host, socket, deadline).await
        };
        let tls = shaking.await.map_err(|error| {
            let fault = match error.is_certificate() {
                true => Fault::Certificate,
                false => Fault::Tls,
            };
            Report::new(fault, format!("{target}: {error}"))
        })?;
        speak(tls, target, deadline).await
    }
}

/// The address that answered goes first next time; a change is worth a line, since two services
/// may share a port number on the two families.
fn remember(upstream: &Upstream, before: Option<IpAddr>, now: IpAddr) {
    if before != Some(now) {
        tracing::debug!(address = %now, upstream = ?upstream.address, "target answers at");
        upstream.lasting.idle.won(now);
    }
}

fn undialled(target: &Target, error: &DialError) -> Report {
    let fault = match error.kind() {
        DialFailure::Dns => Fault::Unresolved,
        DialFailure::Forbidden => Fault::Forbidden,
        DialFailure::Refused => Fault::Refused,
        DialFailure::TimedOut | DialFailure::Unreachable => Fault::Unreachable,
    };
    Report::new(fault, format!("{target}: {error}"))
}

async fn speak<S>(socket: S, target: &Target, deadline: Instant) -> Result<Connection, Report>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = http1::Builder::new()
        // Naive parsers of embedded targets look for `Host:` and not for `host:`.
        .title_case_headers(true)
        // What Prometheus takes directly it gets through us.
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        // Never `http09_responses`: it makes a 200 of anything without a head.
        .handshake(TokioIo::new(Sips::new(socket)))
        .await;
    let (sender, connection) =
        handshake.map_err(|error| Report::new(Fault::BrokeOff, format!("{target}: {error}")))?;
    let (lease, leased) = watch::channel(deadline + AFTER_DEADLINE);
    let turn = Held::default();
    let held = turn.clone();
    let (tell, over) = oneshot::channel();
    let driver = tokio::spawn(async move {
        let ended = drive(connection, leased).await;
        held.replace(None);
        if let Some(ended) = ended {
            // Nobody has to want to know.
            let _ = tell.send(ended);
        }
    });
    Ok(Connection {
        sender,
        lease,
        turn,
        driver,
        over: Some(over),
    })
}

/// Polls the connection until it ends, which is what comes of it, its lease does, or nobody holds it.
/// The socket is closed by then.
async fn drive<F: Future>(
    connection: F,
    mut leased: watch::Receiver<Instant>,
) -> Option<F::Output> {
    tokio::pin!(connection);
    let mut until = *leased.borrow_and_update();
    loop {
        tokio::select! {
            ended = &mut connection => return Some(ended),
            () = sleep_until(until) => return None,
            changed = leased.changed() => match changed {
                Ok(()) => until = *leased.borrow_and_update(),
                Err(_) => return None,
            },
        }
    }
}

/// A socket that is read in small pieces. hyper's read buffer has the size of the largest head it
/// may hold, and doubles up to it as long as it is filled in one read: several such buffers would
/// be under way for each large body.
struct Sips<S>(tokio::io::Take<S>);

/// What is read at once, in bytes: four HTTP/2 frames.
const SIP: u64 = 64 * 1024;

impl<S: AsyncRead> Sips<S> {
    fn new(socket: S) -> Self {
        Self(socket.take(SIP))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sips<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.set_limit(SIP);
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Sips<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.0.get_mut()).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.0.get_mut()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get_mut()).poll_shutdown(cx)
    }
}
