//! More than one of each, and what happens when one goes.

use std::process::Command;
use std::time::Duration;

use adit_tests::binaries;
use adit_tests::network::{Lane, Relay};
use adit_tests::pair::{self, Client, Pair, Proxy};
use adit_tests::ports;
use adit_tests::program::Program;
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper::{self, Connection};
use adit_tests::target::answers::{metric, ok, series};
use adit_tests::target::{Step, Target};
use adit_tests::tls::{Authority, Front};
use adit_tests::wait::{PATIENCE, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_serves_two_proxies_and_outlives_either() {
    let target = Target::start(ok(metric("shared")));
    let (one, two) = (Proxy::start(&[]).await, Proxy::start(&[]).await);
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let client = Client::start(&[&one.url(), &two.url()], &[&flag]).await;
    one.knows("pi").await;
    two.knows("pi").await;
    let job = |name: &str, proxy: &Proxy| {
        let url = proxy.url();
        format!(
            "- job_name: {name}\n  proxy_url: {url}\n  static_configs: [{{targets: ['pi:9100']}}]\n"
        )
    };
    let prometheus = Prometheus::patient(&(job("one", &one) + &job("two", &two))).await;
    prometheus.is_up("one").await;
    prometheus.is_up("two").await;
    one.stop().await;
    scraper::scrape(two.address, "http://pi:9100/metrics")
        .await
        .expect(200);
    scraper::page(client.web, "/-/ready").await.expect(200);
    prometheus.is_down("one").await;
    let scrapes = prometheus.scrapes("two", 3).await;
    assert!(scrapes.iter().all(|up| *up == 1.0), "{scrapes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_comes_through_a_tls_front_that_it_can_check() {
    let target = Target::start(ok(metric("behind")));
    let authority = Authority::new();
    let proxy = Proxy::start(&["--web.route-prefix=/adit"]).await;
    let front = Front::start(authority.server(&["localhost"]), proxy.address).await;
    let port = front.address.port();
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let ca = format!("--tls.ca-file={}", authority.ca_file().display());
    for url in [
        format!("wss://localhost:{port}/adit"),
        format!("https://localhost:{port}/adit/"),
    ] {
        let client = Client::start(&[&url], &[&flag, &ca]).await;
        let answer = scraper::scrape(proxy.address, "http://pi:9100/metrics")
            .await
            .expect(200);
        assert_eq!(answer.text(), metric("behind"));
        client.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_does_not_come_through_a_front_it_cannot_check() {
    let authority = Authority::new();
    let proxy = binaries::Proxy::start(&[]).await;
    let front = Front::start(authority.server(&["other.example"]), proxy.address).await;
    let url = format!("wss://localhost:{}", front.address.port());
    let ca = format!("--tls.ca-file={}", authority.ca_file().display());
    for (flags, says) in [
        (vec!["--target=pi:9100"], "issuer unknown"),
        (vec!["--target=pi:9100", &ca], "not valid for this name"),
    ] {
        let client = binaries::Client::launch(&url, &flags).await;
        client.program.line(says).await;
        assert_eq!(scraper::page(client.web, "/-/ready").await.head.status, 503);
    }
    let named = binaries::Client::start(
        &url,
        &["--target=pi:9100", &ca, "--tls.server-name=other.example"],
    )
    .await;
    pair::knows(proxy.address, "pi").await;
    drop(named);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_comes_back_to_a_proxy_that_was_killed_and_to_one_that_stopped() {
    let target = Target::start(ok(metric("back")));
    let port = ports::unused();
    let address = ([127, 0, 0, 1], port).into();
    let start = || {
        let mut command = Command::new(binaries::path("adit-proxy"));
        Program::start(command.arg(format!("--web.listen-address=127.0.0.1:{port}")))
    };
    let mut proxy = start();
    proxy.line("msg=listening").await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let client = Client::start(&[&format!("http://127.0.0.1:{port}")], &[&flag]).await;
    for how in ["killed", "stopped"] {
        if how == "killed" {
            proxy.kill();
        } else {
            proxy.signal("TERM");
            proxy.finished().await;
        }
        eventually(PATIENCE, "the client notices", async || {
            let status = scraper::page(client.web, "/-/ready").await.head.status;
            if status == 503 {
                Ok(())
            } else {
                Err(status.to_string())
            }
        })
        .await;
        proxy = start();
        proxy.line("msg=listening").await;
        pair::knows(address, "pi").await;
        scraper::scrape(address, "http://pi:9100/metrics")
            .await
            .expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_instances_with_one_name_the_newer_serves() {
    let (old, new) = (Target::start(ok("old 1\n")), Target::start(ok("new 1\n")));
    let flag = |target: &Target| format!("--target=pi:9100=http://{}", target.address());
    let pair = Pair::start(&[&flag(&old)]).await;
    assert_eq!(
        pair.scrape("http://pi:9100/m").await.expect(200).text(),
        "old 1\n"
    );
    // Instances are told apart by their start in milliseconds.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let _newer = Client::start(&[&pair.proxy.url()], &[&flag(&new)]).await;
    for _ in 0..20 {
        assert_eq!(
            pair.scrape("http://pi:9100/m").await.expect(200).text(),
            "new 1\n"
        );
    }
    eventually(PATIENCE, "the older is told", async || {
        let status = scraper::page(pair.client.web, "/-/ready").await.head.status;
        if status == 503 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    // It does not fight for the name.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        pair.scrape("http://pi:9100/m").await.expect(200).text(),
        "new 1\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_without_an_answer_yet_is_told_when_its_client_dies() {
    let target = Target::start(vec![Step::Stall]);
    let proxy = Proxy::start(&[]).await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let mut client = binaries::Client::start(&proxy.url(), &[&flag]).await;
    let mut connection = Connection::open(proxy.address).await;
    connection
        .write(scraper::request("http://pi:9100/metrics", &[]))
        .await;
    target.nth_request(1).await;
    let killed = client.program.kill();
    let head = connection.head().await;
    assert!(matches!(head.status, 502 | 503), "{head:?}");
    assert!(head.reason.contains("pi"), "{head:?}");
    // At once, or after the wait for its return; not at the deadline.
    assert!(
        killed.elapsed() < Duration::from_secs(5),
        "{:?}",
        killed.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_many_names_are_all_found() {
    let target = Target::start(ok("m 1\n"));
    let proxy = Proxy::start(&[]).await;
    let mut clients = Vec::new();
    for n in 0..20 {
        let flag = format!("--target=host{n}:9100=http://{}", target.address());
        clients.push(Client::launch(&[&proxy.url()], &[&flag]).await);
    }
    for client in &clients {
        pair::ready(client.web).await;
    }
    for n in 0..20 {
        let uri = format!("http://host{n}:9100/metrics");
        scraper::scrape(proxy.address, &uri).await.expect(200);
    }
    let clients = scraper::page(proxy.address, "/clients")
        .await
        .expect(200)
        .text();
    assert_eq!(clients.matches("targets").count(), 20, "{clients}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_hears_why_its_session_was_ended_however_late_the_words_come() {
    // The reason travels behind the end of HTTP/2; on a real link the two arrive apart.
    let proxy = Proxy::start(&[]).await;
    let pieces = Lane::in_pieces(8, Duration::from_millis(1));
    let relay = Relay::to(proxy.address).each_way(pieces).start().await;
    let older = binaries::Client::start(&relay.url(), &["--target=pi:9100"]).await;
    let _newer = Client::start(&[&proxy.url()], &["--target=pi:9100"]).await;
    let line = older.program.line("tunnel ended").await;
    assert!(line.contains("replaced by instance"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_works_whatever_pieces_it_comes_in() {
    let body = series("drip", 200);
    let target = Target::start(ok(&body));
    let proxy = Proxy::start(&[]).await;
    let pieces = Lane::in_pieces(7, Duration::ZERO);
    let relay = Relay::to(proxy.address).each_way(pieces).start().await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let _client = Client::start(&[&relay.url()], &[&flag]).await;
    for _ in 0..3 {
        let answer = scraper::scrape(proxy.address, "http://pi:9100/metrics")
            .await
            .expect(200);
        assert_eq!(answer.text(), body);
    }
}
