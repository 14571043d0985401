//! An HTTP server on the loopback, with TLS or without, that remembers what it was asked.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Longest wait of a test for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whole, or as it comes.
pub(super) type Body = Either<Full<Bytes>, Channel<Bytes, std::io::Error>>;

/// A request that was made.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The path.
    pub path: String,
    /// The query, as sent.
    pub query: String,
    /// The fields of its head.
    pub fields: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Asked {
    /// `Authorization`, or nothing.
    pub fn authorization(&self) -> &str {
        let value = self.fields.get("authorization");
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// What was asked so far, and who waits for more of it.
#[derive(Debug, Clone)]
pub(super) struct Record {
    asked: Arc<Mutex<Vec<Asked>>>,
    count: watch::Sender<usize>,
}

impl Record {
    pub(super) fn new() -> Self {
        Self {
            asked: Arc::default(),
            count: watch::Sender::new(0),
        }
    }

    fn add(&self, asked: Asked) {
        let count = {
            let mut all = self.asked.lock().expect("nobody panics with it");
            all.push(asked);
            all.len()
        };
        // Not under the lock: whoever waits looks at them under the lock of the count.
        self.count.send_replace(count);
    }

    pub(super) fn all(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panics with it").clone()
    }

    /// Waits until what was asked is as `enough` wants it.
    pub(super) async fn until(&self, what: &str, enough: impl Fn(&[Asked]) -> bool) {
        let mut count = self.count.subscribe();
        let waited = count.wait_for(|_| enough(&self.all()));
        let waited = tokio::time::timeout(PATIENCE, waited).await;
        let waited = waited.unwrap_or_else(|_| panic!("{what}: {:#?}", self.all()));
        assert!(waited.is_ok(), "the sender is ours");
    }
}

/// Serves until it is dropped, and cuts what is open then.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) address: SocketAddr,
    _tasks: JoinSet<()>,
}

pub(super) async fn serve<F, A>(
    tls: Option<Arc<ServerConfig>>,
    record: Record,
    answer: F,
) -> Serving
where
    F: Fn(Asked) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.expect("a listener accepts");
            let (tls, record, answer) = (tls.clone(), record.clone(), answer.clone());
            open.spawn(async move {
                match tls {
                    None => converse(stream, record, answer).await,
                    Some(tls) => {
                        if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                            converse(stream, record, answer).await;
                        }
                    }
                }
            });
            while open.try_join_next().is_some() {}
        }
    });
    Serving {
        address,
        _tasks: tasks,
    }
}

async fn converse<F, A>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    record: Record,
    answer: F,
) where
    F: Fn(Asked) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (record, answer) = (record.clone(), answer.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes());
            let asked = Asked {
                path: head.uri.path().to_owned(),
                query: head.uri.query().unwrap_or("").to_owned(),
                fields: head.headers,
                body: body.unwrap_or_default(),
            };
            let said = answer(asked.clone()).await;
            record.add(asked);
            Ok::<_, Infallible>(said)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new();
    // Whoever asks may go in the middle of it.
    let _ = connection
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// A whole answer.
pub(super) fn whole(status: StatusCode, kind: &str, text: String) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .body(Either::Left(Full::new(text.into())))
        .expect("a status and a type")
}

/// A whole answer of JSON.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    whole(status, "application/json", value.to_string())
}

/// TLS with a certificate for `localhost` and `127.0.0.1` that vouches for itself, and the
/// certificate in PEM.
///
/// # Panics
/// When it cannot be made.
pub fn certificate() -> (Arc<ServerConfig>, String) {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a pair");
    (Arc::new(config), made.cert.pem())
}
