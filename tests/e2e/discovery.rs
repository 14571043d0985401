//! Prometheus finds the clients by itself.

use adit_tests::pair::{Client, Pair};
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper;
use adit_tests::target::Target;
use adit_tests::target::answers::{metric, ok};
use adit_tests::wait::{PATIENCE, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_sd_finds_clients_that_come_and_drops_those_that_go() {
    let target = Target::start(ok(metric("found")));
    let flag = |name| format!("--target={name}:9100=http://{}", target.address());
    // A name that left stays listed for as long as its client may be dialling again.
    let short = ["--tunnel.ping-interval=1s", "--tunnel.dead-after=3s"];
    let pair = Pair::with(&short, &[&flag("one")]).await;
    let answer = scraper::page(pair.proxy.address, "/clients")
        .await
        .expect(200);
    assert_eq!(
        answer.text().trim_end(),
        r#"[{"targets":["one"],"labels":null}]"#
    );
    assert_eq!(
        answer.head.field("content-type").as_deref(),
        Some("application/json")
    );

    let prometheus = Prometheus::start(&format!(
        "- job_name: found\n  proxy_url: {0}\n  \
         http_sd_configs: [{{url: '{0}/clients', refresh_interval: 1s}}]\n  \
         relabel_configs: [{{source_labels: [__address__], target_label: __address__, replacement: '$1:9100'}}]",
        pair.proxy.url()
    ))
    .await;
    let all_up = async |names: &[&str]| {
        eventually(PATIENCE, "exactly these are up", async || {
            let targets = prometheus.targets("found").await;
            let up = targets.iter().all(|target| target.health == "up");
            let found: Vec<&str> = targets.iter().map(|target| &*target.instance).collect();
            if up && found == names {
                Ok(())
            } else {
                Err(format!("{targets:?}"))
            }
        })
        .await;
    };
    all_up(&["one:9100"]).await;
    let second = Client::start(&[&pair.proxy.url()], &[&flag("two")]).await;
    all_up(&["one:9100", "two:9100"]).await;
    second.stop().await;
    all_up(&["one:9100"]).await;
}
