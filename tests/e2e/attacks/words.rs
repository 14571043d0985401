//! Words that would be more than words to whoever takes them literally: a log, a page, a terminal, a
//! browser, a Prometheus.

use std::fs;

use adit_tests::metrics::Metrics;
use adit_tests::program::{Program, debian};
use adit_tests::scraper::{self, Connection};
use adit_tests::tunnel::{FakeClient, Leave, upgrade_request};
use adit_tests::wait::{PATIENCE, eventually};
use serde_json::{Value, json};

use super::house::{House, OPS, TOKEN_7, basic};

/// Each ends a value, a line, or what a page or terminal takes for its own.
const WORDS: &[&str] = &[
    "x\r\nlevel=error msg=forged",
    "x\nts=2026-01-01T00:00:00Z level=error msg=forged",
    "x\" level=error msg=\"forged",
    "x\\\" level=error",
    "x level=error",
    "\",\"level\":\"error",
    "\"}\n{\"ts\":\"1\",\"level\":\"error\",\"msg\":\"forged\"}",
    "\u{1b}[2J\u{1b}]0;forged\u{7}",
    "\u{9b}31m\u{85}",
    "\u{202e}txet\u{2066}\u{200f}\u{2028}\u{2029}",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"} 1\nforged_total{x=\"",
    "a\0b\u{7f}\u{feff}",
    "${jndi:ldap://127.0.0.1/x} {{ .Env }} %n%s",
];

fn offers(name: &str, words: &str) -> String {
    json!({
        "names": [name],
        "version": words,
        "labels": {"site": words, words: "x", "__address__": words},
        "targets": [{
            "target": format!("{name}:9100"),
            "labels": {"job": words, "__metrics_path__": format!("/{words}"), "instance": words},
        }],
    })
    .to_string()
}

/// A field's value may not have control characters: those are left out, the rest is sent.
fn field(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).collect()
}

/// Says all of them wherever something can be said.
async fn say_all(house: &House) {
    let address = house.proxy.address;
    let seven = format!("Adit-Token: {TOKEN_7}");
    let ops = basic("Proxy-Authorization", "ops", OPS);
    for (n, words) in WORDS.iter().enumerate() {
        let name = format!("words-{n}.site-7");
        let client = FakeClient::register_with(address, &[&seven], offers(&name, words)).await;
        client.accepted().await;
        pages_hold(house, &name, words).await;
        client.leave(Leave::Goodbye).await;
        // Not as a name.
        let line = json!({"names": [words]}).to_string();
        FakeClient::register_with(address, &[&seven], line)
            .await
            .end()
            .await;
        FakeClient::register_with(address, &[&seven], words)
            .await
            .end()
            .await;
        let said = field(words);
        for request in [
            format!(
                "GET http://pi:9101/{n} HTTP/1.1\r\nHost: {said}\r\nUser-Agent: {said}\r\n{ops}\r\n"
            ),
            format!("GET http://{said}:9100/ HTTP/1.1\r\nHost: x\r\n{ops}\r\n"),
            format!("GET http://%0d%0a{n}:9100/ HTTP/1.1\r\nHost: x\r\n{ops}\r\n"),
            format!("CONNECT {said}:9100 HTTP/1.1\r\nHost: {said}\r\n{ops}\r\n"),
            format!("GET /scrape/http/{said}:9100/m HTTP/1.1\r\nHost: x\r\n{ops}\r\n"),
            format!("GET /{said} HTTP/1.1\r\nHost: x\r\nUser-Agent: {said}\r\n\r\n"),
            format!("{said} / HTTP/1.1\r\nHost: x\r\n\r\n"),
            format!(
                "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
                basic("Authorization", words, words)
            ),
            format!(
                "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
                basic("Authorization", &said, &said)
            ),
            format!("{}\r\n{seven}\r\nX: {said}\r\n\r\n", spoilt_upgrade(&said)),
        ] {
            // It may be any answer, or none.
            let _ = Connection::open(address).await.exchange(request).await;
        }
        for path in ["/poll", "/push"] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\n{seven}\r\nContent-Length: {}\r\n\r\n{words}",
                words.len()
            );
            let answer = scraper::send(address, request).await;
            assert!(
                (400..500).contains(&answer.head.status),
                "{path}: {answer:?}"
            );
        }
    }
}

fn spoilt_upgrade(instance: &str) -> String {
    let lines = upgrade_request();
    let lines = lines
        .iter()
        .map(|line| match line.starts_with("Adit-Instance") {
            true => format!("Adit-Instance: {instance}"),
            false => line.clone(),
        });
    lines.collect::<Vec<String>>().join("\r\n")
}

/// The pages while they are said.
async fn pages_hold(house: &House, name: &str, words: &str) {
    for style in ["proxy", "path"] {
        let page = house
            .asked("GET", &format!("/sd/targets?style={style}"))
            .await
            .expect(200);
        assert_eq!(
            page.head.field("content-type").as_deref(),
            Some("application/json")
        );
        let groups: Vec<Value> = serde_json::from_slice(&page.body).unwrap();
        let instance = format!("{name}:9100");
        let own = groups
            .iter()
            .find(|group| group["labels"]["instance"] == instance.as_str());
        let own = own.unwrap_or_else(|| panic!("{words:?}: {}", page.text()));
        assert_eq!(own["labels"]["site"], *words, "a value is a value");
        for (label, value) in own["labels"].as_object().unwrap() {
            let plain = label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_');
            assert!(plain && label != "__address__", "{label}: {value}");
            if label == "__metrics_path__" {
                let path = value.as_str().unwrap();
                assert!(
                    path.bytes()
                        .all(|b| b.is_ascii_graphic() && !b"<>\"\\?#%".contains(&b)),
                    "{path}"
                );
            }
        }
    }
    let clients = house.asked("GET", "/clients").await.expect(200);
    let _: Vec<Value> = serde_json::from_slice(&clients.body).unwrap();
    assert!(clients.text().is_ascii());
}

async fn promtool_accepts(page: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), page).unwrap();
    let promtool = debian("promtool", "prometheus");
    let script = format!(
        "{} check metrics < {}",
        promtool.display(),
        file.path().display()
    );
    let checked = Program::run("/bin/sh", &["-c", &script]).await;
    assert!(
        checked.status.success(),
        "{}{}\n{page}",
        checked.stdout,
        checked.stderr
    );
}

async fn only_words(format: &str) {
    let house = House::new(format).await;
    say_all(&house).await;
    let page = house.asked("GET", "/metrics").await.expect(200).text();
    assert!(
        !page.contains("forged") && !page.contains("<") && page.is_ascii(),
        "{page}"
    );
    promtool_accepts(&page).await;
    // Every line of it was written by now, and each is one.
    let metrics = Metrics::parse(&page);
    assert!(metrics.sum("adit_proxy_registrations_refused_total") >= WORDS.len() as f64);
    house.search().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_words_stay_words_in_logs_and_on_pages() {
    only_words("logfmt").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_words_stay_words_in_json() {
    only_words("json").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_megabyte_of_a_name_is_refused_and_not_held() {
    let house = House::new("logfmt").await;
    let address = house.proxy.address;
    let long = "x".repeat(1 << 20);
    let before = house.proxy.program.memory().peak;
    let ops = basic("Proxy-Authorization", "ops", OPS);
    for (what, request) in [
        (
            "absolute",
            format!("GET http://{long}:9100/ HTTP/1.1\r\nHost: x\r\n{ops}\r\n"),
        ),
        (
            "CONNECT",
            format!("CONNECT {long}:9100 HTTP/1.1\r\nHost: x\r\n{ops}\r\n"),
        ),
        (
            "path",
            format!("GET /scrape/http/{long}/m HTTP/1.1\r\nHost: x\r\n{ops}\r\n"),
        ),
        (
            "Host",
            format!("GET / HTTP/1.1\r\nHost: {long}\r\n{ops}\r\n"),
        ),
        (
            "method",
            format!("{long} / HTTP/1.1\r\nHost: x\r\n{ops}\r\n"),
        ),
        (
            "a field's name",
            format!("GET / HTTP/1.1\r\nHost: x\r\n{long}: x\r\n\r\n"),
        ),
        (
            "a user",
            format!(
                "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
                basic("Authorization", &long, "x")
            ),
        ),
        (
            "a password",
            format!(
                "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
                basic("Authorization", "x", &long)
            ),
        ),
        (
            "a token",
            format!("GET /tunnel HTTP/1.1\r\nHost: x\r\nAdit-Token: {long}\r\n\r\n"),
        ),
        (
            "a poll",
            format!(
                "POST /poll HTTP/1.1\r\nHost: x\r\nAdit-Token: {TOKEN_7}\r\nContent-Length: {}\r\n\r\n{long}",
                long.len()
            ),
        ),
    ] {
        let answer = house.answer(&request).await;
        assert!(
            matches!(answer.head.status, 400 | 401 | 413 | 414 | 431),
            "{what}: {answer:?}"
        );
        assert!(
            answer.head.raw.len() + answer.body.len() < 4096,
            "{what}: it is not said back"
        );
    }
    // Just below what a head may have, a name is still too long for one.
    let name = "x".repeat(40_000);
    for line in [
        format!("GET http://{name}:9100/"),
        format!("CONNECT {name}:9100"),
    ] {
        let answer = house
            .answer(&format!("{line} HTTP/1.1\r\nHost: x\r\n{ops}\r\n"))
            .await;
        assert!(matches!(answer.head.status, 400 | 414), "{answer:?}");
        assert!(
            answer.head.raw.len() + answer.body.len() < 4096,
            "it is not said back"
        );
    }
    let seven = format!("Adit-Token: {TOKEN_7}");
    for line in [
        json!({"names": [long]}),
        json!({"names": ["a.site-7"], "targets": [{"target": format!("{long}:1")}]}),
    ] {
        let client = FakeClient::register_with(address, &[&seven], line.to_string()).await;
        client.end().await;
    }
    // What may be said at such a length is held once, and never in a line.
    let line = json!({"names": ["a.site-7"], "version": "x".repeat(900_000)}).to_string();
    let client = FakeClient::register_with(address, &[&seven], line).await;
    client.accepted().await;
    let line = offers("b.site-7", &"y".repeat(100_000));
    let client = FakeClient::register_with(address, &[&seven], line).await;
    client.accepted().await;
    let page = house.asked("GET", "/sd/targets").await.expect(200);
    let _: Vec<Value> = serde_json::from_slice(&page.body).unwrap();
    let grown = house.proxy.program.memory().peak.saturating_sub(before);
    assert!(
        grown < 32 << 20,
        "{grown} bytes for one client after the other"
    );
    drop(client);
    eventually(PATIENCE, "the client is gone", async || {
        match house.counts().await.sum("adit_proxy_sessions") {
            2.0 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    house.search().await;
}
