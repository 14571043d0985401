//! Backends that are found: they are seen with who found them, get queries, and leave nothing behind.

mod clusters;
mod files;
mod http;
mod names;
mod swaps;
mod union;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_tests::fake_prometheus::{SERVED_BY, result_of};
use adit_tests::metrics::Metrics;
use adit_tests::pair::Proxy;
use adit_tests::scraper::{self, Answer};
use adit_tests::wait::{PATIENCE, eventually, within};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// What every pool of these tests has: all of its backends are asked in turn, and looked at often.
pub(super) const HURRY: &str =
    "strategy: round-robin, selection_interval: 200ms, health: {interval: 200ms, rise: 1}";

/// A proxy with a file, and what stands beside that.
pub(super) struct World {
    folder: TempDir,
    pub(super) proxy: Proxy,
}

/// Replaces a file as one does that others read.
pub(super) fn write(folder: &Path, file: &str, text: &str) {
    let (path, new) = (folder.join(file), folder.join(".new"));
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// The file of a proxy with these pools.
pub(super) fn pools(pools: &[&str]) -> String {
    let pools: String = pools
        .iter()
        .map(|pool| format!("  - {{{HURRY}, {pool}}}\n"))
        .collect();
    format!("query:\n  pools:\n{pools}")
}

/// The query of a reader.
pub(super) async fn ask(query: SocketAddr) -> Answer {
    scraper::page(query, "/api/v1/query?query=up").await
}

/// Who of the fakes has given it.
pub(super) fn giver(answer: &Answer) -> String {
    answer.head.field(SERVED_BY).unwrap_or_default()
}

/// A pool as people see it.
pub(super) async fn seen(pages: SocketAddr, pool: &str) -> Value {
    let page = scraper::page(pages, "/api/v1/backends").await.expect(200);
    let page: Value = serde_json::from_str(&page.text()).unwrap();
    let pools = page["data"]["pools"].as_array().unwrap();
    let pool = pools.iter().find(|one| one["name"] == pool);
    pool.cloned().unwrap_or(Value::Null)
}

/// Its backends, sorted: `URL SOURCE`.
pub(super) fn backends(pool: &Value) -> Vec<String> {
    let of = |backend: &Value| {
        let text = |key: &str| backend[key].as_str().unwrap().to_owned();
        format!("{} {}", text("url"), text("source"))
    };
    let mut all: Vec<_> = pool["backends"]
        .as_array()
        .into_iter()
        .flatten()
        .map(of)
        .collect();
    all.sort();
    all
}

impl World {
    /// With one pool, called `main`, of which the rest is `pool`; `prepare` writes what it names.
    pub(super) async fn new(pool: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::with(&pools(&[&format!("name: main, {pool}")]), &[], prepare).await
    }

    pub(super) async fn with(config: &str, flags: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        write(folder.path(), "proxy.yml", config);
        let file = format!(
            "--config.file={}",
            folder.path().join("proxy.yml").display()
        );
        let mut all = vec!["--query.listen-address=127.0.0.1:0", &*file];
        all.extend(flags);
        let proxy = Proxy::start(&all).await;
        Self { folder, proxy }
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        write(self.folder.path(), file, text);
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(super) fn query(&self) -> SocketAddr {
        self.proxy.query.unwrap()
    }

    pub(super) async fn pool(&self) -> Value {
        seen(self.proxy.address, "main").await
    }

    /// The pool as soon as its backends are these, `URL SOURCE` each.
    pub(super) async fn lists(&self, expected: &[String]) -> Value {
        let mut expected = expected.to_vec();
        expected.sort();
        eventually(
            PATIENCE,
            &format!("backends are {expected:?}"),
            async || {
                let pool = self.pool().await;
                match backends(&pool) == expected {
                    true => Ok(pool),
                    false => Err(pool.to_string()),
                }
            },
        )
        .await
    }

    /// The pool as soon as this can be said of it.
    pub(super) async fn shows(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(PATIENCE, what, async || {
            let pool = self.pool().await;
            match is(&pool) {
                true => Ok(pool),
                false => Err(pool.to_string()),
            }
        })
        .await
    }

    /// As soon as so many backends are healthy, and no others there.
    pub(super) async fn healthy(&self, count: usize) -> Value {
        let is = |pool: &Value| {
            let all = pool["backends"].as_array().unwrap();
            all.len() == count && all.iter().all(|one| one["state"] == "healthy")
        };
        self.shows(&format!("{count} healthy backends"), is).await
    }

    /// As soon as the only source of this kind is in this state; gives its error.
    pub(super) async fn source(&self, kind: &str, state: &str) -> String {
        let of_it = |pool: &Value| {
            let sources = pool["sources"].as_array().unwrap().iter();
            sources.clone().find(|one| one["kind"] == kind).cloned()
        };
        let what = format!("{kind} is {state}");
        let pool = self
            .shows(&what, |pool| {
                of_it(pool).is_some_and(|it| it["state"] == state)
            })
            .await;
        let error = of_it(&pool).unwrap()["error"].clone();
        error.as_str().unwrap_or_default().to_owned()
    }

    /// Asks until each of these has answered, and nobody else has.
    pub(super) async fn answers_of(&self, ids: &[&str]) {
        let mut heard = std::collections::BTreeSet::new();
        let expected: std::collections::BTreeSet<String> =
            ids.iter().map(|id| (*id).to_owned()).collect();
        eventually(PATIENCE, &format!("answers of {ids:?}"), async || {
            let answer = ask(self.query()).await.expect(200);
            heard.insert(giver(&answer));
            assert!(heard.is_subset(&expected), "{heard:?}, not {expected:?}");
            match heard == expected {
                true => Ok(()),
                false => Err(format!("{heard:?}")),
            }
        })
        .await;
    }

    /// Waits until no series has this in it.
    pub(super) async fn has_no_series_with(&self, part: &str) {
        eventually(PATIENCE, &format!("no series with {part}"), async || {
            let page = scraper::page(self.proxy.address, "/metrics")
                .await
                .expect(200);
            let page = page.text();
            match page.lines().find(|line| line.contains(part)) {
                None => Ok(()),
                Some(line) => Err(line.to_owned()),
            }
        })
        .await;
    }

    pub(super) async fn metrics(&self) -> Metrics {
        Metrics::of(self.proxy.address).await
    }
}

/// About a hundred reads a second, none of which may fail.
pub(super) struct Readers {
    count: watch::Sender<usize>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Readers {
    /// So many at once.
    const READERS: u32 = 5;

    pub(super) fn start(query: SocketAddr) -> Self {
        let (count, stop) = (watch::Sender::new(0), CancellationToken::new());
        let mut tasks = JoinSet::new();
        for _ in 0..Self::READERS {
            let (count, stop) = (count.clone(), stop.clone());
            tasks.spawn(async move {
                let mut turn = interval(Duration::from_millis(10) * Self::READERS);
                turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !stop.is_cancelled() {
                    turn.tick().await;
                    let answer = ask(query).await.expect(200);
                    assert!(!giver(&answer).is_empty(), "{answer:?}");
                    assert_eq!(answer.text(), result_of(&giver(&answer)));
                    count.send_modify(|count| *count += 1);
                }
            });
        }
        Self { count, stop, tasks }
    }

    pub(super) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until there were so many.
    pub(super) async fn have_read(&self, reads: usize) {
        let mut count = self.count.subscribe();
        let waited = count.wait_for(|count| *count >= reads);
        within(PATIENCE, "more reads", waited).await.unwrap();
    }

    /// Ends them; so many there were.
    pub(super) async fn stop(mut self) -> usize {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no read has failed");
        }
        *self.count.borrow()
    }
}
