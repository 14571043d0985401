//! What a target may cost, whoever asks.

use std::time::Duration;

use adit_common::fault::{Fault, Report};
use adit_tests::metrics::Metrics;
use adit_tests::pair::{self, Client, Pair};
use adit_tests::scraper::{self, Connection, timeout_field};
use adit_tests::scripted_proxy::{ScriptedProxy, text};
use adit_tests::target::answers::{chunk, head_of_chunks, head_of_length, metric, ok};
use adit_tests::target::{Gate, Request, Step, Target};
use adit_tests::wait::{PATIENCE, eventually};
use futures_util::future::join_all;
use http_body_util::Empty;

use super::{offering, pair_with};

const URI: &str = "http://pi:9100/metrics";

/// Answers when the gate is open.
fn gated(gate: &Gate) -> Vec<Step> {
    [vec![Step::Wait(gate.clone())], ok(metric("m"))].concat()
}

async fn gauge(pair: &Pair, name: &str, wanted: f64) {
    eventually(
        PATIENCE,
        &format!("{name} is {wanted}"),
        async || match Metrics::of(pair.client.web).await.sum(name) {
            value if value == wanted => Ok(()),
            value => Err(value.to_string()),
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serial_target_is_asked_one_by_one_and_by_one_connection() {
    const BUSY: Duration = Duration::from_millis(60);
    let target = Target::start([vec![Step::Pause(BUSY)], ok(metric("m"))].concat());
    let (pair, _folder) = pair_with(&target, "serial: true").await;
    for answer in join_all((0..8).map(|_| pair.scrape(URI))).await {
        answer.expect(200);
    }
    let requests = target.requests();
    assert_eq!(requests.len(), 8);
    for two in requests.windows(2) {
        let apart = two[1].at.duration_since(two[0].at);
        assert!(apart >= BUSY, "{apart:?}");
    }
    assert_eq!(target.journal().connections.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_serial_target_is_counted_and_told_when_it_was_in_vain() {
    let gate = Gate::default();
    let target = Target::start(gated(&gate));
    let (pair, _folder) = pair_with(&target, "serial: true").await;
    let scraping = |seconds| scraper::request(URI, &[&timeout_field(seconds)]);
    let proxy = pair.proxy.address;
    let first = tokio::spawn(scraper::send(proxy, scraping(60)));
    target.nth_request(1).await;
    let waiting: Vec<_> = (0..16)
        .map(|_| tokio::spawn(scraper::send(proxy, scraping(60))))
        .collect();
    gauge(&pair, "adit_client_scrapes_waiting", 16.0).await;
    let words = "pi:9100 is busy with scrapes: one is under way and 16 wait";
    scraper::send(proxy, scraping(60)).await.refusal(429, words);
    // One that leaves makes room, and the next one's time runs out.
    waiting[0].abort();
    gauge(&pair, "adit_client_scrapes_waiting", 15.0).await;
    let answer = scraper::send(proxy, scraping(1)).await;
    let answer = answer.refusal(504, "pi:9100");
    assert!(answer.took < Duration::from_secs(10), "{:?}", answer.took);
    gate.open();
    first.await.unwrap().expect(200);
    for answer in waiting.into_iter().skip(1) {
        answer.await.unwrap().expect(200);
    }
    gauge(&pair, "adit_client_scrapes_waiting", 0.0).await;
    assert_eq!(target.requests().len(), 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_scrapes_than_a_target_takes_are_refused_at_once() {
    let gate = Gate::default();
    let target = Target::start(gated(&gate));
    let (pair, _folder) = pair_with(&target, "scrapes: 2").await;
    let proxy = pair.proxy.address;
    let under_way = [(); 2].map(|()| tokio::spawn(scraper::scrape(proxy, URI)));
    target.nth_request(2).await;
    for _ in 0..3 {
        let words = "pi:9100 is busy with scrapes: 2 are under way";
        pair.scrape(URI).await.refusal(429, words);
    }
    gate.open();
    for answer in under_way {
        answer.await.unwrap().expect(200);
    }
    pair.scrape(URI).await.expect(200);
    let metrics = Metrics::of(pair.client.web).await;
    assert_eq!(
        metrics.series("adit_client_faults_total{fault=\"busy\"}"),
        3.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connects_than_a_target_takes_are_refused() {
    let target = Target::start(ok(metric("m")));
    let (pair, _folder) = pair_with(&target, "connects: 1").await;
    let connect = "CONNECT pi:9100 HTTP/1.1\r\nHost: pi:9100\r\n\r\n";
    let mut first = Connection::open(pair.proxy.address).await;
    first.write(connect).await;
    assert_eq!(first.head().await.status, 200);
    let answer = scraper::send(pair.proxy.address, connect).await;
    answer.refusal(429, "pi:9100 is busy with CONNECTs: 1 are under way");
    pair.scrape(URI).await.expect(200);
    drop(first);
    gauge(&pair, "adit_client_connects_open", 0.0).await;
    let mut next = Connection::open(pair.proxy.address).await;
    next.write(connect).await;
    assert_eq!(next.head().await.status, 200);
}

/// Bodies of a kilobyte, or one byte more, by path.
fn of_a_kilobyte(request: &Request) -> Vec<Step> {
    let body = |length: usize| "x".repeat(length);
    let head = |length: usize| vec![Step::send(head_of_length(length)), Step::Next];
    match request.path() {
        "/fits" => ok(body(1024)),
        "/longer" if request.line().starts_with("HEAD") => head(1025),
        "/longer" => ok(body(1025)),
        "/chunks/fit" => vec![
            Step::send(head_of_chunks() + &chunk(&body(1024)) + "0\r\n\r\n"),
            Step::Next,
        ],
        _ => vec![
            Step::send(head_of_chunks() + &chunk(&body(1024))),
            Step::Pause(Duration::from_millis(20)),
            Step::send(chunk("x") + "0\r\n\r\n"),
            Step::Next,
        ],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_over_its_size_is_refused_or_breaks_off_and_is_never_short() {
    let target = Target::start(of_a_kilobyte);
    let (pair, _folder) = pair_with(&target, "response_bytes: 1KiB").await;
    for path in ["/fits", "/chunks/fit"] {
        let answer = pair.scrape(&format!("http://pi:9100{path}")).await;
        assert_eq!(answer.expect(200).body.len(), 1024, "{path}");
    }
    let words = "pi:9100 answers 1025 bytes, and 1024 are allowed";
    pair.scrape("http://pi:9100/longer")
        .await
        .refusal(502, words);
    let head = "HEAD http://pi:9100/longer HTTP/1.1\r\nHost: pi:9100\r\n\r\n";
    let answer = scraper::send(pair.proxy.address, head).await.expect(200);
    assert_eq!(answer.head.field("content-length").as_deref(), Some("1025"));
    for cut in 1..=3 {
        let answer = pair.scrape("http://pi:9100/chunks/longer").await;
        assert!(answer.is_cut(), "{answer:?}");
        assert!(answer.body.len() <= 1024);
        let metrics = Metrics::of(pair.client.web).await;
        let counted = metrics.series("adit_client_responses_cut_total{reason=\"oversized\"}");
        assert_eq!(counted, f64::from(cut));
    }
    // None of the places is lost by it.
    pair.scrape("http://pi:9100/fits").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_targets_own_timeout_is_the_shorter_deadline() {
    let target = Target::start(vec![Step::Stall]);
    let (pair, _folder) = pair_with(&target, "timeout: 300ms").await;
    let request = scraper::request(URI, &[&timeout_field(60)]);
    let answer = scraper::send(pair.proxy.address, request).await;
    let answer = answer.refusal(504, "pi:9100 gave no answer within 0.3s");
    assert!(answer.took < Duration::from_secs(5), "{:?}", answer.took);
}

/// One proxy that does not read must not keep a target from the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_nobody_reads_gives_its_turn_back_after_the_deadline() {
    let target = Target::start(|request: &Request| match request.path() {
        "/flood" => vec![Step::send(head_of_length(64 << 20)), Step::Flood(64 << 20)],
        _ => ok(metric("m")),
    });
    let proxy = ScriptedProxy::start().await;
    let (_folder, flag) = pair::config(&offering(&target, "scrapes: 1"));
    let _client = Client::launch(&[&proxy.url()], &[&flag]).await;
    let mut tunnel = proxy.tunnel().await;
    tunnel.accept().await;
    let request = |path: &str| {
        let mut request = http::Request::new(Empty::new());
        *request.uri_mut() = format!("http://pi:9100{path}").parse().unwrap();
        let millis = "1000".parse().unwrap();
        request.headers_mut().insert("adit-timeout-ms", millis);
        request
    };
    let unread = tunnel.send(request("/flood")).await.unwrap();
    assert_eq!(Report::read_from(unread.headers()), None);
    let refused = tunnel.send(request("/metrics")).await.unwrap();
    let report = Report::read_from(refused.headers()).unwrap();
    assert_eq!(report.fault, Fault::Busy, "{}", report.reason);
    let tunnel = tokio::sync::Mutex::new(tunnel);
    let body = eventually(PATIENCE, "the turn is given back", async || {
        let answer = tunnel.lock().await.send(request("/metrics")).await.unwrap();
        match Report::read_from(answer.headers()) {
            None => Ok(text(answer).await),
            Some(report) => Err(report.reason),
        }
    })
    .await;
    assert_eq!(body, metric("m"));
    target
        .until("the flood is cut", |journal| {
            journal.connections.iter().any(|c| c.aborted)
        })
        .await;
    drop(unread);
}
