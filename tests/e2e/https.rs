//! Targets that speak TLS: to the scraper itself through CONNECT, or to the client.

use adit_tests::pair::Pair;
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper::{self, Connection};
use adit_tests::target::answers::{metric, ok};
use adit_tests::target::{Ear, Target};
use adit_tests::tls::Authority;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_scrapes_https_through_one_connect_many_times() {
    let authority = Authority::new();
    let server = authority.server(&["tls.example"]);
    let target = Target::at(vec![Ear::tls(server)], ok(metric("secret")));
    let upstream = format!("--target=tls.example:9443=https://{}", target.address());
    let pair = Pair::start(&[&upstream]).await;
    let prometheus = Prometheus::patient(&format!(
        "- job_name: tls\n  scheme: https\n  proxy_url: {}\n  tls_config: {{ca_file: {}}}\n  \
         static_configs: [{{targets: ['tls.example:9443']}}]",
        pair.proxy.url(),
        authority.ca_file().display(),
    ))
    .await;
    let scrapes = prometheus.scrapes("tls", 6).await;
    assert!(scrapes.iter().all(|up| *up == 1.0), "{scrapes:?}");
    let journal = target.journal();
    assert!(journal.requests().count() >= 6);
    assert_eq!(journal.connections.len(), 1, "one CONNECT for all of them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_scrapes_https_path_style_with_the_clients_ca() {
    let authority = Authority::new();
    let server = authority.server(&["tls.example"]);
    let target = Target::at(vec![Ear::tls(server)], ok(metric("secret")));
    let file = authority.folder().join("client.yml");
    let config = format!(
        "targets:\n- target: tls.example:9443\n  url: https://{}\n  tls: {{ca_file: ca.pem, server_name: tls.example}}\n",
        target.address()
    );
    std::fs::write(&file, config).unwrap();
    let pair = Pair::start(&[&format!("--config.file={}", file.display())]).await;
    let prometheus = Prometheus::patient(&format!(
        "- job_name: tls\n  metrics_path: /scrape/https/tls.example:9443/metrics\n  \
         params: {{x: ['a b']}}\n  static_configs: [{{targets: ['{}']}}]",
        pair.proxy.address,
    ))
    .await;
    let scrapes = prometheus.scrapes("tls", 3).await;
    assert!(scrapes.iter().all(|up| *up == 1.0), "{scrapes:?}");
    assert_eq!(target.requests()[0].path(), "/metrics?x=a+b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushproxs_scheme_parameter_means_https_and_does_not_reach_the_target() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"]);
    let target = Target::at(vec![Ear::tls(server)], ok(metric("secret")));
    let file = authority.folder().join("client.yml");
    // No URL: the scheme is what the scraper says.
    let config = format!(
        "targets:\n- target: pi:{}\n  tls: {{ca_file: ca.pem}}\n",
        target.port()
    );
    std::fs::write(&file, config).unwrap();
    let pair = Pair::start(&[&format!("--config.file={}", file.display())]).await;
    for (query, left) in [
        ("?_scheme=https", ""),
        ("?_scheme=https&a=%2F&b=+", "?a=%2F&b=+"),
        ("?a=1&_scheme=https&b[]=%5b", "?a=1&b[]=%5b"),
    ] {
        let uri = format!("http://pi:{}/metrics{query}", target.port());
        pair.scrape(&uri).await.expect(200);
        let requests = target.requests();
        assert_eq!(requests.last().unwrap().path(), format!("/metrics{left}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_inside_connect_is_end_to_end() {
    let authority = Authority::new();
    let server = authority.server(&["tls.example"]);
    let target = Target::at(vec![Ear::tls(server)], ok(metric("secret")));
    // The client is told nothing of TLS: the scraper's is none of its business.
    let upstream = format!("--target=tls.example:9443=http://{}", target.address());
    let pair = Pair::start(&[&upstream]).await;
    let mut connection = Connection::open(pair.proxy.address).await;
    connection
        .write("CONNECT tls.example:9443 HTTP/1.1\r\nHost: tls.example:9443\r\n\r\n")
        .await;
    assert_eq!(connection.head().await.status, 200);
    let stream = authority
        .connect("tls.example", connection.into_stream())
        .await;
    let mut inside = Connection::over(stream);
    for _ in 0..3 {
        let request = "GET /metrics HTTP/1.1\r\nHost: tls.example:9443\r\n\r\n";
        let answer = inside.exchange(request).await.expect(200);
        assert_eq!(answer.text(), metric("secret"));
    }
    assert_eq!(target.journal().connections.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn path_style_works_in_clear_too_and_below_the_route_prefix() {
    let target = Target::start(ok(metric("clear")));
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let proxy = adit_tests::pair::Proxy::start(&["--web.route-prefix=/adit"]).await;
    let url = format!("{}/adit", proxy.url());
    let _client = adit_tests::pair::Client::start(&[&url], &[&flag]).await;
    let path = "/adit/scrape/http/pi:9100/probe?target=a%2Fb&x[]=1";
    let answer = scraper::page(proxy.address, path).await.expect(200);
    assert_eq!(answer.text(), metric("clear"));
    assert_eq!(target.request().path(), "/probe?target=a%2Fb&x[]=1");
    scraper::page(proxy.address, "/scrape/http/pi:9100/probe")
        .await
        .expect(404);
}
