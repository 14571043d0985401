//! One real Prometheus dialled and one behind a client's tunnel, a hundred reads a second, and each of
//! the programs killed in turn: nobody's read fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit_tests::binaries::Client;
use adit_tests::metrics::Metrics;
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper::{Answer, Connection, End};
use adit_tests::target::Target;
use adit_tests::target::answers::{ok, series};
use adit_tests::turn::{alone, measured};
use adit_tests::wait::{PATIENCE, eventually};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::asking::{FORM, Side};

/// Each with a connection of its own, as a data source's are.
const CALLERS: u32 = 10;
/// Of one caller: a hundred a second of all of them.
const PACE: Duration = Duration::from_millis(100);
/// Reads before, between and behind the kills.
const READS: u64 = 100;
const RETRIES: &str = "adit_proxy_query_retries_total";

/// Who is killed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    /// What dials out for the far one.
    Client,
    /// The one behind the client, which stays.
    Far,
    /// The one that is dialled.
    Near,
}

/// Reads that go on until they are told to end.
struct Readers {
    tasks: JoinSet<Tally>,
    ends: Arc<AtomicBool>,
    done: Arc<std::sync::atomic::AtomicU64>,
}

/// What came of them.
#[derive(Debug, Default)]
struct Tally {
    reads: u32,
    /// Answered by another backend than the first that was asked.
    retried: u32,
    slowest: Duration,
    failed: Vec<String>,
}

impl Readers {
    fn start(query: SocketAddr) -> Self {
        let mut readers = Self {
            tasks: JoinSet::new(),
            ends: Arc::default(),
            done: Arc::default(),
        };
        for n in 0..CALLERS {
            let (ends, done) = (Arc::clone(&readers.ends), Arc::clone(&readers.done));
            readers.tasks.spawn(async move {
                let mut tally = Tally::default();
                let mut connection = Connection::open(query).await;
                let mut clock = interval(PACE);
                clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !ends.load(Ordering::Relaxed) {
                    clock.tick().await;
                    let answer = connection.exchange(read(n + tally.reads)).await;
                    if answer.head.status == 0 || answer.head.field("connection").is_some() {
                        connection = Connection::open(query).await;
                    }
                    tally.note(&answer);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                tally
            });
        }
        readers
    }

    /// Waits for so many more reads, whatever they come to.
    async fn more(&self) {
        let enough = self.done.load(Ordering::Relaxed) + READS;
        let what = "more reads";
        eventually(PATIENCE, what, async || {
            let done = self.done.load(Ordering::Relaxed);
            (done >= enough)
                .then_some(())
                .ok_or_else(|| format!("{done} of {enough}"))
        })
        .await;
    }

    async fn end(mut self) -> Tally {
        self.ends.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        while let Some(tally) = self.tasks.join_next().await {
            let tally = tally.unwrap();
            all.reads += tally.reads;
            all.retried += tally.retried;
            all.slowest = all.slowest.max(tally.slowest);
            all.failed.extend(tally.failed);
        }
        all
    }
}

impl Tally {
    fn note(&mut self, answer: &Answer) {
        self.reads += 1;
        self.slowest = self.slowest.max(answer.took);
        let tries = answer.head.field("adit-attempts");
        self.retried += u32::from(tries.is_some_and(|tries| tries != "1"));
        let good = answer.head.status == 200 && answer.end == End::Complete;
        if !good || !answer.text().starts_with("{\"status\":\"success\"") {
            let head = answer.head.raw.clone();
            self.failed
                .push(format!("{head}{} {:?}", answer.text(), answer.end));
        }
    }
}

/// An instant query, a range by POST, labels: in turn.
fn read(n: u32) -> String {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (path, form) = match n % 3 {
        0 => {
            return "GET /api/v1/query?query=sum(n) HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
        }
        1 => {
            let window = format!("start={}&end={now}&step=15", now - 3600);
            (
                "/api/v1/query_range",
                format!("query=rate(n%5B1m%5D)&{window}"),
            )
        }
        _ => ("/api/v1/labels", "match%5B%5D=n".to_owned()),
    };
    let length = form.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{FORM}Content-Length: {length}\r\n\r\n{form}"
    )
}

/// The scenario: the first is killed and comes back, then the other is killed.
async fn kill(first: Kill) {
    let _alone = alone().await;
    let target = Target::start(ok(series("n", 50)));
    let jobs = format!(
        "- job_name: n\n  static_configs: [{{targets: ['{}']}}]",
        target.address()
    );
    let (mut near, mut far) = tokio::join!(Prometheus::start(&jobs), Prometheus::start(&jobs));
    near.scrapes("n", 2).await;
    far.scrapes("n", 2).await;
    // Everybody is with one of them, or both are asked all the time.
    let strategy = match first {
        Kill::Client => "most-data",
        Kill::Far | Kill::Near => "round-robin",
    };
    let side = Side::start(&format!(
        "query: {{pools: [{{strategy: {strategy}, backends: [{{url: 'http://{}', name: near}}, \
         {{url: 'tunnel://prom:9090', name: far}}], health: {{interval: 500ms, timeout: 5s, warm_up: 0s}}}}]}}\n",
        near.address
    ))
    .await;
    let flag = format!("--target=prom:9090=http://{}", far.address);
    let mut client = Client::start(&side.proxy.url(), &[&flag]).await;
    for name in ["near", "far"] {
        side.is(name, "healthy").await;
    }
    let readers = Readers::start(side.query);
    readers.more().await;
    let killed = match first {
        Kill::Client => client.program.kill(),
        Kill::Far => far.kill(),
        Kill::Near => near.kill(),
    };
    let (gone, other) = match first {
        Kill::Near => ("near", "far"),
        Kill::Client | Kill::Far => ("far", "near"),
    };
    side.is(gone, "down").await;
    measured(
        &format!("{first:?} killed, until its backend is known to be down"),
        killed.elapsed(),
    );
    readers.more().await;
    match first {
        Kill::Client => {
            client = Client::start(&side.proxy.url(), &[&flag]).await;
            let back = Instant::now();
            side.is("far", "healthy").await;
            measured(
                "the client is back, until its backend is healthy",
                back.elapsed(),
            );
            readers.more().await;
            near.kill();
        }
        Kill::Far => {
            far.restart().await;
            side.is("far", "healthy").await;
            readers.more().await;
            near.kill();
        }
        Kill::Near => {
            near.restart().await;
            side.is("near", "healthy").await;
            readers.more().await;
            // In good order, for once: what is under way there is finished.
            client.program.signal("TERM");
        }
    }
    side.is(other, "down").await;
    readers.more().await;
    let tally = readers.end().await;
    let retries = Metrics::of(side.proxy.address).await.sum(RETRIES);
    measured(
        &format!("{first:?} killed first: reads, retried, the slowest"),
        (tally.reads, tally.retried, tally.slowest),
    );
    assert_eq!(tally.failed, [""; 0], "of {} reads", tally.reads);
    assert!(f64::from(tally.retried) <= retries, "{tally:?} {retries}");
    drop((near, far, client));
}

/// A client is gone and comes back; then the other server is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_fails_when_a_client_is_killed_and_then_the_server_that_is_dialled() {
    kill(Kill::Client).await;
}

/// The server behind the client is gone and comes back over its WAL; then the other one is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_fails_when_the_server_behind_a_client_is_killed() {
    kill(Kill::Far).await;
}

/// The server that is dialled is gone and comes back over its WAL; then the client of the other one is
/// stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_fails_when_the_server_that_is_dialled_is_killed_and_then_a_client() {
    kill(Kill::Near).await;
}

/// Returns when all readers wait for the tunnel.
async fn all_wait(side: &Side) {
    eventually(PATIENCE, "readers that wait", async || {
        let metrics = Metrics::of(side.proxy.address).await;
        let waiting = metrics.sum("adit_proxy_query_waiting");
        let all = waiting == f64::from(CALLERS);
        all.then_some(()).ok_or(waiting.to_string())
    })
    .await;
}

/// Nobody stands in for the one behind the client: its readers wait until the client is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_fails_when_the_client_of_the_only_server_is_killed_and_comes_back() {
    let _alone = alone().await;
    let target = Target::start(ok(series("n", 50)));
    let jobs = format!(
        "- job_name: n\n  static_configs: [{{targets: ['{}']}}]",
        target.address()
    );
    let far = Prometheus::start(&jobs).await;
    far.scrapes("n", 2).await;
    let file = "query: {pools: [{backends: [{url: 'tunnel://prom:9090', name: far}], \
                health: {interval: 500ms, timeout: 5s, warm_up: 0s}}]}\n";
    let side = Side::with(file, &["--scrape.reconnect-wait=30s"]).await;
    let flag = format!("--target=prom:9090=http://{}", far.address);
    let mut client = Client::start(&side.proxy.url(), &[&flag]).await;
    side.is("far", "healthy").await;
    let readers = Readers::start(side.query);
    readers.more().await;
    for _ in 0..2 {
        let killed = client.program.kill();
        all_wait(&side).await;
        client = Client::start(&side.proxy.url(), &[&flag]).await;
        readers.more().await;
        measured("until a hundred more were answered", killed.elapsed());
    }
    let tally = readers.end().await;
    measured(
        "killed twice: reads, asked again, the slowest",
        (tally.reads, tally.retried, tally.slowest),
    );
    assert_eq!(tally.failed, [""; 0], "of {} reads", tally.reads);
    drop(client);
}
