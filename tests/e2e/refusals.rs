//! Scrapes that cannot be answered are answered at once, and say why.

use std::time::Duration;

use adit_tests::pair::Pair;
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper;
use adit_tests::target::answers::ok;
use adit_tests::target::{Request, Step, Target};
use adit_tests::turn::{alone, measured};

/// A job that scrapes `pi:9100`, or what is given, through the proxy.
fn job(name: &str, pair: &Pair, target: &str) -> String {
    let url = pair.proxy.url();
    format!(
        "- job_name: {name}\n  proxy_url: {url}\n  static_configs: [{{targets: ['{target}']}}]\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_name_is_answered_at_once_and_prometheus_shows_why() {
    let _turn = alone().await;
    let pair = Pair::start(&["--target=pi:9100"]).await;
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let answer = pair
            .scrape("http://nas:9100/metrics")
            .await
            .refusal(502, "no client for nas");
        best = best.min(answer.took);
    }
    measured("an unknown name is answered within", best);
    assert!(best < Duration::from_millis(500), "{best:?}");
    let prometheus = Prometheus::start(&job("unknown", &pair, "nas:9100")).await;
    let error = prometheus.is_down("unknown").await;
    assert!(
        error.contains("502") && error.contains("no client for nas"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_not_offered_is_forbidden() {
    let target = Target::start(ok("m 1\n"));
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    pair.scrape("http://pi:9101/metrics")
        .await
        .refusal(403, "pi:9101");
    pair.scrape("https://pi:9101/metrics")
        .await
        .refusal(403, "pi:9101");
    let path = "/scrape/http/pi:9101/metrics";
    scraper::page(pair.proxy.address, path)
        .await
        .refusal(403, "pi:9101");
    let prometheus = Prometheus::start(&job("forbidden", &pair, "pi:9101")).await;
    let error = prometheus.is_down("forbidden").await;
    assert!(
        error.contains("403") && error.contains("pi:9101 is not offered"),
        "{error}"
    );
    assert_eq!(target.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_target_is_told_before_prometheus_gives_up() {
    let target = Target::start(vec![Step::Stall]);
    let upstream = format!("--target=pi:9100=http://{}", target.address());
    // What a busy machine takes to tell it.
    let pair = Pair::with(&["--scrape.timeout-offset=2s"], &[&upstream]).await;
    let prometheus = Prometheus::with_interval("4s", &job("stalled", &pair, "pi:9100")).await;
    let error = prometheus.is_down("stalled").await;
    assert!(
        error.contains("504") && error.contains("pi:9100"),
        "{error}"
    );
    let again = prometheus.scrapes("stalled", 3).await;
    assert!(again.iter().all(|up| *up == 0.0), "{again:?}");
    let error = prometheus.target("stalled").await.last_error;
    assert!(
        error.contains("504") && error.contains("pi:9100"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_timeout_a_scraper_can_write_has_an_end() {
    let target = Target::start(vec![Step::Stall]);
    let proxy = ["--scrape.default-timeout=3s", "--scrape.max-timeout=8s"];
    let upstream = format!("--target=pi:9100=http://{}", target.address());
    let pair = Pair::with(&proxy, &[&upstream]).await;
    let written = [
        ("0.5", 0.2, 2.5),
        ("5.5", 5.2, 7.5),
        ("1e9", 7.7, 20.0),
        ("inf", 7.7, 20.0),
        ("NaN", 2.7, 5.5),
        ("-1", 2.7, 5.5),
        ("0", 2.7, 5.5),
        ("soon", 2.7, 5.5),
        ("", 2.7, 5.5),
    ];
    let scraping = written.map(async |(written, least, most)| {
        let field = format!("X-Prometheus-Scrape-Timeout-Seconds: {written}");
        let answer =
            scraper::scrape_with(pair.proxy.address, "http://pi:9100/metrics", &[&field]).await;
        let answer = answer.refusal(504, "pi:9100");
        let took = answer.took.as_secs_f64();
        assert!((least..most).contains(&took), "{written:?}: {took}");
    });
    futures_util::future::join_all(scraping).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_breaks_off_before_its_head_is_a_bad_gateway() {
    let target = Target::start(|request: &Request| match request.path() {
        "/close" => vec![],
        "/reset" => vec![Step::Reset],
        "/half" => vec![Step::send("HTTP/1.1 200 OK\r\nContent-")],
        _ => vec![Step::send("SSH-2.0-OpenSSH_9.2\r\n")],
    });
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    for path in ["/close", "/reset", "/half", "/other"] {
        pair.scrape(&format!("http://pi:9100{path}"))
            .await
            .refusal(502, "pi:9100");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_left_is_away_and_not_unknown() {
    let Pair { proxy, client } = Pair::start(&["--target=pi:9100"]).await;
    client.stop().await;
    let answer = adit_tests::wait::eventually(
        adit_tests::wait::PATIENCE,
        "the client is away",
        async || {
            let answer = scraper::scrape(proxy.address, "http://pi:9100/metrics").await;
            if answer.head.status == 503 {
                Ok(answer)
            } else {
                Err(format!("{answer:?}"))
            }
        },
    )
    .await;
    let answer = answer.refusal(503, "last seen");
    assert!(answer.head.reason.contains("pi"), "{}", answer.head.reason);
    assert!(
        answer.head.field("retry-after").is_some(),
        "{}",
        answer.head.raw
    );
    let connect = "CONNECT pi:9100 HTTP/1.1\r\nHost: pi:9100\r\n\r\n";
    scraper::send(proxy.address, connect)
        .await
        .refusal(503, "last seen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_nobody_wanted_does_not_harm_the_next_request() {
    let pair = Pair::start(&["--target=pi:9100"]).await;
    let body = "x".repeat(1 << 20);
    let mut connection = scraper::Connection::open(pair.proxy.address).await;
    let request = format!(
        "POST http://nas:9100/x HTTP/1.1\r\nHost: nas:9100\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = connection.exchange(request).await;
    assert_eq!(answer.head.status, 502, "{answer:?}");
    pair.scrape("http://nas:9100/metrics")
        .await
        .refusal(502, "nas");
}
