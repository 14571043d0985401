//! A server that does to each connection what the test says.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adit_common::http_config::CredentialFile;
use adit_common::net::tls::ClientTls;
use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt as _;
use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::config::query::{Health, Manner};
use crate::discovery::Found;
use crate::query::backend::{Backend, BackendBody, Failure, Question};
use crate::query::standing::Peers;
use crate::registry::{Memory, Registry, Waiting};

/// For what happens at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let in_time = timeout(PATIENCE, future).await;
    in_time.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// A server on a port of its own. Dropping it ends it.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    dials: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Each connection is handed to `script`, with its number from 0 on, and closed when that ends.
    pub(super) async fn start<F, T>(script: F) -> Self
    where
        F: Fn(usize, Peer<TcpStream>) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dials = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&dials);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut running = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                running.spawn(script(number, Peer(stream)));
            }
        });
        Self {
            address,
            dials,
            _tasks: tasks,
        }
    }

    /// Connections until now.
    pub(super) fn dials(&self) -> usize {
        self.dials.load(Ordering::SeqCst)
    }

    pub(super) fn backend(&self) -> Arc<Backend> {
        open(&format!("http://{}", self.address))
    }
}

/// The server's end of a connection.
pub(super) struct Peer<S>(pub(super) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// One whole request, as it came; nothing when the connection ends before it.
    pub(super) async fn request(&mut self) -> Option<String> {
        let mut text = Vec::new();
        loop {
            let mut byte = [0];
            if self.0.read(&mut byte).await.unwrap_or(0) == 0 {
                return None;
            }
            text.push(byte[0]);
            if text.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let head = String::from_utf8(text).unwrap();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse().unwrap())
        });
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body).await.ok()?;
        Some(head + &String::from_utf8(body).unwrap())
    }

    /// An error is for the test to notice at the other end.
    pub(super) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref()).await;
    }

    /// Reads one request and says this. False when there was none.
    pub(super) async fn answer(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let is_asked = self.request().await.is_some();
        if is_asked {
            self.say(bytes).await;
        }
        is_asked
    }

    /// Resolves when the other end has closed, whatever it says until then.
    pub(super) async fn closed(&mut self) {
        let mut bytes = [0; 4096];
        while self.0.read(&mut bytes).await.unwrap_or(0) > 0 {}
    }
}

impl Peer<TcpStream> {
    /// The end of the connection will be RST.
    pub(super) fn reset(self) {
        self.0.set_zero_linger().unwrap();
    }
}

pub(super) fn registry() -> Arc<Registry> {
    let memory = Memory {
        remember: Duration::from_secs(300),
        grace: Duration::from_secs(2),
        startup: Duration::ZERO,
        list: Duration::from_secs(45),
    };
    let count = IntGauge::new("waiting", "For a test.").unwrap();
    Arc::new(Registry::new(memory, Arc::new(Waiting::new(8, 8, count))))
}

pub(super) fn open(url: &str) -> Arc<Backend> {
    open_with(url, ClientTls::default(), None)
}

pub(super) fn open_with(
    url: &str,
    tls: ClientTls,
    credentials: Option<CredentialFile>,
) -> Arc<Backend> {
    let manner = Manner {
        tls,
        credentials,
        ..Manner::default()
    };
    let found = Found::new(url.parse().unwrap(), &manner);
    open_found(&found, &registry())
}

/// In a pool with every key at its default.
pub(super) fn open_found(found: &Found, registry: &Arc<Registry>) -> Arc<Backend> {
    let name = found.url.to_string().into();
    let (rules, peers) = (Arc::<Health>::default(), Arc::<Peers>::default());
    Backend::open(found, name, "static", registry, &rules, &peers).unwrap()
}

pub(super) fn get(path_and_query: &str) -> Question {
    Question {
        method: Method::GET,
        path_and_query: path_and_query.to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        repeatable: false,
    }
}

pub(super) fn post(path: &str, body: impl Into<Bytes>) -> Question {
    Question {
        method: Method::POST,
        body: body.into(),
        ..get(path)
    }
}

/// Sends it with time to spare.
pub(super) async fn send(
    backend: &Backend,
    question: Question,
) -> Result<Response<BackendBody>, Failure> {
    let deadline = Instant::now() + PATIENCE * 2;
    within("an answer", backend.send(question, deadline)).await
}

/// The whole body, or how it broke.
pub(super) async fn whole(answer: Response<BackendBody>) -> Result<String, Failure> {
    let collected = within("a body", answer.into_body().collect()).await?;
    Ok(String::from_utf8(collected.to_bytes().to_vec()).unwrap())
}

pub(super) async fn text(backend: &Backend, question: Question) -> String {
    whole(send(backend, question).await.unwrap()).await.unwrap()
}

/// Of whatever should have been one.
pub(super) fn failed<T: Debug>(result: Result<T, Failure>) -> Failure {
    result.unwrap_err()
}
