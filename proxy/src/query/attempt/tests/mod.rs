//! Whole requests, to backends that are dialled.

mod fake;

mod commits;
mod hedges;
mod holds;
mod leaves;
mod passes;
mod refuses;
mod retries;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout};

use self::fake::Fake;
use super::{Answered, Attempts, Refused};
use crate::config::query::Pool;
use crate::metrics::Metrics;
use crate::query::asked::{Asked, Class, Kind, Memory, Params};
use crate::query::backend::Backend;
use crate::query::standing::Peers;

/// Longer than anything here takes, unless it hangs.
const LONG: Duration = Duration::from_secs(30);

/// A pool, as far as attempts know it.
struct Bench {
    attempts: Attempts,
    metrics: Metrics,
    pool: Pool,
    peers: Arc<Peers>,
}

/// What came of a request, read to its end.
#[derive(Debug, PartialEq)]
struct Got {
    status: StatusCode,
    body: Vec<u8>,
    by: String,
    attempts: usize,
    reason: &'static str,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Pool)) -> Self {
        Self::with_memory(256 << 20, change)
    }

    fn with_memory(memory: usize, change: impl FnOnce(&mut Pool)) -> Self {
        let metrics = Metrics::new().unwrap();
        let mut pool = Pool::new("main");
        change(&mut pool);
        let memory = Memory::new(memory, metrics.query.buffered.clone());
        Self {
            attempts: Attempts::new(&pool, &metrics.query, memory),
            metrics,
            pool,
            peers: Arc::default(),
        }
    }

    /// Backends of these addresses, called `a`, `b`, …
    fn order(&self, addresses: &[SocketAddr]) -> Vec<Arc<Backend>> {
        let rules = Arc::new(self.pool.health.clone());
        let of = |(n, address): (usize, &SocketAddr)| {
            let name = char::from(b'a' + u8::try_from(n).unwrap());
            Backend::for_tests(&name.to_string(), *address, &rules, &self.peers)
        };
        addresses.iter().enumerate().map(of).collect()
    }

    async fn make(&self, asked: Asked, order: Vec<Arc<Backend>>) -> Result<Answered, Refused> {
        self.within(LONG, asked, order).await
    }

    async fn within(
        &self,
        time: Duration,
        asked: Asked,
        order: Vec<Arc<Backend>>,
    ) -> Result<Answered, Refused> {
        let attempt = self
            .attempts
            .make(asked, order, Instant::now() + time, time);
        timeout(2 * LONG, attempt).await.unwrap()
    }

    /// An answer, whole.
    async fn get(&self, asked: Asked, order: Vec<Arc<Backend>>) -> Got {
        whole(self.make(asked, order).await.unwrap()).await
    }

    fn retries(&self, from: &str, reason: &str) -> u64 {
        let retries = &self.metrics.query.retries;
        retries.with_label_values(&["main", from, reason]).get()
    }

    fn all_retries(&self) -> u64 {
        sum(&self.metrics, "adit_proxy_query_retries_total")
    }

    fn requests(&self, backend: &str, code: &str) -> u64 {
        let requests = &self.metrics.query.backend_requests;
        requests
            .with_label_values(&["main", backend, "read", code])
            .get()
    }

    fn in_flight(&self, backend: &str) -> i64 {
        let in_flight = &self.metrics.query.in_flight;
        in_flight.with_label_values(&["main", backend]).get()
    }

    fn held(&self) -> i64 {
        self.metrics.query.buffered.get()
    }
}

/// All series of a counter.
fn sum(metrics: &Metrics, name: &str) -> u64 {
    let families = metrics.registry.gather();
    let family = families.iter().find(|family| family.name() == name);
    let series = family.map_or(&[][..], |family| family.get_metric());
    let sum: f64 = series.iter().map(|one| one.get_counter().get_value()).sum();
    sum as u64
}

async fn whole(answered: Answered) -> Got {
    let (head, body) = answered.response.into_parts();
    let body = timeout(LONG, body.collect()).await.unwrap();
    Got {
        status: head.status,
        body: body.unwrap().to_bytes().to_vec(),
        by: answered.by.name.to_string(),
        attempts: answered.attempts,
        reason: answered.reason,
    }
}

const READ: Class = Class {
    kind: Kind::Read,
    retry: true,
    hedge: true,
    hold: true,
    deadline: true,
};

const WRITE: Class = Class {
    kind: Kind::Admin,
    retry: false,
    hedge: false,
    hold: false,
    deadline: true,
};

const STREAM: Class = Class {
    kind: Kind::Stream,
    retry: true,
    hedge: false,
    hold: false,
    deadline: false,
};

fn asked(class: Class, method: Method, body: &[u8]) -> Asked {
    // Its own room: what a bench counts is held of answers.
    let room = Memory::new(
        1 << 20,
        prometheus::IntGauge::new("room", "Bytes.").unwrap(),
    );
    Asked {
        class,
        method,
        path: "/api/v1/query".to_owned(),
        query: Some("query=up%7Bjob%3D%22a%22%7D&time=1".to_owned()),
        headers: HeaderMap::from_iter([(
            HeaderName::from_static("x-scope"),
            HeaderValue::from_static("one"),
        )]),
        body: Bytes::copy_from_slice(body),
        params: Params::default(),
        held: room.take(body.len()).unwrap(),
    }
}

/// `GET /api/v1/query`
fn query() -> Asked {
    asked(READ, Method::GET, b"")
}

/// `POST /api/v1/admin/…`
fn unsafe_one() -> Asked {
    asked(WRITE, Method::POST, b"match%5B%5D=up")
}

fn addresses(fakes: &[&Fake]) -> Vec<SocketAddr> {
    fakes.iter().map(|fake| fake.address).collect()
}
