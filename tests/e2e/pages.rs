//! Our own pages, and that no scrape ever ends up on one.

use std::os::unix::fs::PermissionsExt as _;

use adit_tests::pair::{Client, Pair, Proxy};
use adit_tests::scraper::{self, Connection};
use adit_tests::target::Target;
use adit_tests::target::answers::ok;
use tokio::net::UnixStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_programs_have_their_pages() {
    let pair = Pair::start(&["--target=pi:9100"]).await;
    for (address, program) in [
        (pair.proxy.address, "adit_proxy"),
        (pair.client.web, "adit_client"),
    ] {
        let metrics = scraper::page(address, "/metrics").await.expect(200);
        let build = format!("{program}_build_info");
        let text = metrics.text();
        assert!(text.contains(&build), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
        let kind = metrics.head.field("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/plain"), "{kind}");
        for path in ["/-/healthy", "/-/ready"] {
            scraper::page(address, path).await.expect(200);
        }
        scraper::page(address, "/nowhere").await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_metrics_page_passes_prometheuss_own_check() {
    let pair = Pair::start(&["--target=pi:9100"]).await;
    pair.scrape("http://nas:9100/metrics").await.expect(502);
    let promtool = adit_tests::program::debian("promtool", "prometheus");
    for address in [pair.proxy.address, pair.client.web] {
        let page = scraper::page(address, "/metrics").await.expect(200).text();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &page).unwrap();
        let script = format!(
            "{} check metrics < {}",
            promtool.display(),
            file.path().display()
        );
        let checked = adit_tests::program::Program::run("/bin/sh", &["-c", &script]).await;
        assert!(
            checked.status.success(),
            "{}{}\n{page}",
            checked.stdout,
            checked.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_of_a_target_is_never_answered_by_our_own_page() {
    let target = Target::start(ok("the_targets 1\n"));
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    for path in [
        "/metrics",
        "/clients",
        "/-/healthy",
        "/-/ready",
        "/tunnel",
        "/scrape/http/pi:1/x",
    ] {
        let answer = pair
            .scrape(&format!("http://pi:9100{path}"))
            .await
            .expect(200);
        assert_eq!(answer.text(), "the_targets 1\n", "{path}");
    }
    // Not even when the proxy itself is named: nobody has that name.
    let own = format!("http://{}/metrics", pair.proxy.address);
    pair.scrape(&own).await.refusal(502, "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_with_an_address_of_its_own_is_only_there() {
    let target = Target::start(ok("m 1\n"));
    let config = adit_proxy::Config::from_args([
        "--web.listen-address=127.0.0.1:0",
        "--tunnel.listen-address=127.0.0.1:0",
        "--scrape.listen-address=127.0.0.1:0",
    ])
    .unwrap();
    let listeners = config.bind().await.unwrap();
    let addresses: Vec<std::net::SocketAddr> = listeners
        .iter()
        .map(|bound| bound.local().to_string().parse().unwrap())
        .collect();
    let [web, tunnel, scrape] = addresses[..] else {
        panic!("{addresses:?}")
    };
    let orders = adit_common::shutdown::Orders::default();
    let running = tokio::spawn(adit_proxy::run(config, listeners, orders.clone()));
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let client = Client::start(&[&format!("http://{tunnel}")], &[&flag]).await;
    scraper::scrape(scrape, "http://pi:9100/metrics")
        .await
        .expect(200);
    scraper::page(web, "/clients").await.expect(200);
    for address in [web, tunnel] {
        let answer = scraper::scrape(address, "http://pi:9100/metrics").await;
        assert_eq!(answer.head.status, 404, "{answer:?}");
        let answer = scraper::page(address, "/scrape/http/pi:9100/metrics").await;
        assert_eq!(answer.head.status, 404, "{answer:?}");
    }
    for address in [scrape, tunnel] {
        let answer = scraper::page(address, "/clients").await;
        assert_eq!(answer.head.status, 404, "{answer:?}");
    }
    for address in [web, scrape] {
        let lines = adit_tests::tunnel::upgrade_request();
        adit_tests::tunnel::refused_upgrade(address, &lines)
            .await
            .expect(404);
    }
    orders.shutdown.cancel();
    drop(client);
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_below_the_route_prefix() {
    let proxy = Proxy::start(&["--web.route-prefix=/adit"]).await;
    for path in ["/metrics", "/-/healthy", "/-/ready", "/clients"] {
        scraper::page(proxy.address, &format!("/adit{path}"))
            .await
            .expect(200);
        scraper::page(proxy.address, path).await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_proxy_is_alive_and_not_ready() {
    let gone = adit_tests::ports::unused();
    let client = Client::launch(
        &[&format!("http://127.0.0.1:{gone}")],
        &["--target=pi:9100"],
    )
    .await;
    scraper::page(client.web, "/-/healthy").await.expect(200);
    let answer = scraper::page(client.web, "/-/ready").await;
    assert_eq!(answer.head.status, 503, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_listens_on_a_unix_socket_that_not_everybody_may_use() {
    let target = Target::start(ok("m 1\n"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scrape.sock");
    let proxy = Proxy::start(&[&format!("--scrape.listen-address=unix:{}", path.display())]).await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let _client = Client::start(&[&proxy.url()], &[&flag]).await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let mut connection = Connection::over(UnixStream::connect(&path).await.unwrap());
    for _ in 0..2 {
        let request = scraper::request("http://pi:9100/metrics", &[]);
        assert_eq!(
            connection.exchange(request).await.expect(200).text(),
            "m 1\n"
        );
    }
    proxy.stop().await;
    assert!(!path.exists(), "the socket's file goes with it");
}
