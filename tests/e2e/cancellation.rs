//! Who no longer wants an answer costs nobody anything.

use std::time::{Duration, Instant};

use adit_tests::pair::Pair;
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper::{self, Connection};
use adit_tests::target::answers::{chunk, head_of_chunks};
use adit_tests::target::{Step, Target};
use adit_tests::turn::{alone, measured};

/// What we promise is 200 ms. More here only because other tests share the cores; what it must be
/// told from is a deadline, which is 10 s and more.
const AT_ONCE: Duration = Duration::from_secs(5);

fn before_the_head() -> Vec<Step> {
    vec![Step::Stall]
}

fn mid_body() -> Vec<Step> {
    vec![
        Step::send(head_of_chunks() + &chunk("one 1\n")),
        Step::Stall,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_killed_mid_scrape_frees_the_target_at_once() {
    let _turn = alone().await;
    for (when, steps) in [
        ("before the head", before_the_head()),
        ("mid-body", mid_body()),
    ] {
        let target = Target::start(steps);
        let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
        let mut prometheus = Prometheus::with_interval(
            "15s",
            &format!(
                "- job_name: killed\n  scrape_interval: 2s\n  scrape_timeout: 2s\n  metrics_path: /x\n  \
                 proxy_url: {0}\n  static_configs: [{{targets: ['pi:9100']}}]",
                pair.proxy.url()
            ),
        )
        .await;
        target.nth_request(1).await;
        let killed = prometheus.kill();
        let closed = target.all_closed().await;
        let took = closed.saturating_duration_since(killed);
        measured(
            &format!("Prometheus killed {when}, target's connection closed after"),
            took,
        );
        assert!(took < AT_ONCE, "{when}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scraper_that_leaves_frees_the_target_at_once() {
    let _turn = alone().await;
    let stuck_in_flood = vec![
        Step::send(head_of_chunks() + "40000000\r\n"),
        Step::Flood(1 << 30),
    ];
    for (when, steps) in [
        ("before the head", before_the_head()),
        ("mid-body", mid_body()),
        ("while the body waits for the scraper", stuck_in_flood),
    ] {
        for how in ["FIN", "RST"] {
            let target = Target::start(steps.clone());
            let pair =
                Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
            let mut connection = Connection::open(pair.proxy.address).await;
            connection
                .write(scraper::request("http://pi:9100/metrics", &[]))
                .await;
            target.nth_request(1).await;
            if when != "before the head" {
                connection.head().await;
            }
            // Let what is on its way arrive: a flood fills every buffer.
            tokio::time::sleep(Duration::from_millis(200)).await;
            let (stream, _) = connection.into_parts();
            if how == "RST" {
                stream.set_zero_linger().unwrap();
            }
            let left = Instant::now();
            drop(stream);
            let took = target.all_closed().await.saturating_duration_since(left);
            measured(
                &format!("scraper left {when} by {how}, target freed after"),
                took,
            );
            assert!(took < AT_ONCE, "{when}, {how}: {took:?}");
            assert!(target.journal().connections[0].aborted);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_frees_the_target_too() {
    for (when, steps) in [
        ("before the head", before_the_head()),
        ("mid-body", mid_body()),
    ] {
        let target = Target::start(steps);
        let flag = format!("--target=pi:9100=http://{}", target.address());
        // A second is left of the scraper's three.
        let pair = Pair::with(&["--scrape.timeout-offset=2s"], &[&flag]).await;
        let started = Instant::now();
        let timeout = scraper::timeout_field(3);
        let answer =
            scraper::scrape_with(pair.proxy.address, "http://pi:9100/metrics", &[&timeout]).await;
        match when {
            "mid-body" => assert!(answer.is_cut(), "{answer:?}"),
            _ => assert_eq!(answer.head.status, 504, "{answer:?}"),
        }
        assert!(
            answer.took < Duration::from_secs(3),
            "{when}: {:?}",
            answer.took
        );
        let took = target.all_closed().await.saturating_duration_since(started);
        assert!(took < Duration::from_secs(1) + AT_ONCE, "{when}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_scrapes_given_up_do_not_wear_the_tunnel_out() {
    let target = Target::start(
        |request: &adit_tests::target::Request| match request.path() {
            "/good" => adit_tests::target::answers::ok("good 1\n"),
            _ => vec![
                Step::send(head_of_chunks() + "40000000\r\n"),
                Step::Flood(1 << 30),
            ],
        },
    );
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    // h2 forgives 1024 in a connection's lifetime unless told otherwise, and 20 at once.
    for round in 0..35 {
        let mut connections = Vec::new();
        for _ in 0..32 {
            let mut connection = Connection::open(pair.proxy.address).await;
            connection
                .write(scraper::request("http://pi:9100/flood", &[]))
                .await;
            connections.push(connection);
        }
        connections[0].head().await;
        drop(connections);
        let answer = pair.scrape("http://pi:9100/good").await;
        assert_eq!(answer.head.status, 200, "round {round}: {answer:?}");
    }
    let page = scraper::page(pair.proxy.address, "/metrics")
        .await
        .expect(200)
        .text();
    let ended = page
        .lines()
        .find(|line| line.starts_with("adit_proxy_sessions_ended_total"));
    assert_eq!(ended, None, "the session is still the first");
}
