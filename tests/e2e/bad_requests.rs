//! What scrapers must not send: a clear 4xx, and the next scrape goes on as if nothing had been.

use std::time::Duration;

use adit_tests::pair::Pair;
use adit_tests::scraper::{self, Connection};
use adit_tests::target::Target;
use adit_tests::target::answers::ok;

async fn pair() -> (Pair, Target) {
    let target = Target::start(ok("good 1\n"));
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    (pair, target)
}

async fn still_good(pair: &Pair) {
    let answer = pair.scrape("http://pi:9100/metrics").await.expect(200);
    assert_eq!(answer.text(), "good 1\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_target_that_is_none_is_a_bad_request() {
    let (pair, target) = pair().await;
    for line in [
        "GET http:///metrics",
        "GET http://:9100/metrics",
        "GET http://pi:9100:9100/metrics",
        "GET http://pi:99999/metrics",
        "GET http://pi:0/metrics",
        "GET http://pi:port/metrics",
        "GET http://[::1/metrics",
        "GET http://[nas]:9100/metrics",
        "GET http://fd00::1:9100/metrics",
        "GET http://a..b:9100/metrics",
        "GET http://p%69:9100/metrics",
        "GET http://pi:9100/a b",
        "GET http://pi:9100/\u{7f}",
        "GET ftp://pi:9100/metrics",
        "GET gopher://pi/",
        "GET pi:9100",
        "GET http://user@pi:9100/metrics",
        "GET http://user:s3cret@pi:9100/metrics",
        "CONNECT pi",
        "CONNECT pi:0",
        "CONNECT pi:",
        "CONNECT :9100",
        "CONNECT user@pi:9100",
        "CONNECT http://pi:9100/",
        "CONNECT /",
        "GET /scrape/gopher/pi:9100/metrics",
        "GET /scrape/http/pi:x/metrics",
        "GET /scrape/http//metrics",
        "GET /scrape/http",
        "GET /scrape/http/user:s3cret@pi:9100/metrics",
        "GET /scrape/http/pi%2f9100/metrics",
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: pi:9100\r\n\r\n");
        let answer = scraper::send(pair.proxy.address, request).await;
        let status = answer.head.status;
        assert!(matches!(status, 400 | 404), "{line:?}: {answer:?}");
        assert!(!answer.is_cut(), "{line:?}: {answer:?}");
        assert!(!answer.head.raw.contains("s3cret"), "{}", answer.head.raw);
        assert!(!answer.text().contains("s3cret"), "{}", answer.text());
    }
    still_good(&pair).await;
    assert_eq!(target.requests().len(), 1, "only the good one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_information_says_what_is_wrong_with_it() {
    let (pair, _target) = pair().await;
    let uri = "http://user:s3cret@pi:9100/metrics";
    let request = format!("GET {uri} HTTP/1.1\r\nHost: pi:9100\r\n\r\n");
    scraper::send(pair.proxy.address, request)
        .await
        .refusal(400, "user information");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_are_a_bad_request() {
    let (pair, target) = pair().await;
    for request in [
        "GET http://pi:9100/metrics HTTP/1.1\r\nHost: pi:9100\r\nHost: nas:9100\r\n\r\n",
        "GET http://pi:9100/metrics HTTP/1.1\r\nHost: pi:9100\r\nHost: pi:9100\r\n\r\n",
        "CONNECT pi:9100 HTTP/1.1\r\nHost: pi:9100\r\nHost: nas:9100\r\n\r\n",
        "GET /scrape/http/pi:9100/metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        scraper::send(pair.proxy.address, request)
            .await
            .refusal(400, "Host");
    }
    assert_eq!(target.requests().len(), 0);
    still_good(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large_is_told_so() {
    let (pair, target) = pair().await;
    let many: String = (0..300).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let large = format!("X-Large: {}\r\n", "x".repeat(1 << 20));
    let small: String = (0..90).map(|n| format!("X-{n}: {n}\r\n")).collect();
    for (what, fields) in [("300 fields", many), ("a megabyte", large)] {
        let request =
            format!("GET http://pi:9100/metrics HTTP/1.1\r\nHost: pi:9100\r\n{fields}\r\n");
        let answer = scraper::send(pair.proxy.address, request).await;
        assert_eq!(answer.head.status, 431, "{what}: {answer:?}");
        still_good(&pair).await;
    }
    let long = format!(
        "GET http://pi:9100/{} HTTP/1.1\r\nHost: pi:9100\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let answer = scraper::send(pair.proxy.address, long).await;
    assert!(matches!(answer.head.status, 414 | 431), "{answer:?}");
    let fine = format!("GET http://pi:9100/metrics HTTP/1.1\r\nHost: pi:9100\r\n{small}\r\n");
    scraper::send(pair.proxy.address, fine).await.expect(200);
    still_good(&pair).await;
    assert_eq!(target.requests().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_framed_twice_is_a_bad_request() {
    let (pair, _target) = pair().await;
    for framing in [
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
    ] {
        let request =
            format!("POST http://pi:9100/x HTTP/1.1\r\nHost: pi:9100\r\n{framing}\r\nabcd");
        let answer = scraper::send(pair.proxy.address, request).await;
        assert_eq!(answer.head.status, 400, "{framing:?}: {answer:?}");
    }
    still_good(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_and_silence_cost_only_their_own_connection() {
    let (pair, target) = pair().await;
    let mut silent = Connection::open(pair.proxy.address).await;
    let mut half = Connection::open(pair.proxy.address).await;
    half.write("GET http://pi:9100/metrics HTTP/1.1\r\nHo")
        .await;
    for noise in [
        &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"hello\r\n\r\n",
    ] {
        let answer = scraper::send(pair.proxy.address, noise).await;
        assert!(matches!(answer.head.status, 0 | 400 | 505), "{answer:?}");
    }
    still_good(&pair).await;
    // Both may take their time, and not for ever.
    for connection in [&mut silent, &mut half] {
        let mut rest = Vec::new();
        let (stream, _) =
            std::mem::replace(connection, Connection::open(pair.proxy.address).await).into_parts();
        let mut stream = stream;
        let reading = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
        let ended = tokio::time::timeout(Duration::from_secs(20), reading).await;
        assert!(ended.is_ok(), "still open");
    }
    assert_eq!(target.requests().len(), 1);
}
