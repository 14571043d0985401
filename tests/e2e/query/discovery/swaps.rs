//! Lists that change all the time.

use std::time::Duration;

use adit_tests::binaries;
use adit_tests::fake_prometheus::FakePrometheus;
use adit_tests::log;
use adit_tests::metrics::Metrics;
use adit_tests::scraper;
use adit_tests::wait::{PATIENCE, eventually};

use super::{Readers, backends, pools, seen, write};

/// So many swaps, of which none may leave anything.
const SWAPS: usize = 50;
/// Connections kept for reuse come and go by a few.
const SOME: f64 = 8.0;

/// Fakes come and go, and nobody who reads sees anything of it; tasks, descriptors and series are as many
/// as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_swaps_leave_nothing_and_no_read_fails() {
    let fakes = ["a", "b", "c", "d"].map(FakePrometheus::start);
    let folder = tempfile::tempdir().unwrap();
    let text = |first: usize| -> String {
        let pair = [&fakes[first % 4], &fakes[(first + 1) % 4]];
        pair.iter().map(|fake| fake.url() + "\n").collect()
    };
    write(folder.path(), "endpoints", &text(0));
    let pool = "name: main, discovery: {grace: 0s, file: [{path: endpoints, refresh: 100ms}]}";
    write(folder.path(), "proxy.yml", &pools(&[pool]));
    let file = format!(
        "--config.file={}",
        folder.path().join("proxy.yml").display()
    );
    let flags = [&*file, "--query.listen-address=127.0.0.1:0"];
    let proxy = binaries::Proxy::start(&flags).await;
    let lines = proxy.program.lines("msg=listening", 2).await;
    let query = lines.iter().find_map(|line| {
        let fields = log::line(line).ok()?;
        let is_query = fields.get("roles")?.contains("query");
        is_query
            .then(|| fields.get("address")?.parse().ok())
            .flatten()
    });
    let query = query.unwrap_or_else(|| panic!("{lines:?}"));
    let is_listed = |first: usize| {
        let pair = [&fakes[first % 4], &fakes[(first + 1) % 4]];
        let mut expected = pair.map(|fake| format!("{} file", fake.url())).to_vec();
        expected.sort();
        async move {
            eventually(PATIENCE, "the next list", async || {
                let now = backends(&seen(proxy.address, "main").await);
                if now == expected {
                    Ok(())
                } else {
                    Err(format!("{now:?}"))
                }
            })
            .await;
        }
    };
    is_listed(0).await;
    let readers = Readers::start(query);
    readers.have_read(50).await;
    let before = Metrics::of(proxy.address).await;
    for swap in 1..=SWAPS {
        write(folder.path(), "endpoints", &text(swap));
        is_listed(swap).await;
    }
    // As it was.
    write(folder.path(), "endpoints", &text(0));
    is_listed(0).await;
    let more = readers.count() + 50;
    readers.have_read(more).await;
    assert!(readers.stop().await >= more);
    for gone in &fakes[2..] {
        gone.all_closed().await;
    }
    let what = ["process_open_fds", "adit_proxy_tasks"];
    eventually(PATIENCE, "as many tasks and files as before", async || {
        let now = Metrics::of(proxy.address).await;
        match what.iter().find(|it| now.sum(it) > before.sum(it) + SOME) {
            None => Ok(()),
            Some(it) => Err(format!("{it}: {}, was {}", now.sum(it), before.sum(it))),
        }
    })
    .await;
    let page = scraper::page(proxy.address, "/metrics")
        .await
        .expect(200)
        .text();
    for gone in &fakes[2..] {
        let address = gone.address().to_string();
        let line = page.lines().find(|line| line.contains(&address));
        assert_eq!(line, None);
    }
    // It would have closed what it uses still after minutes.
    tokio::time::timeout(Duration::from_secs(1), fakes[0].all_closed())
        .await
        .expect_err("a backend that is listed is connected");
}
