//! Every limit is reached on purpose: whoever does it is told which one it was, it is counted, and
//! others go on.

mod connections;

use std::fs;
use std::time::Duration;

use adit_common::tunnel::goodbye::{End, Farewell};
use adit_tests::binaries;
use adit_tests::metrics::Metrics;
use adit_tests::pair::{Client, Proxy};
use adit_tests::scraper::{self, Answer, Connection};
use adit_tests::target::Target;
use adit_tests::target::answers::ok;
use adit_tests::tunnel::{FakeClient, refused_upgrade, upgrade_request};
use adit_tests::wait::{PATIENCE, eventually, within};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinHandle;

const PI: &str = r#"{"names":["pi"],"any_port":true}"#;
/// Where a fake client gives no answer.
const STALL: &str = "http://pi:9100/stall";

/// A proxy with these limits, in the flow style of YAML.
struct Limited {
    proxy: Proxy,
    _folder: tempfile::TempDir,
}

impl Limited {
    async fn to(limits: &str) -> Self {
        Self::with(limits, &[]).await
    }

    async fn with(limits: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.yml");
        fs::write(&file, format!("limits: {{{limits}}}\n")).unwrap();
        let flag = format!("--config.file={}", file.display());
        let flags: Vec<&str> = flags.iter().copied().chain([flag.as_str()]).collect();
        let proxy = Proxy::start(&flags).await;
        Self {
            proxy,
            _folder: folder,
        }
    }

    async fn reached(&self, limit: &str) -> f64 {
        reached(self.proxy.address, limit).await
    }

    async fn counts(&self, limit: &str, times: f64) {
        counts(self.proxy.address, limit, times).await;
    }

    async fn scrape(&self, uri: &str) -> Answer {
        scraper::scrape(self.proxy.address, uri).await
    }

    fn scraping(&self, uri: &'static str) -> JoinHandle<Answer> {
        tokio::spawn(scraper::scrape(self.proxy.address, uri))
    }

    async fn connection(&self) -> Connection {
        Connection::open(self.proxy.address).await
    }
}

async fn reached(proxy: std::net::SocketAddr, limit: &str) -> f64 {
    let series = format!("adit_proxy_limits_reached_total{{limit=\"{limit}\"}}");
    Metrics::of(proxy).await.series(&series)
}

/// Waits until a limit is known to have been reached so often, and not more: whoever is refused knows
/// it before it is counted.
async fn counts(proxy: std::net::SocketAddr, limit: &str, times: f64) {
    eventually(PATIENCE, limit, async || {
        let reached = reached(proxy, limit).await;
        (reached == times)
            .then_some(())
            .ok_or_else(|| format!("reached {reached} times, not {times}"))
    })
    .await;
}

/// What else comes until the proxy closes.
async fn rest(connection: Connection) -> String {
    let (mut stream, mut text) = connection.into_parts();
    let reading = stream.read_to_end(&mut text);
    // A reset is an end as well.
    let _ = within(PATIENCE, "the proxy closes", reading).await;
    String::from_utf8(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_limit_is_counted_from_the_start() {
    let proxy = Proxy::start(&[]).await;
    let page = scraper::page(proxy.address, "/metrics").await.text();
    let series = page.matches("\nadit_proxy_limits_reached_total{").count();
    assert!(series >= 16, "{page}");
    let none = "\nadit_proxy_limits_reached_total{limit=\"waiting\"} 0\n";
    assert!(page.contains(none), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scrapes_under_way_in_all_and_at_one_client() {
    for (limits, key, says) in [
        ("scrapes: 2", "scrapes", "2 scrapes are under way (scrapes)"),
        (
            "scrapes_per_client: 2",
            "scrapes_per_client",
            "2 scrapes are under way at the client for pi (scrapes_per_client)",
        ),
    ] {
        let limited = Limited::to(limits).await;
        let client = FakeClient::register(limited.proxy.address, PI).await;
        client.accepted().await;
        let stalled = [limited.scraping(STALL), limited.scraping(STALL)];
        client.is_asked(2).await;
        limited.scrape("http://pi:9100/m").await.refusal(429, says);
        limited.counts(key, 1.0).await;
        // Whoever leaves gives its place back.
        let [one, _other] = stalled;
        one.abort();
        eventually(PATIENCE, "there is a place", async || {
            match limited.scrape("http://pi:9100/m").await.head.status {
                200 => Ok(()),
                status => Err(status.to_string()),
            }
        })
        .await;
    }
}

/// A proxy with these limits, a client of it, and a CONNECT that is open there.
async fn connected(limits: &str) -> (Limited, Client, Connection, Target) {
    let limited = Limited::to(limits).await;
    let target = Target::start(ok("m 1\n"));
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let client = Client::start(&[&limited.proxy.url()], &[&flag]).await;
    let mut open = limited.connection().await;
    open.write(CONNECT).await;
    assert_eq!(open.head_and_no_more().await.status, 200);
    (limited, client, open, target)
}

const CONNECT: &str = "CONNECT pi:9100 HTTP/1.1\r\nHost: pi:9100\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connects_at_one_client() {
    let (limited, _client, mut open, _target) = connected("connects_per_client: 1").await;
    let says = "1 CONNECTs are open at the client for pi (connects_per_client)";
    scraper::send(limited.proxy.address, CONNECT)
        .await
        .refusal(429, says);
    limited.counts("connects_per_client", 1.0).await;
    open.write("GET /metrics HTTP/1.1\r\nHost: pi\r\n\r\n")
        .await;
    let head = open.head().await;
    assert_eq!(head.status, 200, "the one that is open goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connect_that_is_idle() {
    let (limited, _client, open, _target) = connected("connect_idle_time: 300ms").await;
    assert_eq!(rest(open).await, "");
    limited.counts("connect_idle_time", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scrapes_that_wait_for_one_client_and_for_all() {
    let flag = "--scrape.startup-wait=30s";
    let limited = Limited::with("waiting: 3, waiting_per_name: 2", &[flag]).await;
    let mut waiting = Vec::new();
    for (uri, says, key) in [
        (
            "http://pi:9100/m",
            "2 scrapes wait for pi (waiting_per_name)",
            "waiting_per_name",
        ),
        (
            "http://nas:9100/m",
            "3 scrapes wait for clients (waiting)",
            "waiting",
        ),
    ] {
        while waiting.len() < if key == "waiting" { 3 } else { 2 } {
            waiting.push(limited.scraping(uri));
        }
        let address = limited.proxy.address;
        eventually(PATIENCE, "scrapes wait", async || {
            let count = Metrics::of(address).await.sum("adit_proxy_scrapes_waiting");
            match count == waiting.len() as f64 {
                true => Ok(()),
                false => Err(count.to_string()),
            }
        })
        .await;
        let answer = limited.scrape(uri).await.refusal(429, says);
        assert!(answer.took < Duration::from_secs(10), "{:?}", answer.took);
        limited.counts(key, 1.0).await;
    }
    let _client = FakeClient::register(limited.proxy.address, PI).await;
    let nas = waiting.pop().unwrap();
    for pi in waiting {
        pi.await.unwrap().expect(200);
    }
    nas.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_one_credential() {
    let limited = Limited::to("sessions_per_credential: 1").await;
    let address = limited.proxy.address;
    let client = FakeClient::register(address, PI).await;
    client.accepted().await;
    let answer = refused_upgrade(address, &upgrade_request()).await;
    let text = answer.expect(429).text();
    assert!(text.contains("(sessions_per_credential"), "{text}");
    limited.counts("sessions_per_credential", 1.0).await;
    limited.scrape("http://pi:9100/m").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_one_session() {
    let limited = Limited::to("names_per_session: 2").await;
    let address = limited.proxy.address;
    let mut client = FakeClient::register(address, r#"{"names":["a","b"]}"#).await;
    client.accepted().await;
    client.say(r#"{"names":["a","b","c"]}"#).await;
    let at_once = FakeClient::register(address, r#"{"names":["d","e","f"]}"#).await;
    let many: Vec<String> = (0..1025).map(|n| format!("\"n{n}\"")).collect();
    let many = format!("{{\"names\":[{}]}}", many.join(","));
    let many = FakeClient::register(address, many).await;
    for (client, found) in [(client, 3), (at_once, 3), (many, 1025)] {
        let End::Peer(goodbye) = client.end().await else {
            panic!("no goodbye");
        };
        assert_eq!(goodbye.farewell, Farewell::BadRegistration);
        let says = format!("the registration has {found} names, 2 are allowed (names_per_session)");
        assert_eq!(goodbye.reason, says);
    }
    limited.counts("names_per_session", 3.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_that_does_not_come() {
    let limited = Limited::to("registration_time: 300ms").await;
    let silent = FakeClient::dial(limited.proxy.address).await;
    let End::Peer(goodbye) = silent.end().await else {
        panic!("no goodbye");
    };
    assert_eq!(
        goodbye.reason,
        "no registration within 300ms (registration_time)"
    );
    limited.counts("registration_time", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_those_of_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.yml");
    fs::write(&file, "limits: {request_head: 8KiB}\n").unwrap();
    let flag = format!("--config.file={}", file.display());
    let proxy = binaries::Proxy::start(&[&flag]).await;
    fs::write(&file, "limits: {request_head: 64KiB}\n").unwrap();
    let reload = "POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    scraper::send(proxy.address, reload).await.expect(200);
    let line = proxy.program.line("limits have changed").await;
    assert!(
        line.contains("level=warn") && line.contains("restart"),
        "{line}"
    );
    let field = "x".repeat(9000);
    let request = format!("GET /-/healthy HTTP/1.1\r\nHost: x\r\nX-Large: {field}\r\n\r\n");
    let answer = scraper::send(proxy.address, request).await;
    assert_eq!(answer.head.status, 431);
}
