//! Limits of a connection, before anybody knows whose it is.

use std::fs;

use adit_tests::pair::Proxy;
use adit_tests::scraper::{self, Connection};
use adit_tests::tls::Authority;
use adit_tests::tunnel::{FakeClient, upgrade_request};
use adit_tests::wait::{PATIENCE, eventually, within};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::{Limited, PI, counts, rest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_come() {
    let limited = Limited::to("head_time: 400ms").await;
    let mut slow = limited.connection().await;
    let silent = limited.connection().await;
    slow.write("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        .await;
    let text = rest(slow).await;
    let says = "the request's head took longer than 400ms (head_time)";
    assert!(
        text.starts_with(&format!("HTTP/1.1 408 {says}\r\n")),
        "{text}"
    );
    assert!(text.ends_with(&format!("\r\n\r\n{says}\n")), "{text}");
    // Whoever has asked nothing would take it for the answer to what they ask next.
    assert_eq!(rest(silent).await, "");
    limited.counts("head_time", 2.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_come_behind_another() {
    let limited = Limited::to("head_time: 400ms").await;
    let mut connection = limited.connection().await;
    let fine = "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
    connection.exchange(fine).await.expect(200);
    connection.write("GET /metr").await;
    let text = rest(connection).await;
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    limited.counts("head_time", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_rests() {
    let limited = Limited::to("idle_time: 300ms").await;
    let mut connection = limited.connection().await;
    let fine = "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
    connection.exchange(fine).await.expect(200);
    assert_eq!(rest(connection).await, "");
    limited.counts("idle_time", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large() {
    let limited = Limited::to("request_head: 8KiB").await;
    let with = |fields: &str| format!("GET /-/healthy HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let large = with(&format!("X-Large: {}\r\n", "x".repeat(8200)));
    let endless = format!("GET /-/healthy HTTP/1.1\r\nX-Large: {}", "x".repeat(20_000));
    let many = with(
        &(0..120)
            .map(|n| format!("X-{n}: 1\r\n"))
            .collect::<String>(),
    );
    let says = "the request's head is larger than 8KiB (request_head), or has more than 100 fields";
    for (n, request) in [large, endless, many].into_iter().enumerate() {
        let mut connection = limited.connection().await;
        // Also behind a request that was fine.
        if n % 2 == 0 {
            connection.exchange(with("")).await.expect(200);
        }
        connection.exchange(request).await.refusal(431, says);
        assert_eq!(rest(connection).await, "");
        limited.counts("request_head", (n + 1) as f64).await;
    }
    let most = with(&format!("X-Large: {}\r\n", "x".repeat(8000)));
    scraper::send(limited.proxy.address, most).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_too_long() {
    let proxy = Proxy::start(&[]).await;
    let path = "x".repeat(66_000);
    let request = format!("GET http://pi:9100/{path} HTTP/1.1\r\nHost: pi:9100\r\n\r\n");
    let says = "the request target is longer than 65534 bytes";
    scraper::send(proxy.address, request)
        .await
        .refusal(414, says);
    counts(proxy.address, "request_head", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_read() {
    let limited = Limited::to("page_time: 1s").await;
    let mut connection = limited.connection().await;
    // More pages than any socket holds.
    let page = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    connection.write(page.repeat(4000)).await;
    eventually(
        PATIENCE,
        "the connection is given up",
        async || match limited.reached("page_time").await {
            1.0 => Ok(()),
            count => Err(count.to_string()),
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_in_all() {
    let limited = Limited::to("connections: 2").await;
    let fine = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut one = limited.connection().await;
    one.exchange(fine).await.expect(200);
    let mut two = limited.connection().await;
    two.exchange(fine).await.expect(200);
    // The kernel takes it in, and it waits there.
    let address = limited.proxy.address;
    let third = tokio::spawn(scraper::send(address, fine));
    eventually(PATIENCE, "it is counted that all are taken", async || {
        let text = one.exchange(fine).await.expect(200).text();
        let full = "\nadit_proxy_limits_reached_total{limit=\"connections\"} 1\n";
        let both = "\nadit_proxy_connections 2\n";
        match text.contains(full) && text.contains(both) {
            true => Ok(()),
            false => Err(text),
        }
    })
    .await;
    assert!(!third.is_finished());
    drop(two);
    third.await.unwrap().expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large() {
    let limited = Limited::to("tunnel_message: 128KiB").await;
    let other = FakeClient::register(limited.proxy.address, PI).await;
    other.accepted().await;
    let mut connection = limited.connection().await;
    connection
        .write(upgrade_request().join("\r\n") + "\r\n\r\n")
        .await;
    assert_eq!(connection.head_and_no_more().await.status, 101);
    // The head of a masked binary frame of 256 KiB.
    connection
        .write(b"\x82\xff\0\0\0\0\0\x04\0\0\0\0\0\0")
        .await;
    let (mut stream, mut said) = connection.into_parts();
    let reading = stream.read_to_end(&mut said);
    let _ = within(PATIENCE, "the tunnel ends", reading).await;
    // A Close frame with 1009.
    let close = b"\x03\xf1a message over 131072 bytes (tunnel_message)";
    let at_end = said.len() - close.len();
    assert_eq!(&said[at_end..], close, "{said:?}");
    assert_eq!(said[at_end - 2..at_end], [0x88, close.len() as u8]);
    eventually(PATIENCE, "it is counted", async || {
        match limited.reached("tunnel_message").await {
            1.0 => Ok(()),
            count => Err(count.to_string()),
        }
    })
    .await;
    limited.scrape("http://pi:9100/m").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_come() {
    let authority = Authority::new();
    authority.issue("proxy", &["localhost"]);
    let web = authority.folder().join("web.yml");
    let tls = "tls_server_config: {cert_file: proxy.pem, key_file: proxy-key.pem}\n";
    fs::write(&web, tls).unwrap();
    let flag = format!("--web.config.file={}", web.display());
    // Enough for the good ones below, on a busy machine.
    let limited = Limited::with("handshake_time: 2s", &[&flag]).await;
    let mut half = limited.connection().await;
    half.write(b"\x16\x03\x01\x02\0\x01").await;
    let silent = limited.connection().await;
    // Nobody could read what would be said in clear.
    assert_eq!(rest(half).await, "");
    assert_eq!(rest(silent).await, "");
    // A close is seen before it is counted.
    let counted = "\nadit_proxy_limits_reached_total{limit=\"handshake_time\"} 2\n";
    eventually(PATIENCE, "both are counted", async || {
        let stream = TcpStream::connect(limited.proxy.address).await.unwrap();
        let mut secured = Connection::over(authority.connect("localhost", stream).await);
        let page = secured.exchange(scraper::page_request("/metrics")).await;
        match page.expect(200).text() {
            text if text.contains(counted) => Ok(()),
            text => Err(text),
        }
    })
    .await;
}
