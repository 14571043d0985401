//! How the query side is switched on, and who may come in.

use std::path::PathBuf;

use adit_tests::binaries;
use adit_tests::pair::{self, Proxy};
use adit_tests::ports;
use adit_tests::program::{Finished, Program};
use adit_tests::scraper::{self, Answer};
use tempfile::TempDir;

/// `pw-of-prometheus`, and `pw-of-ops`.
const USERS: &str = "basic_auth_users:\n  \
    grafana: $2y$04$qJzForUol1eJmZqAi7OVw.fBZbmBpqynVqN1MFLNBvSMgrsoJNT9W\n  \
    ops: $2y$04$/up3ay1ggPTEgX3ooP34PuLEbazawbpCmvrf8eLbwNDowlQExth3G\n";
const GRAFANA: &str = "Z3JhZmFuYTpwdy1vZi1wcm9tZXRoZXVz";
const OPS: &str = "b3BzOnB3LW9mLW9wcw==";
const LISTEN: &str = "--query.listen-address=127.0.0.1:0";

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
    }

    fn flag(&self, flag: &str, file: &str) -> String {
        format!("--{flag}={}", self.path(file).display())
    }
}

async fn check(args: &[&str]) -> Finished {
    let mut all = vec!["--check-config", "--web.listen-address=127.0.0.1:0"];
    all.extend(args);
    Program::run(binaries::path("adit-proxy"), &all).await
}

/// A backend where nobody is.
fn nobody() -> String {
    format!("--query.backend=http://127.0.0.1:{}", ports::unused())
}

fn get(path: &str, user: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {user}\r\n\
         Connection: close\r\n\r\n"
    )
}

async fn reload(proxy: &Proxy) -> Answer {
    let request = "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    scraper::send(proxy.address, request).await
}

/// An error of ours as Prometheus' API has them.
fn assert_error(answer: &Answer) {
    assert!(answer.head.status >= 400, "{answer:?}");
    let kind = answer.head.field("content-type");
    assert_eq!(kind.as_deref(), Some("application/json"), "{answer:?}");
    let body: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(body["status"], "error", "{body}");
    assert!(
        body["errorType"].is_string() && body["error"].is_string(),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_flags_are_enough_and_the_check_says_what_they_come_to() {
    let two = [
        "--query.listen-address=127.0.0.1:9091",
        "--query.backend=http://prom-a:9090",
        "--query.backend=tunnel://pi:9090",
    ];
    let checked = check(&two).await;
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    for line in [
        "ok  listen on 127.0.0.1:9091 for query",
        "ok  pool main: most-data of http://prom-a:9090, tunnel://pi:9090",
    ] {
        assert!(
            checked.stdout.lines().any(|it| it == line),
            "{line}\n{checked:?}"
        );
    }
    let files = Files::new();
    files.write("password", "s3cret\n");
    files.write(
        "proxy.yml",
        "query:\n  pools:\n  - name: eu\n    hosts: [prom.example]\n    path_prefix: /eu\n    \
         strategy: min-history:1d\n    backends:\n    \
         - {url: http://a:9090, name: a, basic_auth: {username: x, password_file: password}}\n    \
         discovery: {dns: [{name: _prom._tcp.example, type: SRV}], \
         tunnel: [{labels: {job: prometheus}}]}\n  \
         - {name: us, backends: [https://b]}\n",
    );
    let file = files.flag("config.file", "proxy.yml");
    let checked = check(&[two[0], &file]).await;
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert!(!format!("{checked:?}").contains("s3cret"));
    for line in [
        "ok  pool eu for prom.example at /eu: min-history:1day of a (http://a:9090), \
         dns _prom._tcp.example SRV, tunnel job=\"prometheus\"",
        "ok  pool us: most-data of https://b:443",
    ] {
        assert!(
            checked.stdout.lines().any(|it| it == line),
            "{line}\n{checked:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_and_exits_with_2() {
    let files = Files::new();
    files.write("pools.yml", "query: {backends: [http://b:9090]}\n");
    files.write(
        "typo.yml",
        "query:\n  pools:\n  - backends: [http://b:9090]\n    stratgy: random\n",
    );
    files.write(
        "health.yml",
        "query: {pools: [{backends: ['http://b:1'], health: {fall: 0}}]}\n",
    );
    files.write(
        "rights.yml",
        "query: {backends: [http://b:9090]}\nauth: {scrapers: [{user: x, pools: [mian]}]}\n",
    );
    let [pools, typo, health, rights] = ["pools", "typo", "health", "rights"]
        .map(|name| files.flag("config.file", &format!("{name}.yml")));
    let backend = "--query.backend=http://a:9090";
    for (args, says) in [
        (
            &[LISTEN][..],
            "there is no backend to ask: give --query.backend=URL",
        ),
        (
            &[backend],
            "--query.backend: nobody could ask these backends: give --query.listen-address",
        ),
        (
            &[&pools],
            "query in --config.file: nobody could ask these backends",
        ),
        (
            &[LISTEN, backend, &pools],
            "--query.backend and query.backends of --config.file exclude",
        ),
        (
            &[LISTEN, "--query.backend=a:9090"],
            "expected http(s)://HOST:PORT",
        ),
        (
            &[LISTEN, "--query.backend=http://u:s3cret@a"],
            "does not belong in a flag",
        ),
        (&["--query.listen-address=x"], "HOST:PORT"),
        (
            &[LISTEN, &typo],
            "typo.yml:4:5: unknown key \"stratgy\", did you mean \"strategy\"?",
        ),
        (
            &[LISTEN, &health],
            "query.pools[main].health.fall: 0 is not between 1 and",
        ),
        (
            &[LISTEN, &rights],
            "auth.scrapers[0].pools: there is no pool \"mian\", only main",
        ),
        (
            &["--query.listen-address=0.0.0.0:0", backend],
            "whoever sends queries there is not asked",
        ),
        (
            &["--query.listen-address=[::]:0", backend],
            "--allow-anonymous",
        ),
    ] {
        let checked = check(args).await;
        assert_eq!(checked.status.code(), Some(2), "{args:?}: {checked:?}");
        assert!(checked.stdout.is_empty(), "{args:?}: {checked:?}");
        assert!(checked.stderr.contains(says), "{args:?}: {checked:?}");
        assert!(!checked.stderr.contains("s3cret"), "{checked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_address_has_queries_and_what_is_ours_beside_them() {
    let proxy = Proxy::start(&[LISTEN, &nobody(), "--web.route-prefix=/adit"]).await;
    let query = proxy.query.unwrap();
    assert_ne!(query, proxy.address);
    scraper::page(query, "/-/healthy").await.expect(200);
    // There is nobody to ask.
    scraper::page(query, "/-/ready").await.expect(503);
    let metrics = scraper::page(query, "/metrics").await.expect(200);
    assert!(metrics.text().contains("adit_proxy_build_info"));
    for address in [query, proxy.address] {
        let prefix = if address == query { "" } else { "/adit" };
        let page = format!("{prefix}/api/v1/backends");
        let backends = scraper::page(address, &page).await.expect(200);
        let kind = backends.head.field("content-type");
        assert_eq!(kind.as_deref(), Some("application/json"));
        let backends: serde_json::Value = serde_json::from_str(&backends.text()).unwrap();
        assert_eq!(backends["status"], "success");
    }
    // Whatever else there is elsewhere is none here, and no prefix is taken off.
    for path in [
        "/api/v1/query?query=up",
        "/clients",
        "/sd/targets",
        "/scrape/http/pi:9100/metrics",
        "/tunnel",
        "/adit/metrics",
        "/nowhere",
    ] {
        assert_error(&scraper::page(query, path).await);
    }
    let scrape = scraper::scrape(query, "http://pi:9100/metrics").await;
    assert_eq!(scrape.head.status, 404, "{scrape:?}");
    let connect = "CONNECT pi:9100 HTTP/1.1\r\nHost: pi:9100\r\n\r\n";
    scraper::send(query, connect).await.expect(404);
    // And queries are nowhere else.
    let elsewhere = scraper::page(proxy.address, "/adit/api/v1/query?query=up").await;
    assert_eq!(elsewhere.head.status, 404, "{elsewhere:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_is_asked() {
    let files = Files::new();
    files.write("web.yml", USERS);
    files.write(
        "proxy.yml",
        "auth:\n  scrapers:\n  - {user: grafana, pools: [main]}\n  \
         - {user: ops, pages: [metrics, status]}\n",
    );
    let web = files.flag("web.config.file", "web.yml");
    let file = files.flag("config.file", "proxy.yml");
    let proxy = Proxy::start(&[LISTEN, &nobody(), &web, &file]).await;
    let query = proxy.query.unwrap();
    for path in [
        "/api/v1/query?query=up",
        "/api/v1/backends",
        "/api/v1/explain?query=up",
        "/metrics",
        "/-/healthy",
        "/-/ready",
        "/nowhere",
    ] {
        let answer = scraper::page(query, path).await.expect(401);
        assert!(
            answer.head.field("www-authenticate").is_some(),
            "{answer:?}"
        );
        let wrong = scraper::send(query, get(path, "eDp5")).await;
        assert_eq!(wrong.head.status, 401, "{path}");
    }
    let mut answers = Vec::new();
    for user in [GRAFANA, OPS] {
        for path in ["/-/healthy", "/metrics", "/api/v1/backends"] {
            answers.push(scraper::send(query, get(path, user)).await.head.status);
        }
    }
    assert_eq!(answers, [200, 403, 403, 200, 200, 200]);
    assert_error(&scraper::send(query, get("/api/v1/query?query=up", GRAFANA)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_stay_when_the_file_is_read_again() {
    let (folder, file) = pair::config("duplicates: reject\n");
    let path = folder.path().join("config.yml");
    let proxy = Proxy::start(&[LISTEN, &nobody(), &file]).await;
    std::fs::write(&path, "duplicates: replicas\n").unwrap();
    reload(&proxy).await.expect(200);
    std::fs::write(&path, "query: {backends: [http://b:9090]}\n").unwrap();
    let refused = reload(&proxy).await.expect(500);
    assert!(
        refused
            .text()
            .contains("--query.backend and query.backends"),
        "{refused:?}"
    );

    let (folder, file) = pair::config("query: {backends: ['http://127.0.0.1:1']}\n");
    let path = folder.path().join("config.yml");
    let proxy = Proxy::start(&[LISTEN, &file]).await;
    std::fs::write(&path, "duplicates: replicas\n").unwrap();
    let refused = reload(&proxy).await.expect(500);
    assert!(
        refused.text().contains("there is no backend to ask"),
        "{refused:?}"
    );
    std::fs::write(&path, "query: {backends: ['http://127.0.0.1:2']}\n").unwrap();
    reload(&proxy).await.expect(200);
}
