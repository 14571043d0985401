//! Who may take which name, and for how long.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use adit_common::secret::Digest;
use adit_common::tunnel::goodbye::{End, Farewell};
use adit_tests::metrics::Metrics;
use adit_tests::pair::Proxy;
use adit_tests::scraper::{self, Answer};
use adit_tests::tunnel::{FakeClient, refused_upgrade, upgrade_request};
use adit_tests::wait::{PATIENCE, eventually, within};

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(config: &str) -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(files.config(), config).unwrap();
        files
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("proxy.yml")
    }

    fn flag(&self) -> String {
        format!("--config.file={}", self.config().display())
    }
}

const SEVEN: &str = "Authorization: Bearer token-of-seven";
const EIGHT: &str = "Adit-Token: token-of-eight";

fn two_sites() -> String {
    format!(
        "auth:\n  clients:\n  \
         - {{id: seven, token_sha256: {}, names: ['*.site-7', nas]}}\n  \
         - {{id: eight, token_sha256: {}, names: ['*.site-8'], sessions: 1}}\n",
        Digest::of(b"token-of-seven"),
        Digest::of(b"token-of-eight"),
    )
}

fn offers(name: &str) -> String {
    format!("{{\"names\":[\"{name}\"]}}")
}

async fn upgrade(proxy: SocketAddr, fields: &[&str]) -> Answer {
    let mut lines = upgrade_request();
    lines.extend(fields.iter().map(|field| (*field).to_owned()));
    refused_upgrade(proxy, &lines).await
}

async fn failures(proxy: &Proxy, reason: &str) -> f64 {
    let metrics = Metrics::of(proxy.address).await;
    let series = format!("adit_proxy_auth_failures_total{{reason=\"{reason}\",role=\"client\"}}");
    match metrics.sum("adit_proxy_auth_failures_total") {
        0.0 => 0.0,
        _ => metrics.series(&series),
    }
}

async fn reload(proxy: &Proxy) {
    let request = "POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    scraper::send(proxy.address, request).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_shows_its_token_or_has_no_tunnel() {
    let files = Files::new(&two_sites());
    let proxy = Proxy::start(&[&files.flag()]).await;
    for (fields, says) in [
        (&[][..], "no credentials were given"),
        (
            &["Authorization: Bearer wrong"],
            "the credentials are wrong",
        ),
        (
            &["Authorization: Basic eDp3cm9uZw=="],
            "the credentials are wrong",
        ),
        (&["Adit-Token: wrong"], "the credentials are wrong"),
        // Which of the two did a front proxy look at?
        (
            &[SEVEN, "Authorization: Bearer token-of-eight"],
            "the credentials are wrong",
        ),
    ] {
        let answer = upgrade(proxy.address, fields).await.expect(401);
        let asks = answer.head.field("www-authenticate");
        assert!(
            asks.is_some_and(|asks| asks.starts_with("Basic")),
            "{fields:?}"
        );
        assert_eq!(answer.text(), format!("{says}\n"));
    }
    assert_eq!(failures(&proxy, "missing").await, 1.0);
    assert_eq!(failures(&proxy, "wrong").await, 4.0);
    // token-of-seven, as PushProx's clients can send it.
    let basic = "Authorization: Basic eDp0b2tlbi1vZi1zZXZlbg==";
    for fields in [&[SEVEN][..], &[EIGHT, basic], &[basic]] {
        let line = offers("pi.site-7");
        match fields.contains(&EIGHT) {
            // Both are good: the one in our own field counts.
            true => {
                let client = FakeClient::register_with(proxy.address, fields, line).await;
                assert!(matches!(client.end().await, End::Peer(_)));
            }
            false => {
                let client = FakeClient::register_with(proxy.address, fields, line).await;
                client.accepted().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_for_its_own_credentials() {
    let files = Files::new(&two_sites().replace(", sessions: 1", ""));
    let proxy = Proxy::start(&[&files.flag()]).await;
    let rightful = FakeClient::register_with(proxy.address, &[SEVEN], offers("pi.site-7")).await;
    rightful.accepted().await;
    for name in ["pi.site-7", "nas", "site-8", "pi.site-80"] {
        let thief = FakeClient::register_with(proxy.address, &[EIGHT], offers(name)).await;
        let End::Peer(goodbye) = thief.end().await else {
            panic!("{name} was taken");
        };
        assert_eq!(goodbye.farewell, Farewell::Denied);
        let says = format!("these credentials (eight) are not for the name {name}");
        assert_eq!(goodbye.reason, says);
    }
    assert_eq!(failures(&proxy, "forbidden").await, 4.0);
    // Nor by changing what it offers.
    let mut eight = FakeClient::register_with(proxy.address, &[EIGHT], offers("pi.site-8")).await;
    eight.accepted().await;
    eight.say(offers("pi.site-7")).await;
    assert!(
        matches!(eight.end().await, End::Peer(goodbye) if goodbye.farewell == Farewell::Denied)
    );
    let answer = scraper::scrape(proxy.address, "http://pi.site-8:9100/metrics").await;
    answer.refusal(503, "pi.site-8");
    drop(rightful);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_have_as_many_sessions_as_they_may() {
    let files = Files::new(&two_sites());
    let proxy = Proxy::start(&[&files.flag()]).await;
    let first = FakeClient::register_with(proxy.address, &[EIGHT], offers("a.site-8")).await;
    first.accepted().await;
    let answer = upgrade(proxy.address, &[EIGHT]).await.expect(429);
    assert!(answer.text().contains("1 sessions"), "{}", answer.text());
    assert!(answer.head.field("retry-after").is_some());
    assert_eq!(failures(&proxy, "sessions").await, 1.0);
    let other = FakeClient::register_with(proxy.address, &[SEVEN], offers("a.site-7")).await;
    other.accepted().await;
    drop(first);
    eventually(PATIENCE, "its place is free", async || {
        let metrics = Metrics::of(proxy.address).await;
        match metrics.sum("adit_proxy_sessions") {
            1.0 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    let next = FakeClient::register_with(proxy.address, &[EIGHT], offers("a.site-8")).await;
    next.accepted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_credentials_end_their_sessions_at_once() {
    let files = Files::new(&two_sites());
    let proxy = Proxy::start(&["--pushprox.enabled", &files.flag()]).await;
    let stays = FakeClient::register_with(proxy.address, &[SEVEN], offers("pi.site-7")).await;
    let goes = FakeClient::register_with(proxy.address, &[EIGHT], offers("pi.site-8")).await;
    stays.accepted().await;
    goes.accepted().await;
    let mut poll = scraper::Connection::open(proxy.address).await;
    let polling = "POST /poll HTTP/1.1\r\nHost: x\r\nAdit-Token: token-of-eight\r\n\
                   Content-Length: 9\r\n\r\nb.site-8\n";
    poll.write(polling).await;
    proxy.knows("b.site-8").await;

    // Fewer names than it has.
    fs::write(
        files.config(),
        two_sites().replace("'*.site-8'", "'b.site-8'"),
    )
    .unwrap();
    reload(&proxy).await;
    let second = Duration::from_secs(1);
    let end = within(second, "the end of a revoked session", goes.end()).await;
    let End::Peer(goodbye) = end else {
        panic!("{end:?}");
    };
    assert_eq!(goodbye.farewell, Farewell::Denied);
    assert!(
        goodbye.reason.contains("not for the name pi.site-8"),
        "{goodbye:?}"
    );

    // None at all.
    let only_seven: String = two_sites()
        .lines()
        .filter(|l| !l.contains("eight"))
        .fold(String::new(), |text, line| text + line + "\n");
    fs::write(files.config(), only_seven).unwrap();
    reload(&proxy).await;
    let head = within(second, "the end of a revoked poll", poll.head()).await;
    assert_eq!(head.status, 401);
    upgrade(proxy.address, &[EIGHT]).await.expect(401);

    // What stays was not touched.
    fs::write(
        files.config(),
        "auth: {clients: [{token_sha256: nonsense, names: [x]}]}",
    )
    .unwrap();
    let request = "POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    scraper::send(proxy.address, request).await.expect(500);
    let metrics = Metrics::of(proxy.address).await;
    assert_eq!(metrics.sum("adit_proxy_sessions"), 1.0);
    drop(stays);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushprox_clients_are_asked_as_well() {
    let files = Files::new(&two_sites());
    let proxy = Proxy::start(&["--pushprox.enabled", &files.flag()]).await;
    for path in ["/poll", "/push"] {
        for (field, status) in [("X: y", 401), ("Authorization: Basic eDp5", 401)] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\n{field}\r\nContent-Length: 2\r\n\r\nb\n"
            );
            scraper::send(proxy.address, request).await.expect(status);
        }
    }
    let request =
        format!("POST /poll HTTP/1.1\r\nHost: x\r\n{SEVEN}\r\nContent-Length: 2\r\n\r\nb\n");
    let answer = scraper::send(proxy.address, request).await.expect(403);
    assert!(
        answer.text().contains("not for the name b"),
        "{}",
        answer.text()
    );
    let clients = scraper::page(proxy.address, "/clients").await.text();
    assert_eq!(clients, "[]\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_discovery_lists_what_is_offered() {
    let proxy = Proxy::start(&["--web.external-url=https://adit.example/x"]).await;
    let line = r#"{"names":["pi","nas"],"labels":{"site":"berlin","__address__":"evil"},
        "targets":[{"target":"pi:9100","labels":{"job":"node"}},
        {"target":"nas:443","scheme":"https"},{"target":"else:1"}]}"#;
    let client = FakeClient::register(proxy.address, line.replace('\n', "")).await;
    client.accepted().await;
    let by_proxy = scraper::page(proxy.address, "/sd/targets")
        .await
        .expect(200);
    assert_eq!(
        by_proxy.head.field("content-type").as_deref(),
        Some("application/json")
    );
    assert_eq!(
        by_proxy.text(),
        "[{\"targets\":[\"nas:443\"],\"labels\":{\"instance\":\"nas:443\",\"site\":\"berlin\"}},\
         {\"targets\":[\"pi:9100\"],\"labels\":{\"instance\":\"pi:9100\",\"job\":\"node\",\
         \"site\":\"berlin\"}}]\n"
    );
    let by_path = scraper::page(proxy.address, "/sd/targets?style=path").await;
    let by_path = by_path.expect(200).text();
    for part in [
        "\"targets\":[\"adit.example:443\"]",
        "\"__metrics_path__\":\"/x/scrape/https/nas:443/metrics\"",
        "\"__metrics_path__\":\"/x/scrape/http/pi:9100/metrics\"",
        "\"__scheme__\":\"https\"",
    ] {
        assert!(by_path.contains(part), "{part}: {by_path}");
    }
    let wrong = scraper::page(proxy.address, "/sd/targets?style=x").await;
    wrong.expect(400);
    // A client that dials again is no target that vanished.
    drop(client);
    proxy.knows("pi").await;
    let still = scraper::page(proxy.address, "/sd/targets").await.text();
    assert!(still.contains("pi:9100"), "{still}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_web_configuration_keeps_nobody_in_who_is_revoked() {
    let files = Files::new(&two_sites());
    let web = files.folder.path().join("web.yml");
    fs::write(&web, "{}\n").unwrap();
    let flag = format!("--web.config.file={}", web.display());
    let proxy = Proxy::start(&[&flag, &files.flag()]).await;
    let goes = FakeClient::register_with(proxy.address, &[SEVEN], offers("nas")).await;
    goes.accepted().await;
    fs::write(&web, "nonsense: [\n").unwrap();
    fs::write(files.config(), "auth: {clients: []}\n").unwrap();
    let request = "POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let answer = scraper::send(proxy.address, request).await.expect(500);
    assert!(answer.text().contains("web.yml"), "{}", answer.text());
    let end = within(PATIENCE, "the end of a revoked session", goes.end()).await;
    assert!(matches!(end, End::Peer(goodbye) if goodbye.farewell == Farewell::Denied));
}
