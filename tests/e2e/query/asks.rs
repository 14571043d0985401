//! Requests of every kind, and pools in which who is asked first is known.

use std::io::Write as _;

use adit_tests::fake_prometheus::FakePrometheus;
use adit_tests::scraper::{self, Answer};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::pool::Pool;

/// The first as written is asked first, whatever became of it before: nobody is left alone, and one bad
/// probe says nothing.
pub(super) const IN_ORDER: &str = "strategy: first-available\n\
    fail_back: 0s\n\
    health: {interval: 1s, timeout: 20s, warm_up: 0s, rise: 1, fall: 1000000, \
    consecutive_failures: 1000000}\n";

/// Those backends, in order, with more keys; returns when all of them are well.
pub(super) async fn in_order(backends: &[&FakePrometheus], keys: &str) -> Pool {
    let pool = Pool::start(backends, &format!("{IN_ORDER}{keys}")).await;
    all_well(&pool, backends).await;
    // Who was well before the first was the first until the strategy has looked again.
    pool.is_first(backends[0].id()).await;
    pool
}

pub(super) async fn all_well(pool: &Pool, backends: &[&FakePrometheus]) {
    for fake in backends {
        pool.is(fake.id(), "healthy").await;
    }
}

/// A request, and what of it has to arrive.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) line: &'static str,
    pub(super) fields: &'static str,
    pub(super) body: Vec<u8>,
}

impl Ask {
    pub(super) fn get(line: &'static str) -> Self {
        Self {
            line,
            fields: "",
            body: Vec::new(),
        }
    }

    /// As Grafana sends it.
    pub(super) fn form() -> Self {
        Self {
            line: "POST /api/v1/query_range",
            fields: "Content-Type: application/x-www-form-urlencoded\r\n",
            body: b"query=up%7Bjob%3D~%22a%2B%22%7D&start=1&end=61.5&step=15s&x=%zz;y".to_vec(),
        }
    }

    /// As Prometheus sends it: every byte there is.
    pub(super) fn remote_read() -> Self {
        Self {
            line: "POST /api/v1/read",
            fields: "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
                     X-Prometheus-Remote-Read-Version: 0.1.0\r\n",
            body: (0..=u8::MAX).cycle().take(5000).collect(),
        }
    }

    pub(super) fn path(&self) -> &'static str {
        let (_, target) = self.line.split_once(' ').unwrap();
        target.split('?').next().unwrap()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let Self { line, fields, body } = self;
        let length = match line.starts_with("GET") {
            true => String::new(),
            false => format!("Content-Length: {}\r\n", body.len()),
        };
        let head = format!("{line} HTTP/1.1\r\nHost: prom.example\r\n{fields}{length}\r\n");
        [head.as_bytes(), body].concat()
    }

    pub(super) async fn to(&self, pool: &Pool) -> Answer {
        scraper::send(pool.query, self.bytes()).await
    }

    /// How often it has arrived there; each time it must have been the same, to the byte.
    pub(super) fn arrived(&self, fake: &FakePrometheus) -> usize {
        let journal = fake.journal();
        let seen = journal.of(self.path());
        for one in &seen {
            assert!(one.request.head.starts_with(self.line), "{one:?}");
            assert!(one.body() == self.body, "{one:?}");
            for field in self.fields.split_terminator("\r\n") {
                let (name, value) = field.split_once(": ").unwrap();
                assert_eq!(one.field(name).as_deref(), Some(value), "{one:?}");
            }
        }
        seen.len()
    }
}

pub(super) fn gzipped(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

/// The words of an error as the API has them.
#[track_caller]
pub(super) fn words(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(body["status"], "error", "{body}");
    body["error"].as_str().unwrap().to_owned()
}
