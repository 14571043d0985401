//! Who is let in, and to what: a row is somebody, what they do, what they get, and what counts it.

use std::time::Duration;

use adit_common::tunnel::goodbye::{End, Farewell};
use adit_tests::scraper;
use adit_tests::tunnel::{FakeClient, upgrade_request};
use adit_tests::wait::within;

use super::house::{House, OPS, PASSED, PROMETHEUS, TOKEN_7, TOKEN_8, TYPED, basic};

/// Somebody who asks for a tunnel, with these fields: status, words, and the reason in the metric.
fn strangers() -> Vec<(&'static str, String, u16, &'static str)> {
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let field = |token: &str| format!("Adit-Token: {token}\r\n");
    let long = "x".repeat(60_000);
    vec![
        ("nothing", String::new(), 401, "missing"),
        ("a wrong token", bearer(TYPED), 401, "wrong"),
        ("a wrong token in our field", field(TYPED), 401, "wrong"),
        ("an empty token", "Adit-Token:\r\n".into(), 401, "wrong"),
        (
            "most of a token",
            bearer(&TOKEN_7[..TOKEN_7.len() - 1]),
            401,
            "wrong",
        ),
        (
            "a token and more",
            bearer(&format!("{TOKEN_7}0")),
            401,
            "wrong",
        ),
        (
            "a token in capitals",
            bearer(&TOKEN_7.to_uppercase()),
            401,
            "wrong",
        ),
        (
            "two tokens",
            format!("{}{}", bearer(TOKEN_7), bearer(TOKEN_8)),
            401,
            "wrong",
        ),
        (
            "no scheme",
            format!("Authorization: {TOKEN_7}\r\n"),
            401,
            "wrong",
        ),
        (
            "another scheme",
            format!("Authorization: Digest {TOKEN_7}\r\n"),
            401,
            "wrong",
        ),
        (
            "no Base64",
            "Authorization: Basic !!!!\r\n".into(),
            401,
            "wrong",
        ),
        (
            "no colon",
            "Authorization: Basic dXNlcg==\r\n".into(),
            401,
            "wrong",
        ),
        ("a long token", bearer(&long), 401, "wrong"),
        ("a long token in our field", field(&long), 401, "wrong"),
        (
            "for the proxy",
            basic("Proxy-Authorization", "old", OPS),
            401,
            "missing",
        ),
        (
            "a scraper",
            basic("Authorization", "prometheus", PROMETHEUS),
            401,
            "wrong",
        ),
        (
            "a wrong password",
            basic("Authorization", "old", TYPED),
            401,
            "wrong",
        ),
        (
            "the SHA-256",
            field("5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"),
            401,
            "wrong",
        ),
    ]
}

/// Somebody who scrapes, or looks at a page: request line, fields, status, reason.
fn scrapers() -> Vec<(&'static str, &'static str, String, u16, &'static str)> {
    let proxy = |user: &str, password: &str| basic("Proxy-Authorization", user, password);
    let own = |user: &str, password: &str| basic("Authorization", user, password);
    let pi = "GET http://pi:9100/metrics";
    let (path, connect) = ("GET /scrape/http/pi:9100/metrics", "CONNECT pi:9100");
    let mut rows = vec![];
    for (what, make) in [
        ("nothing", None),
        ("a wrong password", Some(("prometheus", TYPED))),
        ("another's password", Some(("prometheus", OPS))),
        ("nobody", Some(("nobody", PROMETHEUS))),
        ("a user in capitals", Some(("Prometheus", PROMETHEUS))),
        ("no password", Some(("prometheus", ""))),
        ("no user", Some(("", PROMETHEUS))),
        ("a client's token", Some(("prometheus", TOKEN_7))),
        ("a client's user", Some(("old", OPS))),
        (
            "a password and NUL",
            Some(("prometheus", "pw-of-prometheus\0")),
        ),
    ] {
        let reason = if make.is_none() { "missing" } else { "wrong" };
        let fields = |field: &str| {
            make.map(|(user, password)| basic(field, user, password))
                .unwrap_or_default()
        };
        for line in [pi, connect] {
            rows.push((what, line, fields("Proxy-Authorization"), 407, reason));
        }
        for line in [
            path,
            "GET /metrics",
            "GET /-/healthy",
            "POST /-/reload",
            "GET /nowhere",
        ] {
            rows.push((what, line, fields("Authorization"), 401, reason));
        }
    }
    let good = ("prometheus", PROMETHEUS);
    rows.extend([
        ("the other field", pi, own(good.0, good.1), 407, "missing"),
        (
            "the other field",
            connect,
            own(good.0, good.1),
            407,
            "missing",
        ),
        (
            "the other field",
            path,
            proxy(good.0, good.1),
            401,
            "missing",
        ),
        (
            "the other field",
            "GET /metrics",
            proxy(good.0, good.1),
            401,
            "missing",
        ),
        ("twice", pi, proxy(good.0, good.1).repeat(2), 407, "wrong"),
        (
            "a token",
            pi,
            format!("Proxy-Authorization: Bearer {TOKEN_7}\r\n"),
            407,
            "wrong",
        ),
        (
            "a token",
            path,
            format!("Authorization: Bearer {TOKEN_7}\r\n"),
            401,
            "wrong",
        ),
    ]);
    // Good credentials, and not for that.
    for line in [
        "GET http://guest:9100/metrics",
        "GET http://pi:9101/metrics",
        "GET http://pi/metrics",
        "CONNECT guest:9100",
        "CONNECT pi:22",
        "GET http://PI:9101/metrics",
        "GET http://pi.:22/",
        "GET https://pi/metrics",
        "GET http://x.site-8:9100/metrics",
        "GET http://site-7:9100/metrics",
        "GET http://localhost:9100/metrics",
        "GET http://127.0.0.1:9100/metrics",
    ] {
        rows.push(("no right", line, proxy(good.0, good.1), 403, "forbidden"));
    }
    for line in [
        "GET /scrape/http/guest:9100/metrics",
        "GET /scrape/https/pi:443/metrics",
        "GET /metrics",
        "GET /clients",
        "POST /-/reload",
        "PUT /-/reload",
        "GET /metrics/",
        "GET /clients?x=/sd/targets",
        "GET //metrics",
        "GET /./metrics",
        "GET /%6detrics",
        "GET /METRICS",
        "GET /-/healthy/../../metrics",
        "GET /nowhere",
    ] {
        rows.push(("no right", line, own(good.0, good.1), 403, "forbidden"));
    }
    rows
}

/// With every right, by every way to ourselves there could be: nobody has such a name, or offers it.
fn ways_to_ourselves(house: &House) -> Vec<(String, u16)> {
    let port = house.proxy.address.port();
    let web = house.client.web.port();
    let mut rows = vec![];
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "localhost.",
    ] {
        for port in [port, web] {
            rows.push((format!("GET http://{host}:{port}/metrics"), 502));
            rows.push((format!("CONNECT {host}:{port}"), 502));
        }
    }
    rows.extend([
        ("GET http://pi/metrics".into(), 403),
        ("GET http://pi:80/clients".into(), 403),
        (format!("GET http://pi:{web}/metrics"), 403),
        (format!("GET http://pi:{web}/-/ready"), 403),
        (format!("CONNECT pi:{web}"), 403),
        ("GET http://pi:9100:80/".into(), 400),
        ("GET http://client/metrics".into(), 502),
    ]);
    rows
}

/// The series that says why, and nothing else that counts a refusal.
fn only(house_says: &std::collections::BTreeMap<String, f64>, series: &str, what: &str) {
    let refusals = house_says.iter().filter(|(series, _)| {
        [
            "adit_proxy_auth_failures_total",
            "adit_proxy_limits_reached_total",
            "adit_proxy_malformed",
        ]
        .iter()
        .any(|counter| series.starts_with(counter))
    });
    let refusals: Vec<(&str, f64)> = refusals.map(|(s, by)| (s.as_str(), *by)).collect();
    assert_eq!(refusals, [(series, 1.0)], "{what}");
}

fn failures(role: &str, reason: &str) -> String {
    format!("adit_proxy_auth_failures_total{{reason=\"{reason}\",role=\"{role}\"}}")
}

async fn strangers_stay_outside(house: &House) {
    for (what, fields, status, reason) in strangers() {
        let before = house.counts().await;
        let upgrade = upgrade_request().join("\r\n");
        let answer = house.answer(&format!("{upgrade}\r\n{fields}\r\n")).await;
        assert_eq!(
            answer.head.status, status,
            "a tunnel with {what}: {answer:?}"
        );
        let grown = house.counts().await.grown_since(&before);
        only(&grown, &failures("client", reason), what);
        assert_eq!(grown["adit_proxy_tunnels_refused_total"], 1.0, "{what}");
        for path in ["/poll", "/push"] {
            let before = house.counts().await;
            let request =
                format!("POST {path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: 2\r\n\r\npi");
            let answer = house.answer(&request).await;
            assert_eq!(answer.head.status, status, "{path} with {what}: {answer:?}");
            only(
                &house.counts().await.grown_since(&before),
                &failures("client", reason),
                what,
            );
        }
    }
    // In the target of the request it is no token, and is not shown.
    let upgrade = upgrade_request()
        .join("\r\n")
        .replace("/tunnel", &format!("/tunnel?token={TYPED}"));
    assert_eq!(
        house
            .answer(&format!("{upgrade}\r\n\r\n"))
            .await
            .head
            .status,
        401
    );
}

async fn scrapers_do_what_they_may(house: &House) {
    for (what, line, fields, status, reason) in scrapers() {
        let before = house.counts().await;
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: 0\r\n\r\n");
        let answer = house.answer(&request).await;
        assert_eq!(answer.head.status, status, "{line} with {what}: {answer:?}");
        assert!(
            !answer.text().contains("adit_proxy_"),
            "{line} with {what}: {answer:?}"
        );
        let asks = ["proxy-authenticate", "www-authenticate"].map(|name| answer.head.field(name));
        assert_eq!(
            asks[0].is_some(),
            status == 407,
            "{line} with {what}: {answer:?}"
        );
        assert_eq!(
            asks[1].is_some(),
            status == 401,
            "{line} with {what}: {answer:?}"
        );
        let grown = house.counts().await.grown_since(&before);
        only(
            &grown,
            &failures("scraper", reason),
            &format!("{line} with {what}"),
        );
    }
    assert!(
        house.target.requests().is_empty(),
        "nobody got as far as the target"
    );
}

async fn nobody_reaches_our_own_pages_through_us(house: &House) {
    let ops = basic("Proxy-Authorization", "ops", OPS);
    for (line, status) in ways_to_ourselves(house) {
        let before = house.counts().await;
        let answer = house
            .answer(&format!("{line} HTTP/1.1\r\nHost: x\r\n{ops}\r\n"))
            .await;
        assert_eq!(answer.head.status, status, "{line}: {answer:?}");
        let grown = house.counts().await.grown_since(&before);
        let form = if line.starts_with("CONNECT") {
            "connect"
        } else {
            "absolute"
        };
        let counted = format!("adit_proxy_scrapes_total{{code=\"{status}\",form=\"{form}\"}}");
        // A URI that is none is refused by what reads requests.
        let malformed = grown.get("adit_proxy_malformed_requests_total");
        assert_eq!(
            grown.get(&counted).or(malformed),
            Some(&1.0),
            "{line}: {grown:?}"
        );
        if status != 400 && !line.starts_with("CONNECT") {
            let path = line.replace("GET http://", "GET /scrape/http/");
            let ops = basic("Authorization", "ops", OPS);
            let answer = house
                .answer(&format!("{path} HTTP/1.1\r\nHost: x\r\n{ops}\r\n"))
                .await;
            assert_eq!(answer.head.status, status, "{path}: {answer:?}");
        }
    }
    assert!(house.target.requests().is_empty());
}

/// Names are bound to credentials, sessions are counted, and both end when they are revoked.
async fn names_are_bound(house: &House) {
    let (seven, eight) = (
        format!("Adit-Token: {TOKEN_7}"),
        format!("Adit-Token: {TOKEN_8}"),
    );
    for (token, name) in [
        (&eight, "pi"),
        (&eight, "x.site-7"),
        (&eight, "site-8"),
        (&seven, "x.site-8"),
    ] {
        let before = house.counts().await;
        let line = format!("{{\"names\":[\"{name}\"]}}");
        let thief = FakeClient::register_with(house.proxy.address, &[token], line).await;
        let end = thief.end().await;
        let End::Peer(goodbye) = end else {
            panic!("{name}: {end:?}")
        };
        assert_eq!(goodbye.farewell, Farewell::Denied, "{name}: {goodbye:?}");
        let grown = house.counts().await.grown_since(&before);
        only(&grown, &failures("client", "forbidden"), name);
    }
    let poll = format!(
        "POST /poll HTTP/1.1\r\nHost: x\r\n{}Content-Length: 2\r\n\r\npi",
        basic("Authorization", "old", OPS)
    );
    let before = house.counts().await;
    assert_eq!(house.answer(&poll).await.head.status, 403);
    only(
        &house.counts().await.grown_since(&before),
        &failures("client", "forbidden"),
        "a poll",
    );

    let line = r#"{"names":["a.site-8"]}"#;
    let live = FakeClient::register_with(house.proxy.address, &[&eight], line).await;
    live.accepted().await;
    let before = house.counts().await;
    let upgrade = upgrade_request().join("\r\n");
    let second = house.answer(&format!("{upgrade}\r\n{eight}\r\n\r\n")).await;
    assert_eq!(second.head.status, 429, "{second:?}");
    let grown = house.counts().await.grown_since(&before);
    assert_eq!(grown[&failures("client", "sessions")], 1.0);

    let before = house.counts().await;
    house.revoke_site_8().await;
    let end = within(
        Duration::from_secs(1),
        "the end of what is revoked",
        live.end(),
    )
    .await;
    let End::Peer(goodbye) = end else {
        panic!("{end:?}")
    };
    assert_eq!(goodbye.farewell, Farewell::Denied);
    let grown = house.counts().await.grown_since(&before);
    only(&grown, &failures("client", "forbidden"), "revoked");
    let again = house.answer(&format!("{upgrade}\r\n{eight}\r\n\r\n")).await;
    assert_eq!(again.head.status, 401);
}

/// Everything above, and at the end nothing of a secret anywhere, in either form of the log.
async fn siege(format: &str) {
    let house = House::new(format).await;
    strangers_stay_outside(&house).await;
    scrapers_do_what_they_may(&house).await;
    nobody_reaches_our_own_pages_through_us(&house).await;
    names_are_bound(&house).await;
    // And those who may are served, the one with what the client adds, the other with their own.
    let passed = format!("Authorization: Bearer {PASSED}");
    for (user, password, uri) in [
        ("prometheus", PROMETHEUS, "http://pi:9100/metrics"),
        ("ops", OPS, "http://guest:9100/metrics"),
    ] {
        let ours = basic("Proxy-Authorization", user, password);
        let fields = [ours.trim_end(), passed.as_str()];
        let answer = scraper::scrape_with(house.proxy.address, uri, &fields).await;
        assert_eq!(answer.expect(200).text(), "good 1\n");
    }
    let shown: Vec<Option<String>> = house
        .target
        .requests()
        .iter()
        .map(|request| request.field("authorization"))
        .collect();
    assert_ne!(
        shown[0], shown[1],
        "the client's own took the place of the scraper's"
    );
    assert_eq!(
        shown[1].as_deref(),
        Some(format!("Bearer {PASSED}").as_str())
    );
    house.search().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_not_is_refused_and_counted_once_and_no_secret_is_shown() {
    siege("logfmt").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_in_json() {
    siege("json").await;
}
