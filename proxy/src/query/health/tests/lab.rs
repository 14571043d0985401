//! A server that is scripted, and a backend that is watched.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus::IntGauge;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::config::query::{Health, Manner};
use crate::discovery::Found;
use crate::metrics::Metrics;
use crate::query::backend::Backend;
use crate::query::health::{Report, watch};
use crate::query::standing::{Peers, Standing, State};
use crate::registry::{Memory, Registry, Waiting};

/// For what takes no time but that of a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the server answers; anything else is not there.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) ready: Reply,
    pub(super) query: Reply,
    pub(super) replay: Reply,
    pub(super) runtime: Reply,
    pub(super) metrics: Reply,
    pub(super) blocks: Reply,
}

#[derive(Debug, Clone)]
pub(super) enum Reply {
    Says(u16, &'static [(&'static str, &'static str)], String),
    /// Until the request is withdrawn.
    Hangs,
}

/// One request, as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) agent: String,
    pub(super) body: String,
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    script: Arc<Mutex<Script>>,
    pub(super) seen: watch::Sender<Vec<Seen>>,
    task: AbortHandle,
}

/// A backend that is watched, until it is dropped.
pub(super) struct Watched {
    pub(super) backend: Arc<Backend>,
    pub(super) metrics: Metrics,
    pub(super) told: Arc<AtomicUsize>,
    task: JoinSet<()>,
}

pub(super) fn says(status: u16, body: &str) -> Reply {
    Reply::Says(status, &[], body.to_owned())
}

pub(super) fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

/// What the default query is answered.
pub(super) fn values(age: f64, targets: u32) -> Reply {
    let now = now();
    let one = |what, value| serde_json::json!({"metric": {"what": what}, "value": [now, value]});
    let result = [
        one("age", age.to_string()),
        one("targets", targets.to_string()),
        one("now", now.to_string()),
    ];
    let data = serde_json::json!({"resultType": "vector", "result": result});
    says(
        200,
        &serde_json::json!({"status": "success", "data": data}).to_string(),
    )
}

/// When it was started, so many seconds ago.
pub(super) fn started(ago: u64) -> Reply {
    let at = SystemTime::now() - Duration::from_secs(ago);
    let at = humantime::format_rfc3339_nanos(at).to_string();
    let data = serde_json::json!({"startTime": at});
    says(
        200,
        &serde_json::json!({"status": "success", "data": data}).to_string(),
    )
}

impl Default for Script {
    fn default() -> Self {
        Self {
            ready: says(200, "Prometheus Server is Ready.\n"),
            query: values(2.0, 10),
            replay: says(404, ""),
            runtime: started(100_000),
            metrics: says(404, ""),
            blocks: says(404, ""),
        }
    }
}

impl Script {
    fn reply(&self, path: &str) -> Reply {
        let reply = match path.split('?').next().unwrap() {
            "/-/ready" => &self.ready,
            "/api/v1/query" => &self.query,
            "/api/v1/status/walreplay" => &self.replay,
            "/api/v1/status/runtimeinfo" => &self.runtime,
            "/api/v1/status/tsdb/blocks" => &self.blocks,
            "/metrics" => &self.metrics,
            _ => return says(404, ""),
        };
        reply.clone()
    }
}

impl Server {
    pub(super) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self::on(listener, address, script)
    }

    fn on(listener: TcpListener, address: SocketAddr, script: Script) -> Self {
        let script = Arc::new(Mutex::new(script));
        let seen = watch::Sender::default();
        let serving = serve(listener, Arc::clone(&script), seen.clone());
        let task = tokio::spawn(serving).abort_handle();
        Self {
            address,
            script,
            seen,
            task,
        }
    }

    pub(super) fn now(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// Gone, with all its connections; its port refuses.
    pub(super) fn end(self) {
        self.task.abort();
    }

    /// Resolves when it has been asked that often from now on.
    pub(super) async fn is_asked(&self, path: &str, times: usize) {
        let count = |seen: &Vec<Seen>| seen.iter().filter(|seen| seen.path == path).count();
        let mut seen = self.seen.subscribe();
        let before = count(&seen.borrow());
        let asked = seen.wait_for(|seen| count(seen) >= before + times);
        drop(timeout(PATIENCE, asked).await.unwrap().unwrap());
    }
}

async fn serve(listener: TcpListener, script: Arc<Mutex<Script>>, seen: watch::Sender<Vec<Seen>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (script, seen) = (Arc::clone(&script), seen.clone());
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, &script, &seen));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = connection.await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    script: &Mutex<Script>,
    seen: &watch::Sender<Vec<Seen>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let path = head.uri.path_and_query().unwrap().to_string();
    let reply = script.lock().unwrap().reply(&path);
    seen.send_modify(|seen| {
        seen.push(Seen {
            method: head.method,
            path,
            agent: head.headers["user-agent"].to_str().unwrap().to_owned(),
            body: String::from_utf8(body.to_vec()).unwrap(),
        });
    });
    let Reply::Says(status, headers, body) = reply else {
        return pending().await;
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    Ok(response)
}

/// Quick, and with deadlines that a busy machine keeps.
pub(super) fn rules() -> Health {
    Health {
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(10),
        ..Health::default()
    }
}

pub(super) fn backend(address: SocketAddr, rules: Health, peers: &Arc<Peers>) -> Arc<Backend> {
    let second = Duration::from_secs(1);
    let memory = Memory {
        remember: second,
        grace: second,
        startup: Duration::ZERO,
        list: second,
    };
    let count = IntGauge::new("waiting", "waiting").unwrap();
    let registry = Arc::new(Registry::new(memory, Arc::new(Waiting::new(8, 8, count))));
    let url = format!("http://{address}").parse().unwrap();
    let found = Found::new(url, &Manner::default());
    let name = Arc::from(address.to_string());
    Backend::open(&found, name, "static", &registry, &Arc::new(rules), peers).unwrap()
}

impl Watched {
    pub(super) fn of(address: SocketAddr, rules: Health, peers: &Arc<Peers>) -> Self {
        let backend = backend(address, rules, peers);
        let metrics = Metrics::new().unwrap();
        let pool = Arc::from("main");
        let series = metrics.query.series(&pool, Some(&backend.name));
        backend.series.set(series).unwrap();
        let report = Report::new(&metrics.query, &pool, &backend.name);
        let told = Arc::new(AtomicUsize::new(0));
        let telling = {
            let told = Arc::clone(&told);
            move || {
                told.fetch_add(1, Ordering::SeqCst);
            }
        };
        let mut task = JoinSet::new();
        let every = Duration::from_millis(50);
        task.spawn(watch(Arc::clone(&backend), every, report, telling));
        Self {
            backend,
            metrics,
            told,
            task,
        }
    }

    pub(super) fn alone(address: SocketAddr) -> Self {
        Self::of(address, rules(), &Arc::default())
    }

    /// Is watched no longer; what metrics there are then.
    pub(super) async fn ends(mut self) -> Metrics {
        self.task.shutdown().await;
        self.metrics
    }

    /// Waits until that holds.
    pub(super) async fn comes_to(&self, what: &str, holds: impl Fn(&Standing) -> bool) -> Standing {
        let mut standing = self.backend.standing.subscribe();
        let comes = async {
            loop {
                // Numbers are not told; states are.
                let now = standing.borrow_and_update().clone();
                if holds(&now) {
                    return now;
                }
                let _ = timeout(Duration::from_millis(20), standing.changed()).await;
            }
        };
        match timeout(PATIENCE, comes).await {
            Ok(standing) => standing,
            Err(_) => panic!("never {what}: {:?}", self.backend.standing.borrow()),
        }
    }

    pub(super) async fn is(&self, state: State) -> Standing {
        self.comes_to(state.as_str(), |standing| standing.state == state)
            .await
    }

    /// The page's line of this metric and label, if there is one.
    pub(super) fn metric(&self, name: &str, label: &str) -> Option<f64> {
        let families = self.metrics.registry.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        let of = |metric: &&prometheus::proto::Metric| {
            let mut labels = metric.get_label().iter();
            label.is_empty() || labels.any(|pair| pair.value() == label)
        };
        let metric = family.get_metric().iter().find(of)?;
        let gauge = metric.get_gauge().get_value();
        Some(gauge + metric.get_counter().get_value())
    }
}
