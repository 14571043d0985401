//! Backends among what clients offer.

use std::path::Path;

use adit_tests::fake_prometheus::{FakePrometheus, result_of};
use adit_tests::wait::{PATIENCE, eventually};

use super::behind;
use crate::client_life::post;
use crate::query::asking::{QUICK, Side};

/// A Prometheus with the label, and one without.
fn offer(file: &Path, a: &FakePrometheus, b: &FakePrometheus, job_of_b: &str) {
    let text = format!(
        "labels: {{site: berlin}}\ntargets:\n\
         - {{target: 'a:9090', url: 'http://{}', labels: {{job: prometheus}}}}\n\
         - {{target: 'b:9090', url: 'http://{}', labels: {{job: {job_of_b}}}}}\n",
        a.address(),
        b.address()
    );
    std::fs::write(file, text).unwrap();
}

/// A pool of whatever has the label, and a label of the client's own besides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_offer_under_a_label_is_a_backend_until_they_do_not() {
    let (a, b) = (FakePrometheus::start("a"), FakePrometheus::start("b"));
    let side = Side::start(&format!(
        "query:\n  pools:\n  - discovery: {{grace: 0s, tunnel: [{{labels: {{job: prometheus, site: berlin}}}}]}}\n    {QUICK}\n"
    ))
    .await;
    // Of the wrong site.
    let _other = behind(&side, &b).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client.yml");
    offer(&file, &a, &b, "node");
    let config = format!("--config.file={}", file.display());
    let client = side.client(&[&config]).await;
    let seen = side.is("a:9090", "healthy").await;
    assert_eq!(seen["source"], "tunnel", "{seen}");
    assert_eq!(side.backend("b:9090").await, None);
    assert_eq!(side.backend("prom:9090").await, None);
    let answer = side.post("/api/v1/query", "query=up").await.expect(200);
    assert_eq!(answer.text(), result_of("a"));

    offer(&file, &a, &b, "prometheus");
    post(client.web, "/-/reload").await.expect(200);
    side.is("b:9090", "healthy").await;
    offer(&file, &a, &b, "node");
    post(client.web, "/-/reload").await.expect(200);
    eventually(
        PATIENCE,
        "what is offered no longer is no backend",
        async || match side.backend("b:9090").await {
            None => Ok(()),
            Some(seen) => Err(seen.to_string()),
        },
    )
    .await;
    side.is("a:9090", "healthy").await;
    side.post("/api/v1/query", "query=up").await.expect(200);
}

/// The client is there, and does not offer it any more: that is seen as soon as somebody asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_its_client_offers_no_longer_is_down_until_it_does() {
    let (a, b) = (FakePrometheus::start("a"), FakePrometheus::start("b"));
    let side = Side::start(&format!(
        "query: {{pools: [{{{QUICK}, backends: ['tunnel://a:9090', 'tunnel://b:9090']}}]}}\n"
    ))
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client.yml");
    offer(&file, &a, &b, "x");
    let config = format!("--config.file={}", file.display());
    let client = side.client(&[&config]).await;
    for name in ["a:9090", "b:9090"] {
        side.is(name, "healthy").await;
    }
    let only_b = format!(
        "targets: [{{target: 'b:9090', url: 'http://{}'}}, {{target: 'a:1', url: 'http://{}'}}]\n",
        b.address(),
        a.address()
    );
    std::fs::write(&file, only_b).unwrap();
    post(client.web, "/-/reload").await.expect(200);
    let down = side.is("a:9090", "down").await;
    assert!(
        down["reason"].as_str().unwrap().contains("a:9090"),
        "{down}"
    );
    for _ in 0..5 {
        let answer = side.post("/api/v1/query", "query=up").await.expect(200);
        assert_eq!(answer.text(), result_of("b"));
    }
    offer(&file, &a, &b, "x");
    post(client.web, "/-/reload").await.expect(200);
    side.is("a:9090", "healthy").await;
}
