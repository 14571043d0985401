//! The proxy reads its configuration again: by signal and by request, and what cannot be used
//! changes nothing.

use std::fs;

use adit_tests::binaries;
use adit_tests::metrics::Metrics;
use adit_tests::pair::{Client, Proxy};
use adit_tests::scraper::{self, Answer};
use adit_tests::target::Target;
use adit_tests::target::answers::ok;
use adit_tests::wait::{PATIENCE, eventually};

const SUCCESSFUL: &str = "adit_proxy_config_last_reload_successful";
const TIME: &str = "adit_proxy_config_last_reload_success_timestamp_seconds";

struct File {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
}

impl File {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.yml");
        fs::write(&path, text).unwrap();
        Self {
            _folder: folder,
            path,
        }
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
    }

    fn flag(&self) -> String {
        format!("--config.file={}", self.path.display())
    }
}

async fn post(proxy: std::net::SocketAddr, method: &str) -> Answer {
    let request = format!("{method} /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    scraper::send(proxy, request).await
}

/// Two clients that claim one name; gives how many of them have it.
async fn both(proxy: &Proxy, target: &Target) -> f64 {
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let _one = Client::start(&[&proxy.url()], &[&flag]).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let _two = Client::start(&[&proxy.url()], &[&flag]).await;
    // The answer to whoever came second is there before any scrape it could carry.
    scraper::scrape(proxy.address, "http://pi:9100/m")
        .await
        .expect(200);
    Metrics::of(proxy.address).await.sum("adit_proxy_sessions")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_changes_the_rules_and_a_wrong_file_changes_nothing() {
    let target = Target::start(ok("m 1\n"));
    let file = File::new("duplicates: replace\n");
    let proxy = Proxy::start(&[&file.flag()]).await;
    let first = Metrics::of(proxy.address).await;
    assert_eq!(first.series(SUCCESSFUL), 1.0);
    assert!(first.series(TIME) > 1.7e9);
    assert_eq!(both(&proxy, &target).await, 1.0);

    file.write("duplicates: replicas\n");
    for method in ["POST", "PUT"] {
        let answer = post(proxy.address, method).await.expect(200);
        assert!(answer.text().contains("reloaded"), "{}", answer.text());
    }
    assert_eq!(both(&proxy, &target).await, 2.0);
    let good = Metrics::of(proxy.address).await.series(TIME);

    for (wrong, says) in [
        (
            "duplicate: replace\n",
            "proxy.yml:1:1: unknown key \"duplicate\", did you mean",
        ),
        ("duplicates: refuse\n", "proxy.yml:1:13"),
        (
            "names: [{match: 'a b', duplicates: reject}]\n",
            "must not stand in a name",
        ),
    ] {
        file.write(wrong);
        let answer = post(proxy.address, "POST").await;
        assert_eq!(answer.head.status, 500);
        assert!(answer.text().contains(says), "{}", answer.text());
        let metrics = Metrics::of(proxy.address).await;
        assert_eq!(metrics.series(SUCCESSFUL), 0.0);
        assert_eq!(metrics.series(TIME), good);
    }
    assert_eq!(both(&proxy, &target).await, 2.0, "the rules before it hold");
    file.write("duplicates: replace\n");
    post(proxy.address, "POST").await.expect(200);
    let metrics = Metrics::of(proxy.address).await;
    assert_eq!(metrics.series(SUCCESSFUL), 1.0);
    assert!(metrics.series(TIME) >= first.series(TIME));
    assert_eq!(post(proxy.address, "GET").await.head.status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_reads_the_file_again_and_says_what_is_wrong() {
    let file = File::new("duplicates: replace\n");
    let proxy = binaries::Proxy::start(&[&file.flag()]).await;
    file.write("duplicates: reject\n");
    proxy.program.signal("HUP");
    proxy.program.line("configuration reloaded").await;
    file.write("nonsense: [\n");
    proxy.program.signal("HUP");
    let line = proxy.program.line("configuration not reloaded").await;
    assert!(
        line.contains("level=error") && line.contains("proxy.yml"),
        "{line}"
    );
    eventually(PATIENCE, "the gauge says so", async || {
        match Metrics::of(proxy.address).await.series(SUCCESSFUL) {
            0.0 => Ok(()),
            value => Err(value.to_string()),
        }
    })
    .await;
    // A proxy without a file takes the signal, too.
    let bare = binaries::Proxy::start(&[]).await;
    bare.program.signal("HUP");
    let answer = post(bare.address, "POST").await.expect(200);
    assert!(
        answer.text().contains("no --config.file"),
        "{}",
        answer.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_used_at_the_start_is_bad_usage() {
    let file = File::new("names: [{match: pi, duplicates: sometimes}]\n");
    let program = binaries::path("adit-proxy");
    let run = adit_tests::program::Program::run(program, &[file.flag()]).await;
    assert_eq!(run.status.code(), Some(2));
    assert!(run.stderr.contains("--config.file: ") && run.stderr.contains("proxy.yml:1:"));
}
