//! Certificates: clients', and the proxy's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use adit_tests::metrics::Metrics;
use adit_tests::pair::Client;
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper;
use adit_tests::target::Target;
use adit_tests::target::answers::{metric, ok};
use adit_tests::tls::{Authority, Validity};
use adit_tests::wait::{PATIENCE, eventually};
use tokio::net::TcpStream;

use super::{House, PROMETHEUS, TLS, USERS};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_known_by_their_certificates() {
    let web = format!(
        "{}\n",
        TLS.replace(
            '}',
            ", client_ca_file: ca.pem, client_auth_type: VerifyClientCertIfGiven}"
        )
        .trim()
    );
    let house = House::new(&web);
    house.write(
        "proxy.yml",
        "auth: {clients: [{san: '*.sites.example', names: ['{san}', '*.{san}'], sessions: 2}]}\n",
    );
    let proxy = house
        .proxy(&[&house.flag("config.file", "proxy.yml")])
        .await;
    let target = Target::start(ok(metric("m")));
    house.authority.issue("seven", &["seven.sites.example"]);
    let cert = house.flag("tls.cert-file", "seven.pem");
    let key = house.flag("tls.key-file", "seven-key.pem");
    let at = format!(
        "--target=pi.seven.sites.example:9100=http://{}",
        target.address()
    );
    let _client = house.client(&proxy, &[&cert, &key, &at]).await;
    let uri = "GET http://pi.seven.sites.example:9100/m HTTP/1.1\r\nHost: x\r\n\r\n";
    house.send(proxy.address, uri).await.expect(200);

    let foreign = Authority::new();
    let foreign_folder = foreign.folder().display().to_string();
    foreign.issue("seven", &["seven.sites.example"]);
    house
        .authority
        .issue_for("old", &["seven.sites.example"], Validity::Expired);
    house.authority.issue("other", &["seven.elsewhere.example"]);
    let url = format!("https://localhost:{}", proxy.address.port());
    let ca = house.flag("tls.ca-file", "ca.pem");
    let own = house.authority.folder().display().to_string();
    for (folder, stem, offered) in [
        // Nobody's certificate, an expired one, and those of others.
        (&foreign_folder, "seven", "pi.seven.sites.example:1"),
        (&own, "old", "pi.seven.sites.example:1"),
        (&own, "other", "pi.seven.sites.example:1"),
        (&own, "seven", "pi.eight.sites.example:1"),
    ] {
        let cert = format!("--tls.cert-file={folder}/{stem}.pem");
        let key = format!("--tls.key-file={folder}/{stem}-key.pem");
        let target = format!("--target={offered}");
        let client = Client::launch(&[&url], &[&ca, &cert, &key, &target]).await;
        eventually(PATIENCE, "the client is refused", async || {
            let metrics = Metrics::of(client.web).await;
            let dialled = metrics.sum("adit_client_dials_total");
            let ended = metrics.sum("adit_client_tunnels_ended_total");
            let ready = scraper::page(client.web, "/-/ready").await.head.status;
            match dialled > 0.0
                && ready == 503
                && (ended > 0.0 || stem != "seven" || folder != &own)
            {
                true => Ok(()),
                false => Err(format!("{dialled} dials, {ended} ended, {ready}")),
            }
        })
        .await;
    }
    let clients = house
        .send(proxy.address, "GET /clients HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .text();
    assert!(!clients.contains("eight"), "{clients}");
    let metrics = house
        .send(proxy.address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .text();
    for series in [
        "adit_proxy_tls_handshake_failures_total{reason=\"certificate\"}",
        "adit_proxy_auth_failures_total{reason=\"missing\",role=\"client\"}",
        "adit_proxy_auth_failures_total{reason=\"forbidden\",role=\"client\"}",
    ] {
        assert!(metrics.contains(series), "{series}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_rotated_under_load_without_a_failed_scrape() {
    let house = Arc::new(House::new(&format!("{TLS}{USERS}")));
    let target = Target::start(ok(metric("m")));
    let proxy = house.proxy(&[]).await;
    let at = format!("--target=pi:9100=http://{}", target.address());
    let _client = house.client(&proxy, &[&at]).await;
    let port = proxy.address.port();
    let prometheus = Prometheus::patient(&format!(
        "- job_name: kept\n  proxy_url: https://prometheus:pw-of-prometheus@localhost:{port}\n  \
         tls_config: {{ca_file: {}}}\n  static_configs: [{{targets: ['pi:9100']}}]",
        house.authority.ca_file().display()
    ))
    .await;
    let (done, scraped) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut scrapers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (house, done, scraped) = (Arc::clone(&house), Arc::clone(&done), Arc::clone(&scraped));
        let address = proxy.address;
        scrapers.spawn(async move {
            let request = format!(
                "GET http://pi:9100/metrics HTTP/1.1\r\nHost: pi:9100\r\n\
                 Proxy-Authorization: Basic {PROMETHEUS}\r\n\r\n"
            );
            while !done.load(Ordering::Relaxed) {
                // A handshake each.
                house.send(address, &request).await.expect(200);
                scraped.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut certificates = Vec::new();
    for _ in 0..3 {
        let issued = house.authority.issue("proxy", &["localhost", "127.0.0.1"]);
        eventually(PATIENCE, "the new certificate is shown", async || {
            let stream = TcpStream::connect(proxy.address).await.unwrap();
            let tls = house.authority.connect("localhost", stream).await;
            let shown = tls.get_ref().1.peer_certificates().unwrap()[0].to_vec();
            match shown == issued.der {
                true => Ok(()),
                false => Err("an older one".to_owned()),
            }
        })
        .await;
        certificates.push(issued);
    }
    let scrapes = prometheus.scrapes("kept", 4).await;
    done.store(true, Ordering::Relaxed);
    while let Some(scraper) = scrapers.join_next().await {
        scraper.expect("not a scrape failed");
    }
    assert!(scrapes.iter().all(|up| *up == 1.0), "{scrapes:?}");
    assert!(scraped.load(Ordering::Relaxed) > 20, "{scraped:?}");
}
