//! A proxy that accepts tunnels and dies, over and over, at the moment and in the way the test says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_common::registration::{ACCEPTED_PATH, PATH as REGISTRATION};
use adit_common::tunnel::goodbye::{Ending, Farewell, Goodbye};
use adit_common::tunnel::stream::TunnelStream;
use adit_common::tunnel::tasks::Tasks;
use adit_common::tunnel::traffic::Traffic;
use adit_common::tunnel::watchdog::Liveness;
use adit_common::tunnel::{SUBPROTOCOL, settings};
use bytes::Bytes;
use http::{Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::scraper::Connection;
use crate::tunnel::{Grip, Leave};
use crate::wait::{PATIENCE, within};

/// When it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It has accepted the connection, and read nothing of it.
    Accepted,
    /// It has answered the upgrade, and says no word of HTTP/2.
    Upgraded,
    /// It has told the client that it is accepted.
    Registered,
}

/// A proxy that dies of every client it has. Dropping it closes its port, and cuts what is open.
#[derive(Debug)]
pub struct FakeProxy {
    deaths: watch::Receiver<usize>,
    _listening: JoinSet<()>,
}

impl FakeProxy {
    /// At an address that is free. `death` is asked for each connection, by its number. A goodbye
    /// takes a tunnel: before there is one it is a FIN.
    ///
    /// # Panics
    /// When it is not free.
    pub async fn start(
        address: SocketAddr,
        death: impl Fn(usize) -> (Moment, Leave) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let (count, deaths) = watch::channel(0);
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let mut open = JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.expect("a listener accepts");
                let (moment, how) = death(number);
                let count = count.clone();
                open.spawn(async move {
                    let lived = within(PATIENCE, "a client to die of", die(stream, moment, how));
                    lived.await;
                    count.send_modify(|deaths| *deaths += 1);
                });
                // Those that are through; one that panicked is missing in the count.
                while open.try_join_next().is_some() {}
            }
        });
        Self {
            deaths,
            _listening: listening,
        }
    }

    /// Waits until it has died so often.
    ///
    /// # Panics
    /// When it has not within `deadline`.
    pub async fn died(&self, times: usize, deadline: Duration) {
        let what = format!("{times} deaths of a proxy");
        let mut deaths = self.deaths.clone();
        let enough = within(deadline, &what, deaths.wait_for(|deaths| *deaths >= times));
        assert!(enough.await.is_ok(), "its task holds the sender");
    }
}

async fn die(stream: TcpStream, moment: Moment, how: Leave) {
    let (stream, socket) = Grip::on(stream);
    if how == Leave::Reset {
        socket.reset_at_the_end();
    }
    if moment == Moment::Accepted {
        return;
    }
    let stream = upgrade(stream).await;
    if moment == Moment::Upgraded {
        return;
    }
    let ending = Ending::default();
    let liveness = Liveness::new(Duration::from_secs(15), Duration::from_secs(45));
    let traffic = Arc::new(Traffic::default());
    let liveness = liveness.expect("the defaults");
    let stream = TunnelStream::new(stream, Role::Server, liveness, traffic, ending.clone()).await;
    let tasks = Tasks::default();
    let _end = tasks.end_on_drop();
    let handshake = settings::proxy_end(tasks.clone()).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.expect("a tunnel");
    tasks.spawn(async move {
        let _ = connection.await;
    });
    let mut registration = ask(&mut sender, Method::GET, REGISTRATION)
        .await
        .into_body();
    let line = registration.frame().await.expect("a line");
    assert!(line.expect("a line").is_data());
    ask(&mut sender, Method::POST, ACCEPTED_PATH).await;
    match how {
        Leave::Goodbye => {
            ending.say(Goodbye::new(Farewell::GoingAway, "the fake proxy is dying"));
            drop((sender, registration));
        }
        Leave::Fin => socket.fin(),
        Leave::Reset => tasks.end(),
    }
    tasks.ended().await;
}

/// Answers a client that asks for the WebSocket.
async fn upgrade(stream: TcpStream) -> TcpStream {
    let mut connection = Connection::over(stream);
    let request = connection.head_and_no_more().await;
    let key = request.field("sec-websocket-key").expect("an upgrade");
    let accept = derive_accept_key(key.as_bytes());
    let mut stream = connection.into_stream();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.expect("written");
    stream
}

async fn ask(
    sender: &mut SendRequest<Empty<Bytes>>,
    method: Method,
    path: &'static str,
) -> Response<Incoming> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = method;
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = Uri::from_static(path);
    sender.send_request(request).await.expect("an answer")
}
