//! What clients must not send: the upgrade is refused, or the session closed with a reason, which
//! the proxy logs once. Other clients do not notice.

use adit_common::tunnel::goodbye::{End, Farewell};
use adit_tests::binaries::{Client, Proxy};
use adit_tests::scraper;
use adit_tests::target::Target;
use adit_tests::target::answers::ok;
use adit_tests::tunnel::{FakeClient, refused_upgrade, upgrade_request};
use adit_tests::wait::{PATIENCE, eventually};

/// A real proxy and a good client of it.
struct Ground {
    proxy: Proxy,
    _client: Client,
    target: Target,
}

impl Ground {
    async fn new() -> Self {
        let target = Target::start(ok("good 1\n"));
        let proxy = Proxy::start(&[]).await;
        let flag = format!("--target=pi:9100=http://{}", target.address());
        let client = Client::start(&proxy.url(), &[&flag]).await;
        Self {
            proxy,
            _client: client,
            target,
        }
    }

    async fn still_good(&self) {
        let before = self.target.requests().len();
        scraper::scrape(self.proxy.address, "http://pi:9100/metrics")
            .await
            .expect(200);
        assert_eq!(self.target.requests().len(), before + 1);
        let metrics = scraper::page(self.proxy.address, "/metrics").await.text();
        let here = "\nadit_proxy_names{state=\"here\"} 1\n";
        assert!(metrics.contains(here), "{metrics}");
    }
}

fn spoilt(field: &str, replacement: Option<&str>) -> Vec<String> {
    let mut lines = upgrade_request();
    let at = lines
        .iter()
        .position(|line| line.starts_with(field))
        .expect("a line to spoil");
    match replacement {
        Some(replacement) => lines[at] = replacement.to_owned(),
        None => drop(lines.remove(at)),
    }
    lines
}

/// The line to spoil, what stands there instead, the answer's status, and what it must say.
const BAD_UPGRADES: [(&str, Option<&str>, u16, &str); 13] = [
    (
        "Sec-WebSocket-Version",
        Some("Sec-WebSocket-Version: 8"),
        426,
        "13",
    ),
    ("Sec-WebSocket-Version", None, 426, "13"),
    ("Upgrade", None, 426, "Upgrade"),
    ("Connection", Some("Connection: close"), 426, "Upgrade"),
    (
        "Sec-WebSocket-Protocol",
        Some("Sec-WebSocket-Protocol: adit.h2.v9"),
        400,
        "adit.h2.v1",
    ),
    ("Sec-WebSocket-Protocol", None, 400, "adit.h2.v1"),
    (
        "Sec-WebSocket-Key",
        Some("Sec-WebSocket-Key: short"),
        400,
        "Sec-WebSocket-Key",
    ),
    ("Sec-WebSocket-Key", None, 400, "Sec-WebSocket-Key"),
    (
        "Adit-Instance",
        Some("Adit-Instance: me"),
        400,
        "Adit-Instance",
    ),
    ("Adit-Instance", None, 400, "Adit-Instance"),
    ("GET", Some("POST /tunnel HTTP/1.1"), 405, "GET"),
    ("GET", Some("GET /tunnel/ HTTP/1.1"), 404, ""),
    ("GET", Some("GET /elsewhere HTTP/1.1"), 404, ""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_cannot_work_is_told_what_would() {
    let ground = Ground::new().await;
    for (line, instead, status, says) in BAD_UPGRADES {
        let request = spoilt(line, instead);
        let answer = refused_upgrade(ground.proxy.address, &request)
            .await
            .expect(status);
        let text = answer.text();
        assert!(text.contains(says), "{line}, {instead:?}: {text}");
        let hint = |name| {
            answer
                .head
                .field(name)
                .is_some_and(|value| value.contains(says))
        };
        let hints = match (status, line) {
            (426, "Sec-WebSocket-Version") => hint("sec-websocket-version"),
            (426, _) => answer.head.field("upgrade").as_deref() == Some("websocket"),
            (405, _) => hint("allow"),
            _ => true,
        };
        assert!(hints, "{line}, {instead:?}: {}", answer.head.raw);
    }
    ground.still_good().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_that_is_none_ends_the_session_with_its_reason() {
    let ground = Ground::new().await;
    let deep = format!("{{\"names\":[\"a\"],\"x\":{}", "[".repeat(100_000));
    let many: Vec<String> = (0..1025).map(|n| format!("\"n{n}\"")).collect();
    let many = format!("{{\"names\":[{}]}}", many.join(","));
    for (line, says) in [
        ("this is no JSON", "expected"),
        ("", "EOF"),
        ("{\"names\":\"pi\"}", "string"),
        ("{\"names\":[]}", "no name"),
        (
            "{\"names\":[\"evil\\u001b[2Jname\"]}",
            "must not stand in a name",
        ),
        (
            "{\"names\":[\"evil\\nlevel=error\"]}",
            "must not stand in a name",
        ),
        (
            "{\"names\":[\"evil\\u202ename\"]}",
            "must not stand in a name",
        ),
        (
            "{\"names\":[\"a\"],\"targets\":[{\"target\":\"no-port\"}]}",
            "HOST:PORT",
        ),
        (&deep, "not understood"),
        (&many, "1025 names"),
    ] {
        let client = FakeClient::register(ground.proxy.address, line).await;
        let shown = &line[..line.len().min(40)];
        match client.end().await {
            End::Peer(goodbye) => {
                assert_eq!(
                    goodbye.farewell,
                    Farewell::BadRegistration,
                    "{shown}: {goodbye:?}"
                );
                assert!(goodbye.reason.contains(says), "{shown}: {goodbye:?}");
            }
            end => panic!("{shown}: no goodbye: {end:?}"),
        }
    }
    ground.still_good().await;
    let log = ground.proxy.program.log();
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!log.contains(control), "{log:?}");
    assert!(
        log.lines().all(|line| line.starts_with("ts=")),
        "a line was forged: {log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_registration_is_logged_once() {
    let ground = Ground::new().await;
    let client = FakeClient::register(ground.proxy.address, "{\"names\":[\"odd one\"]}").await;
    client.end().await;
    let lines = ground
        .proxy
        .program
        .lines("must not stand in a name", 1)
        .await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("level="), "{lines:?}");
    ground.still_good().await;
    // Nothing follows it later either.
    assert_eq!(
        ground
            .proxy
            .program
            .lines("must not stand in a name", 1)
            .await
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_of_ten_megabytes_is_not_held() {
    let ground = Ground::new().await;
    let before = ground.proxy.program.memory().peak;
    for line_ends in [true, false] {
        let mut client = FakeClient::dial(ground.proxy.address).await;
        let long = format!("{{\"names\":[\"{}\"]}}", "x".repeat(10 << 20));
        match line_ends {
            true => client.say(long).await,
            false => client.say_without_end(long).await,
        }
        match client.end().await {
            End::Peer(goodbye) => {
                assert_eq!(goodbye.farewell, Farewell::BadRegistration);
                assert!(goodbye.reason.contains("longer than"), "{goodbye:?}");
            }
            end => panic!("no goodbye: {end:?}"),
        }
    }
    let lines = ground.proxy.program.lines("longer than", 2).await;
    assert_eq!(lines.len(), 2, "one for each: {lines:?}");
    let grown = ground.proxy.program.memory().peak.saturating_sub(before);
    assert!(grown < 10 << 20, "{grown}");
    ground.still_good().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_registers_is_closed_with_a_reason() {
    let ground = Ground::new().await;
    let silent = FakeClient::dial(ground.proxy.address).await;
    match silent.end().await {
        End::Peer(goodbye) => assert!(goodbye.reason.contains("no registration"), "{goodbye:?}"),
        end => panic!("no goodbye: {end:?}"),
    }
    ground.still_good().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_can_change_and_end() {
    let ground = Ground::new().await;
    let address = ground.proxy.address;
    let mut client = FakeClient::register(address, r#"{"names":["one","two"]}"#).await;
    client.accepted().await;
    let served = async |name: &str| scraper::scrape(address, &format!("http://{name}:1/x")).await;
    assert_eq!(served("one").await.expect(200).text(), "fake 1\n");
    client
        .say(r#"{"names":["TWO.","three"],"colour":{"of":["a","newer","client"]}}"#)
        .await;
    eventually(PATIENCE, "the new name is known", async || {
        let answer = served("three").await;
        if answer.head.status == 200 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await;
    served("two").await.expect(200);
    let gone = served("one").await.head.status;
    assert!(matches!(gone, 502 | 503), "{gone}");
    client.end_registration();
    client.end().await;
    eventually(PATIENCE, "the names are gone", async || {
        let status = served("two").await.head.status;
        if matches!(status, 502 | 503) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    ground.still_good().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_no_registration_ends_the_session() {
    let ground = Ground::new().await;
    let mut client = FakeClient::register(ground.proxy.address, r#"{"names":["one"]}"#).await;
    client.accepted().await;
    client.say("nonsense").await;
    match client.end().await {
        End::Peer(goodbye) => assert_eq!(goodbye.farewell, Farewell::BadRegistration),
        end => panic!("no goodbye: {end:?}"),
    }
    ground.still_good().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_after_the_upgrade_ends_only_its_own_tunnel() {
    let ground = Ground::new().await;
    // A text message; an unmasked one; a frame longer than any of ours; bytes that are no frame.
    for noise in [
        &b"\x81\x85\0\0\0\0hello"[..],
        b"\x82\x05hello",
        b"\x82\xff\0\0\0\x01\0\0\0\0\0\0\0\0",
        b"\xff\xff\xff\xff\xff\xff",
        b"\x82\x85\0\0\0\0hello",
    ] {
        let mut connection = scraper::Connection::open(ground.proxy.address).await;
        connection
            .write(upgrade_request().join("\r\n") + "\r\n\r\n")
            .await;
        assert_eq!(connection.head().await.status, 101);
        connection.write(noise).await;
        let (mut stream, _) = connection.into_parts();
        let mut rest = Vec::new();
        let reading = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
        let _ = adit_tests::wait::within(PATIENCE, "the tunnel ends", reading).await;
    }
    ground.still_good().await;
}
