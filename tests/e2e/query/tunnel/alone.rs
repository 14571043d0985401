//! Nobody else has the data: whoever asks while the tunnel is away waits for it, as a scrape does.

use std::time::{Duration, Instant};

use adit_tests::fake_prometheus::{Ending, FakePrometheus, Fixed, result_of};
use adit_tests::metrics::Metrics;
use adit_tests::scraper::{self, Answer};
use adit_tests::wait::{PATIENCE, eventually, within};
use tokio::task::JoinHandle;

use super::behind;
use crate::query::asking::{QUICK, Side, post, served};

const ALONE: &str = "query:\n  pools:\n  - backends: [{url: 'tunnel://prom:9090', name: far}]\n";
/// For a client that comes back however busy the machine is.
const LONG: &str = "--scrape.reconnect-wait=60s";

async fn alone(flags: &[&str]) -> Side {
    Side::with(&format!("{ALONE}    {QUICK}\n"), flags).await
}

fn ask(side: &Side) -> JoinHandle<Answer> {
    let asking = scraper::send(side.query, post("/api/v1/query", "query=up"));
    tokio::spawn(asking)
}

/// Waits until a query waits.
async fn a_query_waits(side: &Side) {
    eventually(PATIENCE, "a query that waits", async || {
        let waiting = Metrics::of(side.query)
            .await
            .sum("adit_proxy_query_waiting");
        (waiting == 1.0).then_some(()).ok_or(waiting.to_string())
    })
    .await;
}

/// Waits for its answer by `far`, with so many tries.
async fn is_answered(asking: JoinHandle<Answer>, tries: &str) {
    let answer = within(PATIENCE, "an answer", asking).await.unwrap();
    let answer = answer.expect(200);
    assert_eq!(served(&answer), ("far".into(), tries.into()));
    assert_eq!(answer.text(), result_of("far"));
}

/// A client was there, and is there no longer.
async fn gone(side: &Side, far: &FakePrometheus) {
    let client = behind(side, far).await;
    side.is("far", "healthy").await;
    drop(client);
    side.is("far", "down").await;
}

/// Before its answer has begun, and while that is held back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_whose_tunnel_is_lost_goes_by_the_next_one() {
    let half = Fixed::status(200)
        .body(vec![b'x'; 200_000])
        .cut(100_000, Ending::Stall);
    for stuck in [Fixed::nothing(Ending::Stall), half] {
        let far = FakePrometheus::start("far");
        let side = alone(&[LONG]).await;
        let client = behind(&side, &far).await;
        side.is("far", "healthy").await;
        far.set(|state| state.once("/api/v1/query", stuck));
        let asking = ask(&side);
        far.until("a query", |journal| journal.of("/api/v1/query").len() == 1)
            .await;
        drop(client);
        a_query_waits(&side).await;
        let _client = behind(&side, &far).await;
        is_answered(asking, "2").await;
        let journal = far.journal();
        let came = journal.of("/api/v1/query");
        assert!(came.iter().all(|one| one.body() == b"query=up"), "{came:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_finds_nobody_waits_for_who_may_be_dialling() {
    let far = FakePrometheus::start("far");
    let side = alone(&[LONG]).await;
    gone(&side, &far).await;
    let asking = ask(&side);
    a_query_waits(&side).await;
    let _client = behind(&side, &far).await;
    is_answered(asking, "1").await;
}

/// Right after its start a proxy has heard of nobody yet. However many there are, the first that comes is
/// asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_was_just_started_waits_for_clients_to_return() {
    let far = FakePrometheus::start("far");
    let others: String = (1..6)
        .map(|n| format!("{{url: 'tunnel://x{n}:9090', name: x{n}}}, "))
        .collect();
    let far_too = "{url: 'tunnel://prom:9090', name: far}";
    let file = format!("query:\n  pools:\n  - {QUICK}\n    backends: [{others}{far_too}]\n");
    let waits = ["--scrape.startup-wait=60s", "--scrape.reconnect-wait=0s"];
    let side = Side::with(&file, &waits).await;
    let asking = ask(&side);
    a_query_waits(&side).await;
    let _client = behind(&side, &far).await;
    is_answered(asking, "1").await;
}

/// The last of those that can be asked has failed, and it is the tunnel that may be mended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_waited_for_when_everybody_else_has_failed() {
    let [far, near] = ["far", "near"].map(FakePrometheus::start);
    near.set(|state| state.always("/api/v1/query", Fixed::status(502)));
    let side = Side::with(
        &format!(
            "query:\n  pools:\n  - strategy: first-available\n    {QUICK}\n    \
             backends: [{{url: 'tunnel://prom:9090', name: far}}, {{url: '{}', name: near}}]\n",
            near.url()
        ),
        &[LONG],
    )
    .await;
    let client = behind(&side, &far).await;
    side.until("far", "is first", |far| far["selected"] == true)
        .await;
    far.set(|state| state.once("/api/v1/query", Fixed::nothing(Ending::Stall)));
    let asking = ask(&side);
    far.until("a query", |journal| journal.of("/api/v1/query").len() == 1)
        .await;
    drop(client);
    near.until("a query", |journal| journal.of("/api/v1/query").len() == 1)
        .await;
    let _client = behind(&side, &far).await;
    is_answered(asking, "3").await;
    assert_eq!(near.journal().of("/api/v1/query").len(), 1);
}

/// Nobody comes: after the wait that a scrape has, the reason. A name nobody ever had is not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_return_is_given_up() {
    let far = FakePrometheus::start("far");
    let wait = Duration::from_secs(6);
    let side = alone(&["--scrape.reconnect-wait=6s", "--scrape.startup-wait=0s"]).await;
    let began = Instant::now();
    let answer = ask(&side).await.unwrap().expect(502);
    assert!(began.elapsed() < wait, "{:?}", began.elapsed());
    assert!(
        answer.text().contains("far: no client for prom"),
        "{answer:?}"
    );
    gone(&side, &far).await;
    let began = Instant::now();
    let answer = ask(&side).await.unwrap().expect(502);
    assert!(began.elapsed() >= wait, "{:?}", began.elapsed());
    assert!(
        answer.text().contains("far: no client for prom"),
        "{answer:?}"
    );
    // Its own time is less.
    let began = Instant::now();
    let asking = scraper::send(side.query, post("/api/v1/query", "query=up&timeout=10ms"));
    asking.await.expect(504);
    assert!(began.elapsed() < wait, "{:?}", began.elapsed());
}
