//! A client that reads its configuration again: what changes is applied, what does not is left
//! alone, and what is wrong changes nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use adit_tests::binaries;
use adit_tests::metrics::Metrics;
use adit_tests::pair::{self, Client, Proxy};
use adit_tests::scraper;
use adit_tests::scripted_proxy::ScriptedProxy;
use adit_tests::target::answers::{chunk, head_of_chunks, metric, ok};
use adit_tests::target::{Gate, Step, Target};
use adit_tests::tls::{Authority, Front};
use adit_tests::wait::{PATIENCE, eventually};
use tempfile::TempDir;

use crate::client_life::post;

mod under_way;

const SUCCESSFUL: &str = "adit_client_config_last_reload_successful";
const SUCCESS_TIME: &str = "adit_client_config_last_reload_success_timestamp_seconds";

/// A file that is written over and over.
struct File {
    folder: TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let file = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        file.write(text);
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("client.yml")
    }

    fn flag(&self) -> String {
        format!("--config.file={}", self.path().display())
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path(), text).unwrap();
    }
}

/// The `targets` of a file, one a line.
fn targets(entries: &[(&str, SocketAddr)]) -> String {
    let entry =
        |(target, url): &(&str, SocketAddr)| format!("- {{target: {target}, url: http://{url}}}\n");
    let entries: String = entries.iter().map(entry).collect();
    format!("targets:\n{entries}")
}

async fn series(web: SocketAddr, series: &str) -> f64 {
    Metrics::of(web).await.series(series)
}

async fn dials(web: SocketAddr, proxy: &Proxy) -> f64 {
    let dials = format!(
        "adit_client_dials_total{{proxy=\"{}\",result=\"ok\"}}",
        proxy.url()
    );
    series(web, &dials).await
}

async fn reloaded(web: SocketAddr) {
    let answer = post(web, "/-/reload").await.expect(200);
    assert_eq!(answer.text(), "the configuration was read again\n");
}

/// Half a body, and the rest when the gate opens.
fn gated(gate: &Gate) -> Target {
    Target::start(vec![
        Step::send(head_of_chunks() + &chunk("one 1\n")),
        Step::Wait(gate.clone()),
        Step::send(chunk("two 2\n") + "0\r\n\r\n"),
        Step::Next,
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_target_goes_out_without_a_reconnect_on_sighup() {
    let (one, two) = (
        Target::start(ok(metric("one"))),
        Target::start(ok(metric("two"))),
    );
    let file = File::new(&targets(&[("pi:9100", one.address())]));
    let proxy = Proxy::start(&[]).await;
    let client = binaries::Client::start(&proxy.url(), &[&file.flag()]).await;
    let scrape = async |uri: &str| scraper::scrape(proxy.address, uri).await;
    scrape("http://pi:9100/metrics").await.expect(200);

    file.write(&targets(&[
        ("pi:9101", two.address()),
        ("nas:9100", two.address()),
    ]));
    client.program.signal("HUP");
    let line = client.program.line("configuration reloaded").await;
    assert!(
        line.contains("targets=2") && line.contains("offer_changed=true"),
        "{line}"
    );
    let answer = scrape("http://pi:9101/metrics").await.expect(200);
    assert_eq!(answer.text(), metric("two"));
    let gone = scrape("http://pi:9100/metrics").await;
    gone.refusal(403, "pi:9100 is not offered by this client");
    proxy.knows("nas").await;
    scrape("http://nas:9100/metrics").await.expect(200);
    assert_eq!(dials(client.web, &proxy).await, 1.0);
    assert_eq!(series(client.web, SUCCESSFUL).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_page_reloads_when_it_is_posted_or_put_to() {
    let target = Target::start(ok(metric("one")));
    let file = File::new(&targets(&[("pi:1", target.address())]));
    let proxy = Proxy::start(&[]).await;
    let client = Client::start(&[&proxy.url()], &[&file.flag()]).await;
    for (method, port) in [("POST", 2), ("PUT", 3)] {
        file.write(&targets(&[(&format!("pi:{port}"), target.address())]));
        let request = format!(
            "{method} /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        scraper::send(client.web, request).await.expect(200);
        let uri = format!("http://pi:{port}/metrics");
        scraper::scrape(proxy.address, &uri).await.expect(200);
        let uri = format!("http://pi:{}/metrics", port - 1);
        let before = scraper::scrape(proxy.address, &uri).await;
        before.refusal(403, "not offered");
    }
    let got = scraper::page(client.web, "/-/reload").await.expect(405);
    let allow = got.head.field("allow").unwrap_or_default();
    assert!(allow.contains("POST") && allow.contains("PUT"), "{allow}");
    assert_eq!(dials(client.web, &proxy).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_file_there_is_nothing_to_read_again() {
    let proxy = Proxy::start(&[]).await;
    let client = Client::start(&[&proxy.url()], &["--target=pi:9100"]).await;
    let answer = post(client.web, "/-/reload").await.expect(200);
    assert!(answer.text().starts_with("nothing to read again"));
    assert_eq!(series(client.web, SUCCESSFUL).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_wrong_changes_nothing_and_says_where() {
    let target = Target::start(ok(metric("one")));
    let good = targets(&[("pi:9100", target.address())]);
    let file = File::new(&good);
    let proxy = Proxy::start(&[]).await;
    let client = binaries::Client::start(&proxy.url(), &[&file.flag()]).await;
    let at_start = series(client.web, SUCCESS_TIME).await;
    let many: String = (0..1025).map(|n| format!("n{n},")).collect();
    for (attempt, (text, says)) in [
        ("targts: []\n".to_owned(), "client.yml:1:1: unknown key"),
        ("targets: [\n".to_owned(), "client.yml:"),
        (
            "targets: [{target: pi:1}, {target: PI:1}]\n".to_owned(),
            "pi:1 is given twice",
        ),
        ("names: [pi]\n".to_owned(), "nothing may be scraped"),
        (
            "targets: [{target: pi:1, tls: {ca_file: no.pem}}]\n".to_owned(),
            "no.pem",
        ),
        (
            format!("{good}tls: {{cert_file: x.pem}}\n"),
            "one is missing",
        ),
        (format!("{good}names: [{many}]\n"), "1024 are allowed"),
    ]
    .into_iter()
    .enumerate()
    {
        file.write(&text);
        let answer = post(client.web, "/-/reload").await.expect(500);
        assert!(answer.text().contains(says), "{text}: {}", answer.text());
        let lines = client
            .program
            .lines("configuration not reloaded", attempt + 1)
            .await;
        let line = &lines[attempt];
        assert!(
            line.contains("level=error") && line.contains(says),
            "{line}"
        );
        assert_eq!(series(client.web, SUCCESSFUL).await, 0.0);
        let time = series(client.web, SUCCESS_TIME).await;
        assert_eq!(time, at_start);
        scraper::scrape(proxy.address, "http://pi:9100/metrics")
            .await
            .expect(200);
    }
    file.write(&good);
    reloaded(client.web).await;
    assert_eq!(series(client.web, SUCCESSFUL).await, 1.0);
    assert!(series(client.web, SUCCESS_TIME).await > at_start);
    assert_eq!(dials(client.web, &proxy).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_follow_the_proxies_in_the_file() {
    let target = Target::start(ok(metric("one")));
    let (one, two) = (Proxy::start(&[]).await, Proxy::start(&[]).await);
    let with = |proxies: &[&Proxy]| {
        let urls: Vec<String> = proxies.iter().map(|proxy| proxy.url()).collect();
        let targets = targets(&[("pi:9100", target.address())]);
        format!("proxies: [{}]\n{targets}", urls.join(", "))
    };
    let file = File::new(&with(&[&one]));
    let client = Client::start(&[], &[&file.flag()]).await;
    let scrape = async |proxy: &Proxy| {
        let uri = "http://pi:9100/metrics";
        scraper::scrape(proxy.address, uri).await.head.status
    };
    let session = |proxy: &Proxy| format!("adit_client_sessions{{proxy=\"{}\"}}", proxy.url());
    assert_eq!(scrape(&one).await, 200);

    file.write(&with(&[&one, &two]));
    reloaded(client.web).await;
    two.knows("pi").await;
    assert_eq!((scrape(&one).await, scrape(&two).await), (200, 200));
    assert_eq!(dials(client.web, &one).await, 1.0);

    file.write(&with(&[&two]));
    reloaded(client.web).await;
    eventually(PATIENCE, "the first proxy has let it go", async || {
        let sessions = Metrics::of(one.address).await.series("adit_proxy_sessions");
        let metrics = scraper::page(client.web, "/metrics").await.text();
        // Gone, and not zero: that would be somebody's alarm for ever.
        if sessions == 0.0 && !metrics.contains(&session(&one)) {
            Ok(())
        } else {
            Err(format!("{sessions} {metrics}"))
        }
    })
    .await;
    assert_eq!(scrape(&two).await, 200);
    scraper::page(client.web, "/-/ready").await.expect(200);
    assert_eq!(dials(client.web, &two).await, 1.0);

    file.write(&with(&[&one]));
    reloaded(client.web).await;
    one.knows("pi").await;
    assert_eq!(scrape(&one).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_proxy_keeps_its_scrape_to_the_end_and_may_come_back_meanwhile() {
    let gate = Gate::default();
    let target = gated(&gate);
    let proxy = ScriptedProxy::start().await;
    let other = ScriptedProxy::start().await;
    let with = |proxy: &ScriptedProxy| {
        let targets = targets(&[("pi:9100", target.address())]);
        format!("proxies: ['{}']\n{targets}", proxy.url())
    };
    let file = File::new(&with(&proxy));
    let client = Client::launch(&[], &[&file.flag()]).await;
    let mut tunnel = proxy.tunnel().await;
    tunnel.registration().await.expect("what is offered");
    tunnel.accept().await;
    let slow = tunnel.begin("http://pi:9100/metrics").await;
    file.write(&with(&other));
    reloaded(client.web).await;
    assert_eq!(tunnel.registration().await, None);
    other.tunnel().await;

    file.write(&with(&proxy));
    reloaded(client.web).await;
    let mut again = proxy.tunnel().await;
    again.registration().await.expect("what is offered");
    again.accept().await;
    gate.open();
    let body = adit_tests::scripted_proxy::text(slow).await;
    assert_eq!(body, "one 1\ntwo 2\n");
    tunnel.closed().await;
    // The end of the tunnel that was removed does not take the metric of the one that is there.
    let session = format!("adit_client_sessions{{proxy=\"{}\"}}", proxy.url());
    eventually(PATIENCE, "one tunnel is counted", async || {
        match series(client.web, &session).await {
            1.0 => Ok(()),
            count => Err(count.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_registers_during_a_reload_ends_up_with_the_newest_registration() {
    let at = SocketAddr::from(([127, 0, 0, 1], 1));
    let file = File::new(&targets(&[("pi:9999", at)]));
    let proxy = ScriptedProxy::start().await;
    let client = Client::launch(&[&proxy.url()], &[&file.flag()]).await;
    let mut tunnel = proxy.tunnel().await;
    for port in 1..=100 {
        file.write(&targets(&[(&format!("pi:{port}"), at)]));
        tokio::join!(tunnel.ask_again(), reloaded(client.web));
        loop {
            let told = tunnel.registration().await.expect("more lines");
            if told.targets[0].target.port == port {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_at_once_are_done_one_by_one() {
    let target = Target::start(ok(metric("one")));
    let file = File::new(&targets(&[("pi:1", target.address())]));
    let proxy = Proxy::start(&[]).await;
    let client = binaries::Client::start(&proxy.url(), &[&file.flag()]).await;
    file.write(&targets(&[("pi:2", target.address())]));
    client.program.signal("HUP");
    let posted: Vec<_> = (0..16)
        .map(|_| tokio::spawn(reloaded(client.web)))
        .collect();
    for done in posted {
        done.await.unwrap();
    }
    let lines = client.program.lines("configuration reloaded", 17).await;
    let changed = lines
        .iter()
        .filter(|line| line.contains("offer_changed=true"));
    assert_eq!(changed.count(), 1, "{lines:?}");
    scraper::scrape(proxy.address, "http://pi:2/metrics")
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_dial_uses_the_new_ca_at_once() {
    let target = Target::start(ok(metric("behind")));
    let (right, wrong) = (Authority::new(), Authority::new());
    let proxy = Proxy::start(&[]).await;
    let front = Front::start(right.server(&["localhost"]), proxy.address).await;
    let with = |authority: &Authority| {
        let ca = authority.ca_file();
        let targets = targets(&[("pi:9100", target.address())]);
        format!("tls: {{ca_file: '{}'}}\n{targets}", ca.display())
    };
    let file = File::new(&with(&wrong));
    let url = format!("https://localhost:{}", front.address.port());
    let client = binaries::Client::launch(&url, &[&file.flag()]).await;
    client.program.lines("certificate signature wrong", 3).await;
    file.write(&with(&right));
    let fixed = std::time::Instant::now();
    reloaded(client.web).await;
    pair::ready(client.web).await;
    assert!(fixed.elapsed() < Duration::from_secs(5), "{fixed:?}");
}
