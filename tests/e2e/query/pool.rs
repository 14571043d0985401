//! A proxy with a pool of its own, what it says of its backends, and callers who ask all the time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_tests::fake_prometheus::FakePrometheus;
use adit_tests::metrics::Metrics;
use adit_tests::pair::Proxy;
use adit_tests::scraper::{self, Answer, End};
use adit_tests::wait::{PATIENCE, eventually};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

pub(super) const LISTEN: &str = "--query.listen-address=127.0.0.1:0";
/// Probes often, and with a deadline that a busy machine keeps; servers are warm from the start.
pub(super) const QUICK: &str = "health: {interval: 100ms, timeout: 20s, warm_up: 0s}\n\
                                selection_interval: 100ms\n";
const QUERY: &str = "/api/v1/query?query=up";

/// A proxy with pools, in this process.
pub(super) struct Pool {
    pub(super) proxy: Proxy,
    pub(super) query: SocketAddr,
    folder: Arc<TempDir>,
}

impl Pool {
    /// With these backends, first to last, and these keys, YAML from the first column.
    pub(super) async fn start(backends: &[&FakePrometheus], keys: &str) -> Self {
        let named = backends.iter().map(|fake| (fake.id(), fake.url()));
        let named: Vec<(&str, String)> = named.collect();
        Self::of(&named, keys).await
    }

    /// The same, of any.
    pub(super) async fn of(backends: &[(&str, String)], keys: &str) -> Self {
        Self::with(&format!(
            "query:\n  pools:\n{}",
            pool("main", backends, keys)
        ))
        .await
    }

    /// With this configuration.
    pub(super) async fn with(config: &str) -> Self {
        Self::in_folder(Self::folder(), config).await
    }

    /// For a configuration, and what is beside it.
    pub(super) fn folder() -> Arc<TempDir> {
        Arc::new(tempfile::tempdir().unwrap())
    }

    /// With this configuration in that folder.
    pub(super) async fn in_folder(folder: Arc<TempDir>, config: &str) -> Self {
        Self::listening(LISTEN, folder, config).await
    }

    /// With this configuration in that folder, where that flag says.
    pub(super) async fn listening(flag: &str, folder: Arc<TempDir>, config: &str) -> Self {
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let file = format!("--config.file={}", file.display());
        let proxy = Proxy::start(&[flag, &file]).await;
        let query = proxy.query.unwrap();
        Self {
            proxy,
            query,
            folder,
        }
    }

    /// Has it read another configuration.
    pub(super) async fn reload(&self, config: &str) {
        std::fs::write(self.folder.path().join("config.yml"), config).unwrap();
        let request = "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        scraper::send(self.proxy.address, request).await.expect(200);
    }

    /// What it says of the pool `main`, or of the first without one.
    pub(super) async fn says(&self) -> Value {
        said(self.query).await
    }

    pub(super) async fn backend(&self, name: &str) -> Value {
        backend(&self.says().await, name)
    }

    /// Waits until that holds of what it says of a backend.
    pub(super) async fn comes_to(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        comes_to(self.query, name, what, holds).await
    }

    /// Waits for a state, and gives all that is said then.
    pub(super) async fn is(&self, name: &str, state: &str) -> Value {
        self.comes_to(name, state, |said| said["state"] == state)
            .await
    }

    /// Waits until all that are well have shown what they have: from now on nobody is the first for want
    /// of others.
    pub(super) async fn all_are_known(&self) {
        all_are_known(self.query).await;
    }

    /// Waits until it is the first, and well.
    pub(super) async fn is_first(&self, name: &str) -> Value {
        let first = |said: &Value| said["selected"] == true && said["state"] == "healthy";
        self.comes_to(name, "the first", first).await
    }

    /// One query.
    pub(super) async fn ask(&self) -> Answer {
        scraper::page(self.query, QUERY).await
    }

    pub(super) async fn metrics(&self) -> Metrics {
        Metrics::of(self.query).await
    }

    /// Waits until a metric's series of a backend, with more labels where it has some, has grown by so much.
    pub(super) async fn grows(&self, series: &str, by: f64) {
        let before = self.metrics().await.series(series);
        eventually(PATIENCE, series, async || {
            let now = self.metrics().await.series(series);
            match now >= before + by {
                true => Ok(()),
                false => Err(format!("{now} after {before}")),
            }
        })
        .await;
    }
}

/// An entry of `pools`.
pub(super) fn pool(name: &str, backends: &[(&str, String)], keys: &str) -> String {
    let backends = backends.iter();
    let backends = backends.map(|(name, url)| format!("    - {{name: {name}, url: '{url}'}}\n"));
    let backends: String = backends.collect();
    let backends = match backends.is_empty() {
        true => String::new(),
        false => format!("    backends:\n{backends}"),
    };
    let keys = keys.lines().map(|line| format!("    {line}\n"));
    format!("  - name: {name}\n{backends}{}", keys.collect::<String>())
}

/// What is said at this address of the pool `main`, or of the first without one.
pub(super) async fn said(query: SocketAddr) -> Value {
    let page = scraper::page(query, "/api/v1/backends").await.expect(200);
    let said: Value = serde_json::from_slice(&page.body).unwrap();
    let pools = said["data"]["pools"].as_array().cloned();
    let pools = pools.unwrap_or_default();
    let main = pools.iter().find(|pool| pool["name"] == "main");
    main.or(pools.first()).cloned().unwrap_or_default()
}

/// Waits until all in the pool are well and have shown what they have.
pub(super) async fn all_are_known(query: SocketAddr) {
    eventually(PATIENCE, "every score", async || {
        let said = said(query).await;
        let backends = said["backends"].as_array().cloned().unwrap_or_default();
        let known = |one: &Value| one["state"] == "healthy" && one["score"].is_number();
        match !backends.is_empty() && backends.iter().all(known) {
            true => Ok(()),
            false => Err(said.to_string()),
        }
    })
    .await;
}

/// One backend of a pool, or null.
pub(super) fn backend(pool: &Value, name: &str) -> Value {
    let backends = pool["backends"].as_array().cloned().unwrap_or_default();
    let mut named = backends.into_iter().filter(|one| one["name"] == name);
    named.next().unwrap_or(Value::Null)
}

pub(super) async fn comes_to(
    query: SocketAddr,
    name: &str,
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Value {
    eventually(PATIENCE, &format!("{name} is {what}"), async || {
        let pool = said(query).await;
        let said = backend(&pool, name);
        match holds(&said) {
            true => Ok(said),
            false => Err(pool.to_string()),
        }
    })
    .await
}

/// Who has answered, as the answer says.
pub(super) fn by(answer: &Answer) -> String {
    answer.head.field("adit-served-by").unwrap_or_default()
}

pub(super) fn reason(answer: &Answer) -> String {
    answer.head.field("adit-reason").unwrap_or_default()
}

/// How many were asked for it.
pub(super) fn attempts(answer: &Answer) -> String {
    answer.head.field("adit-attempts").unwrap_or_default()
}

/// Callers who ask all the time, so many a second, whatever becomes of those before. Each on a connection
/// of its own.
pub(super) struct Load {
    stop: CancellationToken,
    running: tokio::task::JoinHandle<Vec<(Instant, Answer)>>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) asked: usize,
    /// Those that were no whole 200.
    pub(super) failed: Vec<String>,
    /// Those answered by each.
    pub(super) by: BTreeMap<String, usize>,
    /// Those that more than one was asked for.
    pub(super) retried: usize,
}

impl Load {
    pub(super) fn start(query: SocketAddr, per_second: u32) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let running = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_secs(1) / per_second);
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut asking = JoinSet::new();
            loop {
                tokio::select! {
                    () = stopped.cancelled() => break,
                    _ = tick.tick() => {}
                }
                asking.spawn(async move {
                    let began = Instant::now();
                    (began, scraper::page(query, QUERY).await)
                });
            }
            asking.join_all().await
        });
        Self { stop, running }
    }

    /// No more of them; what came of those there were.
    pub(super) async fn stop(self) -> Tally {
        self.stop.cancel();
        let answers = self.running.await.unwrap();
        let mut tally = Tally {
            asked: answers.len(),
            failed: Vec::new(),
            by: BTreeMap::new(),
            retried: 0,
        };
        for (_, answer) in &answers {
            if answer.head.status != 200 || answer.end != End::Complete {
                let said = answer.text();
                let head = &answer.head.raw;
                tally.failed.push(format!("{head}{said} {:?}", answer.end));
            }
            tally.retried += usize::from(attempts(answer) != "1");
            *tally.by.entry(by(answer)).or_default() += 1;
        }
        tally
    }
}

impl Tally {
    /// Itself, if every request was answered well.
    #[track_caller]
    pub(super) fn all_well(self) -> Self {
        let (failed, all) = (self.failed.len(), self.asked);
        assert!(failed == 0, "{failed} of {all}: {}", self.failed[0]);
        assert!(all > 0);
        self
    }
}
