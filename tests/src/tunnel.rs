//! A client that speaks the tunnel's protocol, and says in it what the test wants said.

use std::convert::Infallible;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use adit_common::registration::{ACCEPTED_PATH, Instance, PATH as REGISTRATION};
use adit_common::tunnel::goodbye::{End, Ending, Farewell, Goodbye};
use adit_common::tunnel::stream::TunnelStream;
use adit_common::tunnel::tasks::Tasks;
use adit_common::tunnel::watchdog::Liveness;
use adit_common::tunnel::{PATH, SUBPROTOCOL, settings};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, watch};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use crate::scraper::{Answer, Connection};
use crate::wait::{PATIENCE, within};

/// A fake client's end of a tunnel. Dropping it cuts the tunnel.
#[derive(Debug)]
pub struct FakeClient {
    registration: Sender<Bytes>,
    accepted: watch::Receiver<bool>,
    asked: watch::Receiver<usize>,
    ending: Ending,
    leaving: CancellationToken,
    socket: Grip,
    /// How its end will be.
    resets: bool,
    tasks: Tasks,
}

/// How one end of a tunnel goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// In good order: HTTP/2 and the WebSocket are closed, each with a word.
    Goodbye,
    /// FIN, and not a word.
    Fin,
    /// RST: a reboot, or a router that forgot.
    Reset,
}

/// A second hold on a socket that somebody else has, to end it below everything it carries.
#[derive(Debug)]
pub(crate) struct Grip(std::net::TcpStream);

impl Grip {
    /// Of `stream`, which stays as it is.
    ///
    /// # Panics
    /// When there is no file descriptor left.
    pub(crate) fn on(stream: TcpStream) -> (TcpStream, Self) {
        let stream = stream.into_std().expect("a socket of the runtime");
        let second = stream.try_clone().expect("a free file descriptor");
        let stream = TcpStream::from_std(stream).expect("a socket that does not block");
        (stream, Self(second))
    }

    /// The next is FIN, whatever was being written. An error means that the peer was first.
    pub(crate) fn fin(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// The end will be RST.
    pub(crate) fn reset_at_the_end(&self) {
        let _ = SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
    }
}

/// The upgrade request that a client sends, line by line, to be spoilt.
pub fn upgrade_request() -> Vec<String> {
    vec![
        format!("GET {PATH} HTTP/1.1"),
        "Host: localhost".into(),
        "Connection: Upgrade".into(),
        "Upgrade: websocket".into(),
        "Sec-WebSocket-Version: 13".into(),
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==".into(),
        format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}"),
        format!("Adit-Instance: {}", Instance::now()),
    ]
}

/// The answer to such a request that is no upgrade.
///
/// # Panics
/// When it is one.
pub async fn refused_upgrade(proxy: SocketAddr, lines: &[String]) -> Answer {
    let mut connection = Connection::open(proxy).await;
    let answer = connection.exchange(lines.join("\r\n") + "\r\n\r\n").await;
    assert_ne!(answer.head.status, 101, "{answer:?}");
    answer
}

impl FakeClient {
    /// Dials `proxy`, and has said nothing yet when asked for its registration.
    ///
    /// # Panics
    /// When the proxy does not upgrade.
    pub async fn dial(proxy: SocketAddr) -> Self {
        Self::dial_with(proxy, &[]).await
    }

    /// The same, with more fields in its upgrade.
    pub async fn dial_with(proxy: SocketAddr, fields: &[&str]) -> Self {
        Self::serve(Self::upgraded(proxy, fields).await).await
    }

    /// Dials `proxy`, and leaves what is said in the tunnel to the test.
    ///
    /// # Panics
    /// When the proxy does not upgrade.
    pub async fn raw(proxy: SocketAddr) -> TunnelStream<TcpStream> {
        Self::raw_with(proxy, &[]).await
    }

    /// The same, with more fields in its upgrade.
    pub async fn raw_with(proxy: SocketAddr, fields: &[&str]) -> TunnelStream<TcpStream> {
        let stream = Self::upgraded(proxy, fields).await;
        Self::tunnel(stream, Ending::default()).await
    }

    async fn tunnel(stream: TcpStream, ending: Ending) -> TunnelStream<TcpStream> {
        let liveness = Liveness::new(Duration::from_secs(15), Duration::from_secs(45));
        let liveness = liveness.expect("the defaults");
        TunnelStream::new(stream, Role::Client, liveness, Arc::default(), ending).await
    }

    async fn upgraded(proxy: SocketAddr, fields: &[&str]) -> TcpStream {
        let mut connection = Connection::open(proxy).await;
        let mut lines = upgrade_request();
        lines.extend(fields.iter().map(|field| (*field).to_owned()));
        connection.write(lines.join("\r\n") + "\r\n\r\n").await;
        // The proxy speaks first, and all of that is the tunnel's.
        let head = connection.head_and_no_more().await;
        assert_eq!(head.status, 101, "{head:?}");
        let protocol = head.field("sec-websocket-protocol");
        assert_eq!(protocol.as_deref(), Some(SUBPROTOCOL));
        connection.into_stream()
    }

    /// Dials, and registers with this line.
    pub async fn register(proxy: SocketAddr, line: impl AsRef<[u8]>) -> Self {
        let mut client = Self::dial(proxy).await;
        client.say(line).await;
        client
    }

    /// The same, with more fields in its upgrade.
    pub async fn register_with(proxy: SocketAddr, fields: &[&str], line: impl AsRef<[u8]>) -> Self {
        let mut client = Self::dial_with(proxy, fields).await;
        client.say(line).await;
        client
    }

    async fn serve(stream: TcpStream) -> Self {
        let (stream, socket) = Grip::on(stream);
        let ending = Ending::default();
        let leaving = CancellationToken::new();
        let tasks = Tasks::default();
        let stream = Self::tunnel(stream, ending.clone()).await;
        let (registration, body) = Channel::new(1);
        let body = Arc::new(Mutex::new(Some(body)));
        let (accept, accepted) = watch::channel(false);
        let (ask, asked) = watch::channel(0);
        let service =
            service_fn(move |request| answer(request, body.clone(), accept.clone(), ask.clone()));
        let io = ToTheEnd {
            stream,
            leaving: leaving.clone(),
        };
        let serving =
            settings::client_end(tasks.clone()).serve_connection(TokioIo::new(io), service);
        let left = leaving.clone();
        tasks.spawn(async move {
            tokio::pin!(serving);
            // Why it ended stands in `ending`.
            tokio::select! {
                _ = &mut serving => return,
                () = left.cancelled() => serving.as_mut().graceful_shutdown(),
            }
            let _ = serving.await;
        });
        Self {
            registration,
            accepted,
            asked,
            ending,
            leaving,
            socket,
            resets: false,
            tasks,
        }
    }

    /// Says one more line of registration.
    pub async fn say(&mut self, line: impl AsRef<[u8]>) {
        let mut line = line.as_ref().to_vec();
        line.push(b'\n');
        self.say_without_end(line).await;
    }

    /// Says these bytes and no end of line.
    pub async fn say_without_end(&mut self, line: impl AsRef<[u8]>) {
        for piece in line.as_ref().chunks(16 * 1024) {
            // A proxy that has heard enough does not listen to the rest.
            if self
                .registration
                .send_data(Bytes::copy_from_slice(piece))
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// Ends the registration in good order, as a client does that leaves.
    pub fn end_registration(&mut self) {
        let (closed, _) = Channel::<Bytes>::new(1);
        self.registration = closed;
    }

    /// Waits until the proxy routes to it.
    ///
    /// # Panics
    /// When it never does.
    pub async fn accepted(&self) {
        let mut accepted = self.accepted.clone();
        let waiting = within(
            PATIENCE,
            "a fake client is accepted",
            accepted.wait_for(|is| *is),
        );
        assert!(
            waiting.await.is_ok(),
            "not accepted: {:?}",
            self.ending.end()
        );
    }

    /// How many requests for targets have come.
    pub fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Waits until there are so many.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn is_asked(&self, count: usize) {
        let mut asked = self.asked.clone();
        let enough = asked.wait_for(|asked| *asked >= count);
        let enough = within(PATIENCE, "requests at a fake client", enough).await;
        assert!(enough.is_ok(), "the tunnel ended first");
    }

    /// Why the tunnel ended, when it has.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn end(self) -> End {
        self.ended().await;
        self.ending
            .end()
            .cloned()
            .expect("an ended tunnel has a reason")
    }

    /// Goes, and returns when its end of the tunnel is closed. After a FIN it first hears the other
    /// end close.
    ///
    /// # Panics
    /// When the other end does not let it go.
    pub async fn leave(mut self, how: Leave) {
        match how {
            Leave::Goodbye => {
                let goodbye = Goodbye::new(Farewell::GoingAway, "the fake client is leaving");
                self.ending.say(goodbye);
                self.end_registration();
                self.leaving.cancel();
            }
            Leave::Fin => self.socket.fin(),
            Leave::Reset => {
                self.socket.reset_at_the_end();
                self.resets = true;
                self.tasks.end();
            }
        }
        self.ended().await;
    }

    async fn ended(&self) {
        // The service holds the sender and goes with the connection.
        let mut accepted = self.accepted.clone();
        let ended = async { while accepted.changed().await.is_ok() {} };
        within(PATIENCE, "the end of a tunnel", ended).await;
    }
}

impl Drop for FakeClient {
    fn drop(&mut self) {
        if !self.resets {
            // Before its tasks end one by one, and reset their streams: who dies says no such thing.
            self.socket.fin();
        }
        self.tasks.end();
    }
}

/// hyper leaves when HTTP/2 says goodbye; what the WebSocket says behind it shall be heard too.
struct ToTheEnd {
    stream: TunnelStream<TcpStream>,
    /// We go first, and say so.
    leaving: CancellationToken,
}

impl AsyncRead for ToTheEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for ToTheEnd {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.leaving.is_cancelled() {
            return Pin::new(&mut self.stream).poll_shutdown(cx);
        }
        loop {
            let mut rest = [0; 4096];
            let mut rest = ReadBuf::new(&mut rest);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest)) {
                Ok(()) if !rest.filled().is_empty() => {}
                // Nobody listens to what we would say now.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

type Body = BoxBody<Bytes, Infallible>;

/// Where a fake client gives no answer.
const STALL: &str = "/stall";

/// The registration once, and a page of its own for every target.
async fn answer(
    request: Request<Incoming>,
    registration: Arc<Mutex<Option<Channel<Bytes>>>>,
    accept: watch::Sender<bool>,
    ask: watch::Sender<usize>,
) -> Result<Response<Body>, Infallible> {
    let own = request.uri().authority().is_none();
    let body = match request.uri().path() {
        REGISTRATION if own => match registration.lock().await.take() {
            Some(body) => body.boxed(),
            None => Full::default().boxed(),
        },
        ACCEPTED_PATH if own => {
            accept.send_replace(true);
            Full::default().boxed()
        }
        path => {
            ask.send_modify(|asked| *asked += 1);
            if path == STALL {
                std::future::pending::<()>().await;
            }
            Full::from("fake 1\n").boxed()
        }
    };
    Ok(Response::new(body))
}
