//! TLS and users at the proxy itself, with what a Prometheus and a client can send.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use adit_tests::metrics::Metrics;
use adit_tests::pair::{Client, Proxy};
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper::{self, Answer, Connection};
use adit_tests::target::answers::{metric, ok};
use adit_tests::target::{Ear, Target};
use adit_tests::tls::{Authority, Validity};
use adit_tests::wait::{PATIENCE, eventually};
use tokio::net::TcpStream;

/// `pw-of-prometheus` and `pw-of-ops`.
const USERS: &str = "basic_auth_users:\n  \
    prometheus: $2y$04$qJzForUol1eJmZqAi7OVw.fBZbmBpqynVqN1MFLNBvSMgrsoJNT9W\n  \
    ops: $2y$04$/up3ay1ggPTEgX3ooP34PuLEbazawbpCmvrf8eLbwNDowlQExth3G\n";
const PROMETHEUS: &str = "cHJvbWV0aGV1czpwdy1vZi1wcm9tZXRoZXVz";
const OPS: &str = "b3BzOnB3LW9mLW9wcw==";
const TLS: &str = "tls_server_config: {cert_file: proxy.pem, key_file: proxy-key.pem}\n";
const TOKEN: &str = "token-of-the-client";

struct House {
    authority: Authority,
}

impl House {
    /// With a certificate for the proxy, a token for clients, and this web configuration.
    fn new(web: &str) -> Self {
        let authority = Authority::new();
        authority.issue("proxy", &["localhost", "127.0.0.1"]);
        let house = Self { authority };
        house.write("web.yml", web);
        house.write("token", TOKEN);
        house
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.authority.folder().join(file);
        let next = path.with_extension("next");
        fs::write(&next, text).unwrap();
        fs::rename(&next, &path).unwrap();
    }

    fn flag(&self, flag: &str, file: &str) -> String {
        format!("--{flag}={}", self.authority.folder().join(file).display())
    }

    async fn proxy(&self, more: &[&str]) -> Proxy {
        let web = self.flag("web.config.file", "web.yml");
        let token = self.flag("auth.token-file", "token");
        let mut flags = vec![web.as_str()];
        if !more.iter().any(|flag| flag.starts_with("--config.file")) {
            flags.push(&token);
        }
        flags.extend(more);
        Proxy::start(&flags).await
    }

    async fn client(&self, proxy: &Proxy, more: &[&str]) -> Client {
        let url = format!("https://localhost:{}", proxy.address.port());
        let ca = self.flag("tls.ca-file", "ca.pem");
        let token = self.flag("auth.token-file", "token");
        let mut flags = vec![ca.as_str()];
        if !more.iter().any(|flag| flag.starts_with("--tls.cert")) {
            flags.push(&token);
        }
        flags.extend(more);
        Client::start(&[&url], &flags).await
    }

    /// Over a TLS connection of its own.
    async fn send(&self, server: SocketAddr, request: &str) -> Answer {
        let stream = TcpStream::connect(server).await.unwrap();
        let tls = self.authority.connect("localhost", stream).await;
        Connection::over(tls).exchange(request).await
    }
}

fn authorized(path: &str, user: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {user}\r\n\
         Connection: close\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_scrapes_by_an_https_proxy_url_with_its_user() {
    let house = House::new(&format!("{TLS}{USERS}"));
    let target = Target::start(ok(metric("plain")));
    let secret = house.authority.server(&["localhost"]);
    let secret = Target::at(vec![Ear::tls(secret)], ok(metric("secret")));
    let proxy = house.proxy(&[]).await;
    let plain_flag = format!("--target=pi:9100=http://{}", target.address());
    let tls_flag = format!("--target=localhost:9443=https://{}", secret.address());
    let _client = house.client(&proxy, &[&plain_flag, &tls_flag]).await;
    let port = proxy.address.port();
    let ca = house.authority.ca_file();
    let ca = ca.display();
    let url = |user: &str| format!("https://{user}@localhost:{port}");
    let (right, wrong) = (url("prometheus:pw-of-prometheus"), url("prometheus:wrong"));
    let prometheus = Prometheus::start(&format!(
        "- job_name: plain\n  proxy_url: {right}\n  tls_config: {{ca_file: {ca}}}\n  \
         static_configs: [{{targets: ['pi:9100']}}]\n\
         - job_name: tls\n  scheme: https\n  proxy_url: {right}\n  tls_config: {{ca_file: {ca}}}\n  \
         static_configs: [{{targets: ['localhost:9443']}}]\n\
         - job_name: path\n  scheme: https\n  metrics_path: /scrape/http/pi:9100/metrics\n  \
         basic_auth: {{username: prometheus, password: pw-of-prometheus}}\n  \
         tls_config: {{ca_file: {ca}}}\n  static_configs: [{{targets: ['localhost:{port}']}}]\n\
         - job_name: sd\n  scheme: https\n  \
         basic_auth: {{username: prometheus, password: pw-of-prometheus}}\n  \
         tls_config: {{ca_file: {ca}}}\n  http_sd_configs:\n  \
         - url: https://localhost:{port}/sd/targets?style=path\n    \
         basic_auth: {{username: prometheus, password: pw-of-prometheus}}\n    \
         tls_config: {{ca_file: {ca}}}\n  relabel_configs:\n  \
         - {{source_labels: [instance], regex: 'pi:9100', action: keep}}\n\
         - job_name: wrong\n  proxy_url: {wrong}\n  tls_config: {{ca_file: {ca}}}\n  \
         static_configs: [{{targets: ['pi:9100']}}]\n\
         - job_name: wrong-tls\n  scheme: https\n  proxy_url: {wrong}\n  \
         tls_config: {{ca_file: {ca}}}\n  static_configs: [{{targets: ['localhost:9443']}}]\n\
         - job_name: nobody\n  scheme: https\n  metrics_path: /scrape/http/pi:9100/metrics\n  \
         tls_config: {{ca_file: {ca}}}\n  static_configs: [{{targets: ['localhost:{port}']}}]"
    ))
    .await;
    for job in ["plain", "tls", "path", "sd"] {
        prometheus.is_up(job).await;
    }
    for (job, says) in [
        ("wrong", "407"),
        ("wrong-tls", "the credentials are wrong"),
        ("nobody", "401"),
    ] {
        let error = prometheus.is_down(job).await;
        assert!(error.contains(says), "{job}: {error}");
    }
    for request in target.requests() {
        for field in ["proxy-authorization", "authorization"] {
            assert_eq!(request.field(field), None, "{field} is ours");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_asks_by_its_own_field() {
    let house = House::new(USERS);
    let target = Target::start(ok(metric("m")));
    let proxy = house.proxy(&[]).await;
    let _client = Client::start(
        &[&proxy.url()],
        &[
            &house.flag("auth.token-file", "token"),
            &format!("--target=pi:9100=http://{}", target.address()),
        ],
    )
    .await;
    let basic = |field: &str| format!("{field}: Basic {PROMETHEUS}");
    let (ours, theirs) = (basic("Proxy-Authorization"), basic("Authorization"));
    let uri = "http://pi:9100/metrics";
    scraper::scrape_with(proxy.address, uri, &[&ours])
        .await
        .expect(200);
    for fields in [
        &[][..],
        &[theirs.as_str()],
        &["Proxy-Authorization: Basic eDp5"],
        &[ours.as_str(), ours.as_str()],
    ] {
        let answer = scraper::scrape_with(proxy.address, uri, fields)
            .await
            .expect(407);
        assert!(
            answer.head.field("proxy-authenticate").is_some(),
            "{answer:?}"
        );
    }
    // The target's own credentials pass, beside ours.
    let both = [ours.as_str(), "Authorization: Bearer of-the-target"];
    scraper::scrape_with(proxy.address, uri, &both)
        .await
        .expect(200);
    let request = target.requests().pop().unwrap();
    let passed = request.field("authorization");
    assert_eq!(passed.as_deref(), Some("Bearer of-the-target"));
    let connect = "CONNECT pi:9100 HTTP/1.1\r\nHost: pi:9100\r\n\r\n";
    scraper::send(proxy.address, connect).await.expect(407);
    for path in [
        "/metrics",
        "/clients",
        "/-/healthy",
        "/nowhere",
        "/scrape/http/pi:9100/m",
    ] {
        let answer = scraper::page(proxy.address, path).await.expect(401);
        assert!(
            answer.head.field("www-authenticate").is_some(),
            "{answer:?}"
        );
    }
    for (path, status) in [("/metrics", 200), ("/-/healthy", 200), ("/nowhere", 404)] {
        scraper::send(proxy.address, authorized(path, PROMETHEUS))
            .await
            .expect(status);
    }
    let answer = scraper::send(proxy.address, authorized("/scrape/http/pi:9100/m", OPS)).await;
    answer.expect(200);
    assert_eq!(
        target.requests().pop().unwrap().field("authorization"),
        None
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_user_scrapes_and_sees_its_own() {
    let house = House::new(USERS);
    house.write(
        "proxy.yml",
        "auth:\n  scrapers:\n  \
         - {user: prometheus, targets: ['*:9100', nas], pages: [clients, sd]}\n  \
         - {user: ops, pages: [metrics, reload, status]}\n",
    );
    let target = Target::start(ok(metric("m")));
    let token = house.flag("auth.token-file", "token");
    let proxy = house
        .proxy(&[&house.flag("config.file", "proxy.yml"), &token])
        .await;
    let at = |name: &str| format!("--target={name}=http://{}", target.address());
    let targets = ["pi:9100", "pi:9200", "nas:1", "db:5432"].map(at);
    let mut flags: Vec<&str> = targets.iter().map(String::as_str).collect();
    flags.push(&token);
    let _client = Client::start(&[&proxy.url()], &flags).await;
    for (user, target, status) in [
        (PROMETHEUS, "pi:9100", 200),
        (PROMETHEUS, "nas:1", 200),
        (PROMETHEUS, "pi:9200", 403),
        (PROMETHEUS, "db:5432", 403),
        (OPS, "pi:9100", 403),
    ] {
        let uri = format!("http://{target}/metrics");
        let field = format!("Proxy-Authorization: Basic {user}");
        let answer = scraper::scrape_with(proxy.address, &uri, &[&field]).await;
        assert_eq!(answer.head.status, status, "{user} {target}");
        let path = format!("/scrape/http/{target}/metrics");
        let answer = scraper::send(proxy.address, authorized(&path, user)).await;
        assert_eq!(answer.head.status, status, "{user} {target}");
        if status == 403 {
            let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n");
            let answer = scraper::send(proxy.address, connect).await.expect(403);
            assert!(answer.text().contains(&format!("may not scrape {target}")));
        }
    }
    for (user, path, status) in [
        (PROMETHEUS, "/clients", 200),
        (PROMETHEUS, "/sd/targets", 200),
        (PROMETHEUS, "/metrics", 403),
        (PROMETHEUS, "/-/reload", 403),
        (PROMETHEUS, "/-/ready", 200),
        (OPS, "/metrics", 200),
        (OPS, "/clients", 403),
        (OPS, "/sd/targets?style=path", 403),
    ] {
        let answer = scraper::send(proxy.address, authorized(path, user)).await;
        assert_eq!(answer.head.status, status, "{user} {path}");
    }
    let clients = scraper::send(proxy.address, authorized("/clients", PROMETHEUS))
        .await
        .text();
    // Some port of db is 9100 for all that is known.
    assert!(
        clients.contains("\"nas\"") && clients.contains("\"pi\""),
        "{clients}"
    );
    let sd = scraper::send(proxy.address, authorized("/sd/targets", PROMETHEUS))
        .await
        .text();
    assert!(sd.contains("pi:9100") && sd.contains("nas:1"), "{sd}");
    assert!(!sd.contains("9200") && !sd.contains("db"), "{sd}");
    let metrics = scraper::send(proxy.address, authorized("/metrics", OPS))
        .await
        .text();
    let counted = "adit_proxy_auth_failures_total{reason=\"forbidden\",role=\"scraper\"}";
    assert!(metrics.contains(counted), "{metrics}");
}

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
    let prometheus = Prometheus::start(&format!(
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_web_configuration_changes_nothing_and_a_good_one_counts_at_once() {
    let house = House::new(USERS);
    let proxy = house.proxy(&[]).await;
    let ready = |user: &'static str| {
        let address = proxy.address;
        async move { scraper::send(address, authorized("/metrics", user)).await }
    };
    ready(PROMETHEUS).await.expect(200);
    const SUCCESSFUL: &str = "adit_proxy_config_last_reload_successful";
    let successful = async |value: &str| {
        eventually(PATIENCE, "the file is read again", async || {
            let page = ready(PROMETHEUS).await.expect(200).text();
            let line = page
                .lines()
                .find(|line| line.starts_with(SUCCESSFUL))
                .unwrap();
            match line.ends_with(value) {
                true => Ok(()),
                false => Err(line.to_owned()),
            }
        })
        .await;
    };
    house.write("web.yml", "basic_auth_users: {prometheus: nonsense}\n");
    successful(" 0").await;
    let only_prometheus: Vec<&str> = USERS.lines().take(2).collect();
    let more = "\nhttp_server_config: {headers: {X-Frame-Options: deny}}\n";
    house.write("web.yml", &(only_prometheus.join("\n") + more));
    successful(" 1").await;
    ready(OPS).await.expect(401);
    let answer = ready(PROMETHEUS).await;
    assert_eq!(
        answer.head.field("x-frame-options").as_deref(),
        Some("deny")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_than_the_rate_limit_are_told_so() {
    let house = House::new("rate_limit: {interval: 1h, burst: 3}\n");
    let proxy = house.proxy(&[]).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(scraper::page(proxy.address, "/-/healthy").await.head.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_no_tls_is_not_waited_for() {
    let house = House::new(TLS);
    let proxy = house.proxy(&[]).await;
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let mut connection = Connection::over(stream);
    connection
        .write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    let (mut stream, _) = connection.into_parts();
    let mut end = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut end);
    let ended = tokio::time::timeout(Duration::from_secs(5), reading).await;
    ended.expect("it is over at once").ok();
    assert!(!end.starts_with(b"HTTP/1.1 200"), "{end:?}");
}
