//! What one address may have, when a front says whose it is.

use std::fs;

use adit_tests::metrics::Metrics;
use adit_tests::scraper::Connection;
use adit_tests::wait::{PATIENCE, eventually};
use tokio::io::AsyncWriteExt as _;

use super::{Guarded, V1, from, upgrade};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_so_many_connections_by_whichever_front() {
    let config = "trusted_proxies: [127.0.0.2]\nlimits: {connections_per_address: 2}\n";
    let guarded = Guarded::with(config, &[]).await;
    let to = guarded.proxy.address;
    let page = "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
    let behind = async |header: &[u8]| {
        let mut front = from("127.0.0.2", to).await;
        front.write_all(header).await.unwrap();
        Connection::over(front)
    };
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut connection = behind(V1).await;
        connection.exchange(page).await.expect(200);
        held.push(connection);
    }
    let says = "2 connections are open from 192.0.2.7 (connections_per_address)";
    let mut third = behind(V1).await;
    let answer = third.exchange(page).await.refusal(429, says);
    assert_eq!(answer.head.field("connection").as_deref(), Some("close"));
    // The same address, told in the request; others are not held up, nor is the front itself.
    let mut front = behind(b"").await;
    let asks = |for_whom: &str| {
        format!("GET /-/healthy HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {for_whom}\r\n\r\n")
    };
    for other in ["192.0.2.9", "192.0.2.9", "2001:db8::1", "127.0.0.1"] {
        front.exchange(asks(other)).await.expect(200);
    }
    front.exchange(page).await.expect(200);
    front.exchange(asks("192.0.2.7")).await.refusal(429, says);
    let series = "adit_proxy_limits_reached_total{limit=\"connections_per_address\"}";
    assert_eq!(Metrics::of(to).await.series(series), 2.0);
    let line = guarded
        .proxy
        .program
        .line("connections_per_address is reached")
        .await;
    assert!(
        line.contains("level=warn") && line.contains("peer=192.0.2.7"),
        "{line}"
    );
    // Whoever leaves gives their place back.
    held.pop();
    eventually(PATIENCE, "there is a place again", async || {
        match behind(V1).await.exchange(page).await.head.status {
            200 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_through_a_front_are_counted_for_as_long_as_they_live() {
    let config = "trusted_proxies: [127.0.0.2]\nlimits: {connections_per_address: 1}\n";
    let guarded = Guarded::with(config, &[]).await;
    let to = guarded.proxy.address;
    let request = upgrade(&["Adit-Token: a-token", "X-Forwarded-For: 192.0.2.7"]);
    let mut tunnel = Connection::over(from("127.0.0.2", to).await);
    tunnel.write(&request).await;
    assert_eq!(tunnel.head_and_no_more().await.status, 101);
    let mut second = Connection::over(from("127.0.0.2", to).await);
    second
        .exchange(&request)
        .await
        .refusal(429, "1 connections are open from 192.0.2.7");
    drop(tunnel);
    eventually(PATIENCE, "there is a place again", async || {
        let mut next = Connection::over(from("127.0.0.2", to).await);
        next.write(&request).await;
        match next.head().await.status {
            101 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_guess_behind_a_front_hold_up_only_themselves() {
    let config = "trusted_proxies: [127.0.0.2]\n";
    let folder = tempfile::tempdir().unwrap();
    let web = folder.path().join("web.yml");
    // The hash of `pw-of-prometheus`.
    let hash = "$2y$04$qJzForUol1eJmZqAi7OVw.fBZbmBpqynVqN1MFLNBvSMgrsoJNT9W";
    fs::write(&web, format!("basic_auth_users: {{prometheus: {hash}}}\n")).unwrap();
    let flag = format!("--web.config.file={}", web.display());
    let guarded = Guarded::with(config, &[&flag]).await;
    let ask = async |for_whom: &str, credentials: &str| {
        let mut front = Connection::over(from("127.0.0.2", guarded.proxy.address).await);
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {for_whom}\r\n\
             Authorization: Basic {credentials}\r\n\r\n"
        );
        front.exchange(request).await.head.status
    };
    // `x:` and a digit each, and then what is known to be wrong.
    let wrong = "eDow eDox eDoy eDoz eDo0 eDo1 eDo2 eDo3 eDo4 eDo5 eDo6 eDo7 eDph eDpi eDpj";
    let mut last = 0;
    for guess in wrong.split(' ') {
        last = ask("192.0.2.7", guess).await;
    }
    assert_eq!(last, 429);
    let right = "cHJvbWV0aGV1czpwdy1vZi1wcm9tZXRoZXVz";
    assert_eq!(ask("192.0.2.8", right).await, 200);
}
