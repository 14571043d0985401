//! The ways in which the libraries' defaults end or wedge a long-lived tunnel, row by row.
//!
//! Each scenario runs twice: with hyper's defaults, where it must fail as the row says, so that
//! we learn when a number is no longer needed; and with [`settings`], where the tunnel must
//! survive, or end in time.
//!
//! [`settings`]: super::settings

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Future, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2 as proxy_side;
use hyper::server::conn::http2 as client_side;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::Role;

use self::link::Socket;
use super::coalesce::Coalesced;
use super::goodbye::{End, Ending};
use super::settings;
use super::stream::TunnelStream;
use super::tasks::Tasks;
use super::watchdog::Liveness;

pub(super) mod link;

/// a and h: who notices that a link is dead, and who thinks so of one that is slow.
mod liveness;

/// b and c: empty DATA frames, and small ones.
mod frames;

/// d and g: scrapes that were cancelled.
mod resets;

/// e and f: request heads.
mod heads;

/// The body of an answer.
type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// Whose numbers a scenario runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settings {
    /// The libraries': HTTP/2 straight over the link, bodies as they come.
    Defaults,
    /// Ours: HTTP/2 over a [`TunnelStream`].
    Ours,
}

use Settings::{Defaults, Ours};

impl Settings {
    /// A body as the client answers it: ours are [`Coalesced`].
    fn body<B>(self, body: B) -> Answer
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        match self {
            Defaults => body.boxed_unsync(),
            Ours => Coalesced::new(body).boxed_unsync(),
        }
    }
}

/// `count` pieces, all there at once.
fn pieces(count: usize, piece: &'static [u8]) -> impl Body<Data = Bytes, Error = Infallible> {
    let piece = move |_| Ok(Frame::data(Bytes::from_static(piece)));
    StreamBody::new(stream::iter((0..count).map(piece)))
}

fn full(bytes: impl Into<Bytes>) -> Answer {
    Full::new(bytes.into()).boxed_unsync()
}

/// A body that stays open.
fn pending() -> Answer {
    StreamBody::new(stream::pending()).boxed_unsync()
}

/// Both ends of a tunnel.
struct Tunnel {
    proxy: proxy_side::SendRequest<Empty<Bytes>>,
    proxy_ending: Ending,
    /// Ends with the client's HTTP/2 connection.
    client: JoinHandle<hyper::Result<()>>,
    client_ending: Ending,
}

impl Tunnel {
    /// Over a link's two sockets, the proxy's first.
    async fn open<F>(settings: Settings, sockets: (Socket, Socket), answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Response<Answer> + Send + Sync + 'static,
    {
        match settings {
            Defaults => {
                let (proxy, client) = defaults();
                Self::over(sockets, Endings::default(), proxy, client, answer).await
            }
            Ours => Self::ours(sockets, settings::proxy_end(Tasks::default()), answer).await,
        }
    }

    async fn ours<F>(
        sockets: (Socket, Socket),
        proxy: proxy_side::Builder<Tasks>,
        answer: F,
    ) -> Self
    where
        F: Fn(Request<Incoming>) -> Response<Answer> + Send + Sync + 'static,
    {
        let endings = Endings::default();
        let sockets = (
            stream(sockets.0, Role::Server, &endings.proxy).await,
            stream(sockets.1, Role::Client, &endings.client).await,
        );
        let client = settings::client_end(Tasks::default());
        Self::over(sockets, endings, proxy, client, answer).await
    }

    async fn over<S, F>(
        sockets: (S, S),
        endings: Endings,
        proxy: proxy_side::Builder<Tasks>,
        client: client_side::Builder<Tasks>,
        answer: F,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Fn(Request<Incoming>) -> Response<Answer> + Send + Sync + 'static,
    {
        let service = service_fn(move |request| ready(Ok::<_, Infallible>(answer(request))));
        let client = tokio::spawn(client.serve_connection(TokioIo::new(sockets.1), service));
        let (sender, connection) = proxy.handshake(TokioIo::new(sockets.0)).await.unwrap();
        tokio::spawn(connection);
        let tunnel = Self {
            proxy: sender,
            proxy_ending: endings.proxy,
            client,
            client_ending: endings.client,
        };
        // The ends have exchanged their settings: from here on nothing depends on who was first.
        settle().await;
        tunnel
    }

    /// A scrape's head; its body is read by whoever wants to.
    fn head(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        let mut proxy = self.proxy.clone();
        async move {
            proxy.ready().await?;
            within(proxy.send_request(request)).await
        }
    }

    /// A whole scrape: bytes of its body.
    async fn scrape(&self, path: &str) -> hyper::Result<usize> {
        let answer = self.head(get(path)).await?;
        drain(answer.into_body()).await
    }

    /// Asserts that the client's end failed for `reason`, and nothing passes any more.
    async fn assert_died(&mut self, reason: &str) {
        assert_failed(within(&mut self.client).await.unwrap(), reason);
        assert!(self.scrape("/next").await.is_err());
    }

    /// Asserts that neither end has a reason to end and the next scrape is answered.
    async fn assert_alive(&self) {
        self.scrape("/next").await.unwrap();
        assert!(!self.client.is_finished());
        assert_eq!(self.ends(), (None, None));
    }

    /// Why the proxy's and the client's end think that the tunnel is over.
    fn ends(&self) -> (Option<&End>, Option<&End>) {
        (self.proxy_ending.end(), self.client_ending.end())
    }
}

#[derive(Default)]
struct Endings {
    proxy: Ending,
    client: Ending,
}

/// hyper's builders as they come. The timer is not a number: without it keep-alive panics.
fn defaults() -> (proxy_side::Builder<Tasks>, client_side::Builder<Tasks>) {
    let mut proxy = proxy_side::Builder::new(Tasks::default());
    proxy.timer(TokioTimer::new());
    let mut client = client_side::Builder::new(Tasks::default());
    client.timer(TokioTimer::new());
    (proxy, client)
}

async fn stream(socket: Socket, role: Role, ending: &Ending) -> TunnelStream<Socket> {
    let liveness = Liveness::default();
    TunnelStream::new(socket, role, liveness, Default::default(), ending.clone()).await
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    let uri = format!("http://pi:9100{path}");
    Request::get(uri).body(Empty::new()).unwrap()
}

async fn drain(mut body: Incoming) -> hyper::Result<usize> {
    let mut bytes = 0;
    while let Some(frame) = within(body.frame()).await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(bytes)
}

/// hyper keeps HTTP/2's reasons to itself, except in words.
fn assert_failed<T: Debug>(result: hyper::Result<T>, reason: &str) {
    let error = format!("{:?}", result.unwrap_err());
    assert!(error.contains(reason), "{error}");
}

/// Until nothing moves by itself: the paused clock goes on only when every task waits.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

/// Whatever a test waits for comes within an hour of the paused clock, or the test fails at once.
pub(super) async fn within<F: Future>(future: F) -> F::Output {
    let hour = Duration::from_secs(3600);
    timeout(hour, future).await.expect("within an hour")
}
