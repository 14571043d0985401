//! A proxy that speaks the tunnel's protocol, and asks in it what the test wants asked.

use std::net::SocketAddr;
use std::sync::Arc;

use adit_common::registration::{ACCEPTED_PATH, GOING_AWAY_PATH, PATH, Registration};
use adit_common::tunnel::goodbye::{End, Ending, Farewell, Goodbye};
use adit_common::tunnel::stream::TunnelStream;
use adit_common::tunnel::tasks::Tasks;
use adit_common::tunnel::traffic::Traffic;
use adit_common::tunnel::watchdog::Liveness;
use adit_common::tunnel::{SUBPROTOCOL, settings};
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::DropGuard;

use crate::wait::{PATIENCE, within};

/// A scripted proxy. It does nothing that the test does not say.
#[derive(Debug)]
pub struct ScriptedProxy {
    listener: TcpListener,
    address: SocketAddr,
}

/// A client's tunnel, from the scripted proxy's end. Dropping it ends the tunnel: whether that is a cut
/// or in good order is chance.
#[derive(Debug)]
pub struct ScriptedTunnel {
    sender: SendRequest<Empty<Bytes>>,
    registrations: Incoming,
    unread: BytesMut,
    ending: Ending,
    tasks: Tasks,
    _cut: DropGuard,
}

impl ScriptedProxy {
    /// On a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        Self { listener, address }
    }

    /// What `--proxy-url` wants.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next tunnel, upgraded and asked for its registration.
    ///
    /// # Panics
    /// When no client dials, or none that asks for a tunnel.
    pub async fn tunnel(&self) -> ScriptedTunnel {
        let accepting = async {
            let (mut stream, _) = self.listener.accept().await.expect("a connection");
            upgrade(&mut stream).await;
            ScriptedTunnel::open(stream).await
        };
        within(PATIENCE, "a client opens a tunnel", accepting).await
    }

    /// Answers the next request for a tunnel with this status and nothing else.
    ///
    /// # Panics
    /// When no client dials.
    pub async fn refuse(&self, status: &str) {
        let refusing = async {
            let (mut stream, _) = self.listener.accept().await.expect("a connection");
            request(&mut stream).await;
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            let written = stream.write_all(answer.as_bytes()).await;
            written.expect("the client waits for its answer");
        };
        within(PATIENCE, "a client asks for a tunnel", refusing).await;
    }
}

/// The head of a request, and no byte more.
async fn request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a request"));
    }
    String::from_utf8(head).expect("text")
}

async fn upgrade(stream: &mut TcpStream) {
    let head = request(stream).await;
    let key = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let (_, key) = key.unwrap_or_else(|| panic!("no request for a WebSocket: {head}"));
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    );
    let written = stream.write_all(answer.as_bytes()).await;
    written.expect("the client waits for its answer");
}

impl ScriptedTunnel {
    async fn open(stream: TcpStream) -> Self {
        let (ending, tasks) = (Ending::default(), Tasks::default());
        let stream = TunnelStream::new(
            stream,
            Role::Server,
            Liveness::default(),
            Arc::new(Traffic::default()),
            ending.clone(),
        )
        .await;
        let handshake = settings::proxy_end(tasks.clone()).handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.expect("HTTP/2");
        tasks.spawn(async move {
            // Why it ended stands in `ending`.
            let _ = connection.await;
        });
        Self {
            registrations: registrations(&mut sender).await,
            sender,
            unread: BytesMut::new(),
            ending,
            _cut: tasks.end_on_drop(),
            tasks,
        }
    }

    /// Asks for the registrations once more, and forgets the stream there is.
    ///
    /// # Panics
    /// When the client does not answer.
    pub async fn ask_again(&mut self) {
        let asking = registrations(&mut self.sender);
        self.registrations = within(PATIENCE, "a stream of registrations", asking).await;
        self.unread.clear();
    }

    /// The next registration; none when the client has ended them.
    ///
    /// # Panics
    /// When neither comes, or it is none.
    pub async fn registration(&mut self) -> Option<Registration> {
        let reading = async {
            loop {
                if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                    let line = self.unread.split_to(end + 1);
                    return Some(Registration::from_line(&line[..end]).expect("a registration"));
                }
                let frame = self.registrations.frame().await?.expect("an open stream");
                self.unread
                    .extend_from_slice(&frame.into_data().expect("data"));
            }
        };
        within(PATIENCE, "a line of registration", reading).await
    }

    /// Tells the client that it is routed to.
    ///
    /// # Panics
    /// When it does not take it.
    pub async fn accept(&mut self) {
        assert_eq!(self.ask(Method::POST, ACCEPTED_PATH).await, StatusCode::OK);
    }

    /// Asks for the next tunnel.
    ///
    /// # Panics
    /// When the client does not take it.
    pub async fn going_away(&mut self) {
        let status = self.ask(Method::POST, GOING_AWAY_PATH).await;
        assert_eq!(status, StatusCode::OK);
    }

    async fn ask(&mut self, method: Method, path: &'static str) -> StatusCode {
        let asking = self.sender.send_request(to_client(method, path));
        let answer = within(PATIENCE, path, asking).await;
        answer.expect("an open tunnel").status()
    }

    /// Sends any request, and waits for the head of the answer.
    ///
    /// # Errors
    /// When the client resets it.
    ///
    /// # Panics
    /// When neither comes.
    pub async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        let asking = self.sender.send_request(request);
        within(PATIENCE, "the head of an answer", asking).await
    }

    /// Asks a target, and waits for the head of the answer.
    ///
    /// # Panics
    /// When none comes.
    pub async fn begin(&mut self, uri: &str) -> Response<Incoming> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri.parse().expect("a uri");
        let asking = self.sender.send_request(request);
        let answer = within(PATIENCE, "the head of an answer", asking).await;
        answer.expect("an open tunnel")
    }

    /// A whole scrape: its status and body.
    ///
    /// # Panics
    /// When it breaks off.
    pub async fn scrape(&mut self, uri: &str) -> (StatusCode, String) {
        let answer = self.begin(uri).await;
        (answer.status(), text(answer).await)
    }

    /// Whether it still carries requests.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Cuts it, as a proxy does that is killed.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn cut(self) {
        self.tasks.end();
        // Only then is the sender dropped: a connection that nobody can use ends in good order.
        within(PATIENCE, "the end of a tunnel", self.tasks.ended()).await;
    }

    /// Says goodbye with these words once everything under way has finished.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn close(self, farewell: Farewell, reason: &str) {
        self.ending.say(Goodbye::new(farewell, reason));
        self.finish().await;
    }

    /// Ends HTTP/2 in good order, as a proxy does that has no more requests.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn finish(self) {
        let Self {
            sender,
            registrations,
            tasks,
            ..
        } = self;
        drop((sender, registrations));
        within(PATIENCE, "the end of a tunnel", tasks.ended()).await;
    }

    /// Waits until the client has closed it, and gives its reason; when HTTP/2 ended before the words
    /// for it came, the same in fewer words.
    ///
    /// # Panics
    /// When it does not.
    pub async fn closed(self) -> End {
        let Self { ending, tasks, .. } = self;
        within(PATIENCE, "the end of a tunnel", tasks.ended()).await;
        let in_good_order = || End::Peer(Goodbye::new(Farewell::GoingAway, ""));
        ending.end().cloned().unwrap_or_else(in_good_order)
    }
}

async fn registrations(sender: &mut SendRequest<Empty<Bytes>>) -> Incoming {
    let asked = sender.send_request(to_client(Method::GET, PATH)).await;
    let asked = asked.expect("the client answers");
    assert_eq!(asked.status(), StatusCode::OK);
    asked.into_body()
}

/// All of a body.
///
/// # Panics
/// When it breaks off.
pub async fn text(answer: Response<Incoming>) -> String {
    let body = answer.into_body().collect();
    let body = within(PATIENCE, "a whole body", body).await;
    let body = body.expect("a whole body").to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

/// Without an authority, for the client itself; h2 allows that in HTTP/1.1's name.
fn to_client(method: Method, path: &'static str) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = method;
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = Uri::from_static(path);
    request
}
