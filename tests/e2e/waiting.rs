//! Scrapes of a name that is away, and of any name right after the start.

use std::time::Duration;

use adit_tests::metrics::Metrics;
use adit_tests::pair::Proxy;
use adit_tests::scraper;
use adit_tests::tunnel::FakeClient;
use adit_tests::wait::{PATIENCE, eventually};
use tokio::time::Instant;

const PI: &str = r#"{"names":["pi"],"any_port":true}"#;

async fn waiting(proxy: &Proxy, count: f64) {
    eventually(PATIENCE, "scrapes wait", async || {
        match Metrics::of(proxy.address)
            .await
            .sum("adit_proxy_scrapes_waiting")
        {
            waiting if waiting == count => Ok(()),
            waiting => Err(waiting.to_string()),
        }
    })
    .await;
}

/// A proxy whose only client was there, and has just left.
async fn deserted(flags: &[&str]) -> Proxy {
    let proxy = Proxy::start(flags).await;
    let client = FakeClient::register(proxy.address, PI).await;
    client.accepted().await;
    drop(client);
    eventually(
        PATIENCE,
        "the client is gone",
        async || match Metrics::of(proxy.address).await.sum("adit_proxy_sessions") {
            0.0 => Ok(()),
            count => Err(count.to_string()),
        },
    )
    .await;
    proxy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_away_is_waited_for_and_then_told_when_it_was_seen() {
    let proxy = deserted(&["--scrape.reconnect-wait=3s"]).await;
    let answer = scraper::scrape(proxy.address, "http://pi:9100/m").await;
    assert_eq!(answer.head.status, 503);
    assert!(
        answer.head.reason.contains("away (last seen "),
        "{answer:?}"
    );
    assert_eq!(answer.head.field("retry-after").as_deref(), Some("5"));
    let took = answer.took;
    assert!(
        took >= Duration::from_millis(2900) && took < Duration::from_secs(8),
        "{took:?}"
    );
    // Its own deadline comes first when that is earlier.
    let field = "X-Prometheus-Scrape-Timeout-Seconds: 0.5";
    let answer = scraper::scrape_with(proxy.address, "http://pi:9100/m", &[field]).await;
    assert_eq!(answer.head.status, 503);
    assert!(
        answer.took < Duration::from_millis(2500),
        "{:?}",
        answer.took
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_wait_are_served_when_it_returns() {
    let proxy = deserted(&["--scrape.reconnect-wait=20s"]).await;
    let address = proxy.address;
    let scraping: Vec<_> = (0..50)
        .map(|_| tokio::spawn(scraper::scrape(address, "http://pi:9100/m")))
        .collect();
    waiting(&proxy, 50.0).await;
    let returned = Instant::now();
    let _client = FakeClient::register(proxy.address, PI).await;
    for scrape in scraping {
        scrape.await.unwrap().expect(200);
    }
    assert!(
        returned.elapsed() < Duration::from_secs(5),
        "{:?}",
        returned.elapsed()
    );
    waiting(&proxy, 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_wait_than_may() {
    const PER_NAME: usize = 128;
    let proxy = deserted(&["--scrape.reconnect-wait=8s"]).await;
    let address = proxy.address;
    let scraping: Vec<_> = (0..PER_NAME)
        .map(|_| tokio::spawn(scraper::scrape(address, "http://pi:9100/m")))
        .collect();
    waiting(&proxy, PER_NAME as f64).await;
    let one_more = scraper::scrape(address, "http://pi:9100/m")
        .await
        .refusal(429, "128 scrapes wait for pi (waiting_per_name)");
    assert!(
        one_more.took < Duration::from_secs(4),
        "{:?}",
        one_more.took
    );
    let _client = FakeClient::register(address, PI).await;
    for scrape in scraping {
        scrape.await.unwrap().expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_start_any_name_may_be_one_that_has_yet_to_return() {
    let proxy = Proxy::start(&["--scrape.startup-wait=8s"]).await;
    let started = Instant::now();
    let address = proxy.address;
    let awaited = tokio::spawn(scraper::scrape(address, "http://pi:9100/m"));
    let unknown = tokio::spawn(scraper::scrape(address, "http://nobody:9100/m"));
    waiting(&proxy, 2.0).await;
    let _client = FakeClient::register(address, PI).await;
    awaited.await.unwrap().expect(200);
    assert!(
        started.elapsed() < Duration::from_secs(7),
        "{:?}",
        started.elapsed()
    );
    let unknown = unknown.await.unwrap();
    assert_eq!(unknown.head.reason, "no client for nobody");
    assert!(
        started.elapsed() >= Duration::from_secs(7),
        "{:?}",
        started.elapsed()
    );
    // From then on it is told at once, and nothing of it is kept.
    let unknown = scraper::scrape(address, "http://nobody:9100/m").await;
    assert_eq!(unknown.head.status, 502);
    assert!(unknown.took < Duration::from_secs(5), "{:?}", unknown.took);
    let metrics = Metrics::of(address).await;
    assert_eq!(metrics.sum("adit_proxy_names"), 1.0);
    assert_eq!(metrics.sum("adit_proxy_scrapes_waiting"), 0.0);
}
