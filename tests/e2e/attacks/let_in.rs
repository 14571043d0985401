//! Who is let in, and to what: a row is somebody, what they do, what they get, and what counts it.

mod rows;

use std::collections::BTreeMap;
use std::time::Duration;

use adit_common::tunnel::goodbye::{End, Farewell};
use adit_tests::scraper;
use adit_tests::tunnel::{FakeClient, upgrade_request};
use adit_tests::wait::within;

use rows::{scrapers, strangers, ways_to_ourselves};

use super::house::{House, OPS, PASSED, PROMETHEUS, TOKEN_7, TOKEN_8, TYPED, basic};

/// The series that says why, and nothing else that counts a refusal.
fn only(house_says: &BTreeMap<String, f64>, series: &str, what: &str) {
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
        if status == 400 {
            // Refused by what reads requests, and counted there.
            continue;
        }
        let grown = house.counts().await.grown_since(&before);
        let is_connect = line.starts_with("CONNECT");
        let form = if is_connect { "connect" } else { "absolute" };
        let counted = format!("adit_proxy_scrapes_total{{code=\"{status}\",form=\"{form}\"}}");
        assert_eq!(grown.get(&counted), Some(&1.0), "{line}: {grown:?}");
        if !is_connect {
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
