//! mpp's own load test: 256 requests a second by 15 workers for 5 s, while its endpoints file is swapped
//! every 250 ms among three servers of which one answers 502 to everything.
//!
//! Who falls behind catches up: the n-th request is due at its own moment, and who takes it late sends it
//! at once. So a machine that is busy elsewhere loses nothing, and a router that stalls, as mpp's did,
//! loses all that was due meanwhile.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use adit_tests::fake_prometheus::{FakePrometheus, Fixed, State, result_of};
use adit_tests::metrics::Metrics;
use adit_tests::scraper::{Answer, Connection};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::{Endpoints, started};

const PER_SECOND: u32 = 256;
const WORKERS: u32 = 15;
const LASTS: Duration = Duration::from_secs(5);
const SWAPPED: Duration = Duration::from_millis(250);
/// Whatever was due has to be answered by then: nine times as long.
const LATEST: Duration = Duration::from_secs(45);
/// Of 1280.
const EXPECTED: u32 = PER_SECOND * 5;

/// What the workers do.
struct Load {
    query: SocketAddr,
    started: Instant,
    next: AtomicU32,
}

impl Load {
    /// All that was answered in time.
    async fn run(query: SocketAddr) -> Vec<Answer> {
        let load = Arc::new(Self {
            query,
            started: Instant::now(),
            next: AtomicU32::new(0),
        });
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            let load = Arc::clone(&load);
            workers.spawn(async move { load.work().await });
        }
        workers.join_all().await.concat()
    }

    async fn work(&self) -> Vec<Answer> {
        let mut answers = Vec::new();
        let mut connection = Connection::open(self.query).await;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = Duration::from_secs(1) * number / PER_SECOND;
            if due >= LASTS {
                return answers;
            }
            sleep_until(self.started + due).await;
            let request = "GET /api/v1/query?query=up HTTP/1.1\r\nHost: localhost\r\n\r\n";
            let answer = connection.exchange(request).await;
            if self.started.elapsed() > LATEST {
                return answers;
            }
            answers.push(answer);
        }
    }
}

/// Two that work, and one that does not.
struct Servers {
    good: [FakePrometheus; 2],
    bad: FakePrometheus,
    endpoints: Endpoints,
}

impl Servers {
    fn new(bad: impl FnOnce(&mut State)) -> Self {
        let good = ["a", "b"].map(FakePrometheus::start);
        let bad = FakePrometheus::start_as("bad", |state| {
            state.decide(|_| Some(Fixed::status(502)));
            bad(state);
        });
        let endpoints = Endpoints::new(&[&good[0].url(), &good[1].url()]);
        Self {
            good,
            bad,
            endpoints,
        }
    }

    /// From one list to the next, by places: the bad one is the last. It never ends.
    async fn swap<const N: usize>(&self, lists: [&[usize]; N]) {
        let mut turns = interval(SWAPPED);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let urls = [&self.good[0], &self.good[1], &self.bad].map(FakePrometheus::url);
        for list in lists.iter().cycle() {
            turns.tick().await;
            let list: Vec<&str> = list.iter().map(|place| &*urls[*place]).collect();
            self.endpoints.swap(&list);
        }
    }
}

/// Each time another one is missing.
fn two_of(turn: usize) -> &'static [usize] {
    [&[0, 1], &[1, 2], &[2, 0]][turn]
}

async fn runs<const N: usize>(servers: &Servers, lists: [&[usize]; N], strategy: &[&str]) {
    let endpoints = servers.endpoints.flag();
    let flags = [&[&*endpoints, "--selection-interval=250ms"][..], strategy].concat();
    let (proxy, query) = started(&flags).await;
    let answers = tokio::select! {
        answers = Load::run(query) => answers,
        () = servers.swap(lists) => unreachable!("it never ends"),
    };
    let metrics = Metrics::of(proxy.address).await;
    let denied = metrics.sum("adit_proxy_query_retries_denied_total");
    let mut seen = BTreeSet::new();
    for answer in &answers {
        let status = answer.head.status;
        assert_eq!(status, 200, "{denied} retries denied; {answer:?}");
        assert!(!answer.is_cut(), "{answer:?}");
        let by = answer.head.field("MPP.ServedBy").unwrap();
        let server = servers.good.iter().find(|server| server.url() == by);
        assert_eq!(answer.text(), result_of(server.unwrap().id()));
        seen.insert(by);
    }
    let count = u32::try_from(answers.len()).unwrap();
    assert!(
        count * 100 >= EXPECTED * 98,
        "{count} of {EXPECTED} answers"
    );
    assert_eq!(seen.len(), 2, "{seen:?}");
    // The list was another one again and again, and was looked at.
    assert!(metrics.sum("adit_proxy_query_selections_total") >= 10.0);
    assert!(
        !servers.bad.journal().probes().is_empty(),
        "the bad one was found"
    );
}

/// Whatever a probe asks for is 502, too.
fn out_of_order(bad: &mut State) {
    for path in [
        "/-/ready",
        "/-/healthy",
        "/metrics",
        "/api/v1/query",
        "/api/v1/status/walreplay",
        "/api/v1/status/buildinfo",
        "/api/v1/status/runtimeinfo",
        "/api/v1/status/tsdb/blocks",
    ] {
        bad.to_probes(path, Fixed::status(502));
    }
}

/// Case 2, as mpp has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mpps_own_load_test_passes() {
    let servers = Servers::new(out_of_order);
    runs(
        &servers,
        [0, 1, 2].map(two_of),
        &["--routing-strategy=random"],
    )
    .await;
}

/// Case 2, by the default strategy, for which the first of two goes away again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mpps_own_load_test_passes_by_its_default_strategy() {
    let servers = Servers::new(out_of_order);
    runs(&servers, [0, 1, 2].map(two_of), &[]).await;
}

/// Case 2, and worse: the bad one comes and goes, is healthy by all that it says, and is drawn as often as
/// the others. Only asking another one helps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mpps_own_load_test_passes_where_probes_find_nothing() {
    let servers = Servers::new(|_| {});
    // What is earned for retries meanwhile is enough for all workers at once, whenever it is back.
    let lists = [&[0, 1][..], &[0, 1], &[0, 1], &[0, 1, 2]];
    runs(&servers, lists, &["--routing-strategy=random"]).await;
    let asked = servers.bad.journal().queries().len();
    assert!(asked > 0, "it was asked, and somebody else answered");
}
