//! PushProx's released clients on our proxy: what they say in every shape, beside a real Prometheus,
//! and how a name moves from one of them to a client of ours.
//!
//! The real client runs where there is one: see [`real`].

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use adit_tests::binaries;
use adit_tests::metrics::Metrics;
use adit_tests::node_exporter::NodeExporter;
use adit_tests::pair::{Client, Proxy};
use adit_tests::program::Program;
use adit_tests::prometheus::Prometheus;
use adit_tests::pushprox::FakePushProx;
use adit_tests::scraper::{self, Connection};
use adit_tests::target::answers::{chunk, head_of_chunks, head_until_close, ok, whole};
use adit_tests::target::{Step, Target};
use adit_tests::turn::measured;
use adit_tests::wait::{PATIENCE, eventually};

async fn proxy(flags: &[&str]) -> Proxy {
    Proxy::start(&[&["--pushprox.enabled"], flags].concat()).await
}

async fn polled(proxy: &Proxy, polls: f64) {
    eventually(PATIENCE, "polls", async || {
        match Metrics::of(proxy.address).await.sum("adit_proxy_polls") {
            count if count == polls => Ok(()),
            count => Err(count.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_target_says_arrives_whatever_shape_the_client_gives_it() {
    let proxy = proxy(&[]).await;
    let chunked = head_of_chunks() + &chunk("one 1\n") + &chunk("two 2\n") + "0\r\n\r\n";
    let until_close = head_until_close() + "all 1\n";
    let large = "large 1\n".repeat(200_000);
    for (what, script, body) in [
        ("length", ok("m 1\n"), "m 1\n".to_owned()),
        (
            "chunks",
            vec![Step::send(chunked), Step::Next],
            "one 1\ntwo 2\n".to_owned(),
        ),
        (
            "until close",
            vec![Step::send(until_close)],
            "all 1\n".to_owned(),
        ),
        (
            "too large to be held back",
            vec![Step::send(whole(&large)), Step::Next],
            large,
        ),
        ("nothing", ok(""), String::new()),
    ] {
        let target = Target::start(script);
        let client = FakePushProx::start(proxy.address, "pi", target.address());
        polled(&proxy, 1.0).await;
        let answer = scraper::scrape(proxy.address, "http://pi:9100/metrics?a=%2A").await;
        let answer = answer.expect(200);
        assert!(answer.text() == body, "{what}: {} bytes", answer.body.len());
        // What the client adds is between it and us.
        assert_eq!(answer.head.field("id"), None, "{what}");
        assert_eq!(
            answer.head.field("x-prometheus-scrape-timeout"),
            None,
            "{what}"
        );
        let request = target.request();
        assert_eq!(request.line(), "GET /metrics?a=%2A HTTP/1.1", "{what}");
        drop(client);
        polled(&proxy, 0.0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_without_a_body_is_whole() {
    let proxy = proxy(&[]).await;
    let target = Target::start(vec![
        Step::send("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n"),
        Step::Next,
    ]);
    let _client = FakePushProx::start(proxy.address, "pi", target.address());
    polled(&proxy, 1.0).await;
    let answer = scraper::scrape(proxy.address, "http://pi:9100/m").await;
    assert_eq!(answer.head.status, 304);
    let length = Target::start(vec![
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        Step::Next,
    ]);
    let _other = FakePushProx::start(proxy.address, "nas", length.address());
    polled(&proxy, 2.0).await;
    let request = scraper::request("http://nas:9100/m", &[]).replacen("GET", "HEAD", 1);
    let answer = scraper::send(proxy.address, request).await;
    assert_eq!(answer.head.status, 200);
    assert_eq!(answer.head.field("content-length").as_deref(), Some("1000"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_without_a_timeout_or_with_an_id_of_its_own_is_answered() {
    let proxy = proxy(&[]).await;
    let target = Target::start(ok("m 1\n"));
    let client = FakePushProx::start(proxy.address, "Pi.Example", target.address());
    polled(&proxy, 1.0).await;
    // As curl sends it: PushProx' own proxy adds no timeout, and its client then says 500.
    let bare = "GET http://pi.example:9100/m HTTP/1.1\r\nHost: pi.example:9100\r\n";
    for fields in [
        "",
        "Id: mine\r\nid: too\r\n",
        "X-Prometheus-Scrape-Timeout-Seconds: NaN\r\n",
    ] {
        let answer = scraper::send(proxy.address, format!("{bare}{fields}\r\n")).await;
        assert_eq!(answer.expect(200).text(), "m 1\n", "{fields}");
    }
    assert_eq!(client.counters().scrape_errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_client_cannot_do_is_told_as_what_it_is() {
    let proxy = proxy(&[]).await;
    let refused = adit_tests::ports::unused();
    let client = FakePushProx::builder(proxy.address, "pi").start();
    polled(&proxy, 1.0).await;
    let uri = format!("http://pi:{refused}/m");
    let answer = scraper::scrape(proxy.address, &uri).await;
    answer.refusal(502, "refused");
    let mut connection = Connection::open(proxy.address).await;
    let connect = "CONNECT pi:9443 HTTP/1.1\r\nHost: pi:9443\r\n\r\n";
    let answer = connection.exchange(connect).await;
    answer.refusal(501, "CONNECT");
    let body = "x".repeat(5000);
    let request = scraper::request("http://pi:9100/m", &["Content-Length: 5000"]);
    let request = request.replacen("GET", "POST", 1) + &body;
    let answer = scraper::send(proxy.address, request).await;
    answer.refusal(501, "pi:9100");
    assert_eq!(client.counters().poll_errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_flag_nobody_polls_here() {
    let proxy = Proxy::start(&[]).await;
    for path in ["/poll", "/push"] {
        let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\npi");
        let answer = scraper::send(proxy.address, request).await;
        assert_eq!(answer.head.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_are_below_the_route_prefix_and_so_are_their_redirects() {
    let proxy = proxy(&["--web.route-prefix=/adit", "--tunnel.ping-interval=200ms"]).await;
    let target = Target::start(ok("m 1\n"));
    let client = FakePushProx::builder(proxy.address, "pi")
        .prefix("/adit")
        .upstream(target.address())
        .start();
    let counters = client.until("redirects", |c| c.redirects >= 3).await;
    assert_eq!(counters.poll_errors, 0, "{}", counters.last_poll_error);
    let answer = scraper::scrape(proxy.address, "http://pi:9100/m").await;
    assert_eq!(answer.expect(200).text(), "m 1\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_poll_is_refused() {
    let proxy = proxy(&[]).await;
    for (request, status) in [
        ("GET /poll HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (
            "POST /poll HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            400,
        ),
        (
            "POST /poll HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na b",
            400,
        ),
        (
            "POST /poll HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\npi:9100",
            400,
        ),
        ("GET /push HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ] {
        let answer = scraper::send(proxy.address, request).await;
        assert_eq!(answer.head.status, status, "{request}: {answer:?}");
    }
    let long = "n".repeat(2000);
    let request = format!("POST /poll HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n{long}");
    assert_eq!(scraper::send(proxy.address, request).await.head.status, 400);
    let names = Metrics::of(proxy.address).await;
    assert_eq!(names.sum("adit_proxy_names"), 0.0);
}

/// PushProx's own end-to-end shape: node_exporter, a client, the proxy, a Prometheus that finds the
/// client in `/clients`. The proxy still runs.
async fn end_to_end(client: impl AsyncFnOnce(&Proxy, u16)) -> Proxy {
    let exporter = NodeExporter::of_uname().await;
    let proxy = proxy(&[]).await;
    client(&proxy, exporter.address.port()).await;
    let jobs = format!(
        "- job_name: found\n  proxy_url: {0}\n  \
         http_sd_configs: [{{url: '{0}/clients', refresh_interval: 1s}}]\n  \
         relabel_configs: [{{source_labels: [__address__], target_label: __address__, replacement: '$1:{1}'}}]\n",
        proxy.url(),
        exporter.address.port()
    );
    let prometheus = Prometheus::patient(&jobs).await;
    prometheus.is_up("found").await;
    let scrapes = prometheus.scrapes("found", 5).await;
    assert!(scrapes.iter().all(|up| *up == 1.0), "{scrapes:?}");
    assert!(!prometheus.query("node_uname_info").await.is_empty());
    let metrics = Metrics::of(proxy.address).await;
    let lost = r#"adit_proxy_scrape_outcomes_total{outcome="carrier-lost"}"#;
    assert_eq!(metrics.series(lost), 0.0);
    proxy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_finds_and_scrapes_a_client_of_pushproxs() {
    let mut kept = None;
    let _proxy = end_to_end(async |proxy: &Proxy, _| {
        kept = Some(FakePushProx::builder(proxy.address, "localhost").start());
        polled(proxy, 1.0).await;
    })
    .await;
    let counters = kept.unwrap().counters();
    assert_eq!((counters.poll_errors, counters.scrape_errors), (0, 0));
}

/// The released client: `ADIT_PUSHPROX_CLIENT`, or what `tests/install-peers` has built by Go. Says
/// loudly when there is none.
fn real(test: &str) -> Option<PathBuf> {
    const VARIABLE: &str = "ADIT_PUSHPROX_CLIENT";
    if let Some(named) = std::env::var_os(VARIABLE) {
        let named = PathBuf::from(named);
        assert!(
            named.is_file(),
            "{VARIABLE}: {} is no file",
            named.display()
        );
        return Some(named);
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let built = root.expect("the workspace").join(".cache/pushprox/client");
    if built.is_file() {
        return Some(built);
    }
    measured(
        "SKIPPED",
        format!(
            "{test}: there is no real PushProx client. Name one by {VARIABLE}=/path/to/client, or \
             have Go and let tests/install-peers build one (it needs the open network)"
        ),
    );
    None
}

fn start_real(client: PathBuf, proxy: &Proxy, fqdn: &str) -> Program {
    let mut command = Command::new(client);
    command
        .arg(format!("--proxy-url={}/", proxy.url()))
        .arg(format!("--fqdn={fqdn}"))
        .arg("--metrics-addr=");
    Program::start(&command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_finds_and_scrapes_the_real_client() {
    let Some(client) = real("PushProx end to end") else {
        return;
    };
    let mut kept = None;
    let _proxy = end_to_end(async |proxy: &Proxy, _| {
        kept = Some(start_real(client, proxy, "localhost"));
        polled(proxy, 1.0).await;
    })
    .await;
    let log = kept.unwrap().log();
    assert!(
        !log.contains("level=error") && !log.contains("level=ERROR"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_client_survives_idle_polls_a_restart_and_a_cut_target() {
    let Some(client) = real("the real client's odd shapes") else {
        return;
    };
    let proxy = proxy(&["--tunnel.ping-interval=200ms", "--scrape.reconnect-wait=9s"]).await;
    let client = start_real(client, &proxy, "localhost");
    polled(&proxy, 1.0).await;
    // More redirects and interim answers than would be errors.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!client.log().contains("rror"), "{}", client.log());
    let cut = Target::start(vec![Step::send(head_of_chunks() + &chunk("half 1\n"))]);
    let uri = format!("http://localhost:{}/m", cut.port());
    let answer = scraper::scrape(proxy.address, &uri).await;
    answer.refusal(502, "broke off");
    let refused = format!("http://localhost:{}/m", adit_tests::ports::unused());
    let answer = scraper::scrape(proxy.address, &refused).await;
    answer.refusal(502, "refused");
    let target = Target::start(ok("m 1\n"));
    let uri = format!("http://localhost:{}/m", target.port());
    let scraping = (0..32).map(|_| scraper::scrape(proxy.address, &uri));
    for answer in futures_util::future::join_all(scraping).await {
        assert_eq!(answer.expect(200).text(), "m 1\n");
    }
}

/// Scrapes `pi` again and again while `meanwhile` runs; gives how often each target answered.
async fn scraped_while(proxy: &Proxy, meanwhile: impl Future<Output = ()>) -> [usize; 2] {
    let mut counts = [0, 0];
    let mut scraper = Connection::open(proxy.address).await;
    tokio::pin!(meanwhile);
    loop {
        tokio::select! {
            biased;
            () = &mut meanwhile => return counts,
            answer = scraper.exchange(scraper::request("http://pi:9100/m", &[])) => {
                match answer.expect(200).text().as_str() {
                    "pushprox 1\n" => counts[0] += 1,
                    "adit 1\n" => counts[1] += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The steps of `docs/migrating-from-pushprox.md`, each while scrapes go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_moves_from_pushprox_to_adit_and_back_without_a_lost_scrape() {
    // Built before anything is timed.
    binaries::path("adit-client");
    let proxy = proxy(&[]).await;
    let (theirs, ours) = (
        Target::start(ok("pushprox 1\n")),
        Target::start(ok("adit 1\n")),
    );
    let flag = format!("--target=pi:9100=http://{}", ours.address());
    let pushprox = FakePushProx::start(proxy.address, "pi", theirs.address());
    // Another machine, which has moved already, on the same proxy.
    let nas = format!("--target=nas:9100=http://{}", ours.address());
    let _other = Client::start(&[&proxy.url()], &[&nas]).await;
    polled(&proxy, 1.0).await;

    let before = scraped_while(&proxy, tokio::time::sleep(Duration::from_millis(500))).await;
    assert!(before[0] > 0 && before[1] == 0, "{before:?}");

    // Step 2: ours beside theirs.
    let mut adit = None;
    let urls = [proxy.url()];
    scraped_while(&proxy, async {
        adit = Some(binaries::Client::start(&urls[0], &[&flag]).await);
    })
    .await;
    let beside = scraped_while(&proxy, tokio::time::sleep(Duration::from_millis(500))).await;
    assert!(beside[0] == 0 && beside[1] > 0, "{beside:?}");

    // The way back: ours stops, theirs is still there.
    let adit = adit.unwrap();
    adit.program.signal("TERM");
    let back = scraped_while(&proxy, async {
        adit.program.finished().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    })
    .await;
    assert!(back[0] > 0, "{back:?}");

    // Again, and step 3: theirs stops.
    let mut adit = None;
    scraped_while(&proxy, async {
        adit = Some(Client::start(&[&urls[0]], &[&flag]).await);
        drop(pushprox);
        tokio::time::sleep(Duration::from_millis(500)).await;
    })
    .await;
    let after = scraped_while(&proxy, tokio::time::sleep(Duration::from_millis(500))).await;
    assert!(after[0] == 0 && after[1] > 0, "{after:?}");
    scraper::scrape(proxy.address, "http://nas:9100/m")
        .await
        .expect(200);
    drop(adit);
}
