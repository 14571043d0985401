//! How the real programs stop: what is under way finishes, and not for ever.

use std::time::{Duration, Instant};

use adit_tests::binaries::{Client, Proxy};
use adit_tests::program::Program;
use adit_tests::scraper::{self, Connection, End, Head};
use adit_tests::target::answers::{chunk, head_of_chunks, ok};
use adit_tests::target::{Gate, Step, Target};
use adit_tests::wait::{PATIENCE, eventually};

/// A target that sends half a body, waits for the gate, and sends the rest.
fn gated(gate: &Gate) -> Target {
    let (head, tail) = (
        head_of_chunks() + &chunk("one 1\n"),
        chunk("two 2\n") + "0\r\n\r\n",
    );
    Target::start(vec![
        Step::send(head),
        Step::Wait(gate.clone()),
        Step::send(tail),
        Step::Next,
    ])
}

/// A scrape of which half has come, through real programs.
struct HalfScraped {
    proxy: Proxy,
    client: Client,
    gate: Gate,
    _target: Target,
    connection: Connection,
    head: Head,
}

impl HalfScraped {
    async fn new() -> Self {
        let gate = Gate::default();
        let target = gated(&gate);
        let proxy = Proxy::start(&[]).await;
        let flag = format!("--target=pi:9100=http://{}", target.address());
        let client = Client::start(&proxy.url(), &[&flag]).await;
        let mut connection = Connection::open(proxy.address).await;
        connection
            .write(scraper::request("http://pi:9100/metrics", &[]))
            .await;
        let head = connection.head().await;
        connection.wait_for_bytes(6).await;
        Self {
            proxy,
            client,
            gate,
            _target: target,
            connection,
            head,
        }
    }
}

/// Lets the other half go, and sees it arrive.
async fn rest_arrives(gate: &Gate, connection: &mut Connection, head: &Head) {
    gate.open();
    let (body, end) = connection.body(head).await;
    assert_eq!((&*body, end), (&b"one 1\ntwo 2\n"[..], End::Complete));
}

async fn exits_well(program: Program) {
    let ended = program.finished().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_is_told_to_stop_finishes_the_scrape_in_flight() {
    for signal in ["TERM", "INT"] {
        let mut half = HalfScraped::new().await;
        half.proxy.program.signal(signal);
        half.proxy.program.line("draining").await;
        rest_arrives(&half.gate, &mut half.connection, &half.head).await;
        exits_well(half.proxy.program).await;
        drop(half.client);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_told_to_stop_finishes_the_scrape_in_flight_and_gets_no_other() {
    for signal in ["TERM", "INT"] {
        let mut half = HalfScraped::new().await;
        half.client.program.signal(signal);
        let proxy = half.proxy.address;
        eventually(PATIENCE, "the proxy has let it go", async || {
            let metrics = scraper::page(proxy, "/metrics").await.text();
            if metrics.contains("\nadit_proxy_sessions 0\n") {
                Ok(())
            } else {
                Err(metrics)
            }
        })
        .await;
        let other = scraper::scrape(proxy, "http://pi:9100/other").await;
        other.refusal(503, "pi");
        rest_arrives(&half.gate, &mut half.connection, &half.head).await;
        exits_well(half.client.program).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_is_prompt_when_nothing_is_in_flight() {
    let target = Target::start(ok("m 1\n"));
    let proxy = Proxy::start(&[]).await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let client = Client::start(&proxy.url(), &[&flag]).await;
    // An idle keep-alive connection of a scraper's, as Prometheus holds one.
    let mut idle = Connection::open(proxy.address).await;
    idle.exchange(scraper::request("http://pi:9100/metrics", &[]))
        .await
        .expect(200);
    for program in [client.program, proxy.program] {
        let started = Instant::now();
        program.signal("TERM");
        let ended = program.finished().await;
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once() {
    let target = Target::start(vec![Step::Stall]);
    let proxy = Proxy::start(&[]).await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let client = Client::start(&proxy.url(), &[&flag]).await;
    let mut connection = Connection::open(proxy.address).await;
    let request = scraper::request("http://pi:9100/metrics", &[&scraper::timeout_field(60)]);
    connection.write(request).await;
    target.nth_request(1).await;
    for program in [client.program, proxy.program] {
        let started = Instant::now();
        program.signal("TERM");
        program.line("stopping").await;
        program.signal("TERM");
        program.finished().await;
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_grace_has_an_end() {
    let target = Target::start(vec![Step::Stall]);
    let proxy = Proxy::start(&["--shutdown.grace=1s"]).await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let _client = Client::start(&proxy.url(), &[&flag]).await;
    let mut connection = Connection::open(proxy.address).await;
    let request = scraper::request("http://pi:9100/metrics", &[&scraper::timeout_field(60)]);
    connection.write(request).await;
    target.nth_request(1).await;
    let started = Instant::now();
    proxy.program.signal("TERM");
    let ended = proxy.program.finished().await;
    let took = started.elapsed();
    assert!(
        (Duration::from_secs(1)..Duration::from_secs(6)).contains(&took),
        "{took:?}"
    );
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}
