//! Requests that two readers may take for different ones: a front proxy that shares its connection to
//! us between people must never get an answer to something it did not ask.

use std::net::SocketAddr;

use adit_tests::metrics::Metrics;
use adit_tests::pair::Pair;
use adit_tests::scraper;
use adit_tests::target::answers::ok;
use adit_tests::target::{Request, Target};

/// Hidden in another; must never be answered, nor reach a target.
const HIDDEN: &str = "GET http://pi:9100/hidden HTTP/1.1\r\nHost: pi:9100\r\n\r\n";
/// Behind all, to see whether anybody is still listening.
const LAST: &str = "GET http://pi:9100/last HTTP/1.1\r\nHost: pi:9100\r\nConnection: close\r\n\r\n";
/// In front of a row that begins with a field.
const OUTER: &str = "POST http://pi:9100/api/v1/query HTTP/1.1\r\nHost: pi:9100\r\n\
                     X-Prometheus-Scrape-Timeout-Seconds: 10\r\n";

/// No head we understand. One answer, 400 if not said otherwise; nothing behind it is read.
const REFUSED: &[(&str, &str)] = &[
    (
        "two lengths",
        "Content-Length: 0\r\nContent-Length: 60\r\n\r\nHIDDEN",
    ),
    ("a list of one length", "Content-Length: 5, 5\r\n\r\nabcde"),
    ("a list of lengths", "Content-Length: 0, 60\r\n\r\nHIDDEN"),
    ("a length with a sign", "Content-Length: +0\r\n\r\nHIDDEN"),
    ("a length below zero", "Content-Length: -1\r\n\r\nHIDDEN"),
    (
        "a length in hexadecimal",
        "Content-Length: 0x0\r\n\r\nHIDDEN",
    ),
    ("a length in two words", "Content-Length: 0 0\r\n\r\nHIDDEN"),
    ("an empty length", "Content-Length: \r\n\r\nHIDDEN"),
    (
        "a length of 2^64",
        "Content-Length: 18446744073709551616\r\n\r\nHIDDEN",
    ),
    (
        "a folded field",
        "X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    ("a folded length", "Content-Length:\r\n 5\r\n\r\nabcde"),
    ("a fold with a tab", "X: a\r\n\tb\r\n\r\n"),
    (
        "xchunked",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "chunked, identity",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "identity, chunked",
        "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "gzip, chunked",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "chunked, chunked",
        "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "chunked and identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "identity and chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "a vertical tab and chunked",
        "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "chunked in quotes",
        "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "identity",
        "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\nHIDDEN",
    ),
    (
        "an empty coding",
        "Transfer-Encoding: \r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "chunked with a parameter",
        "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "chunked and a space above ASCII",
        "Transfer-Encoding: chunked\u{a0}\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "a space before the colon",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "a tab before the colon",
        "Content-Length\t: 60\r\n\r\nHIDDEN",
    ),
    ("no colon", "Transfer-Encoding\r\n\r\nHIDDEN"),
    (
        "a space before the name",
        " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    ("NUL in a value", "X: a\0b\r\n\r\n"),
    ("NUL in a name", "X\0: a\r\n\r\n"),
    (
        "a bare CR",
        "X: a\rTransfer-Encoding: chunked\r\n\r\nHIDDEN",
    ),
    (
        "a Host that is none",
        "GET http://pi:9100/a HTTP/1.1\r\nHost: a b\x01\r\n\r\n",
    ),
    (
        "two Hosts",
        "GET http://pi:9100/a HTTP/1.1\r\nHost: pi:9100\r\nHost: nas:9100\r\n\r\nHIDDEN",
    ),
    ("no Host", "GET http://pi:9100/a HTTP/1.1\r\n\r\nHIDDEN"),
    ("HTTP/0.9", "GET http://pi:9100/a\r\n"),
    (
        "chunks in HTTP/1.0",
        "POST http://pi:9100/a HTTP/1.0\r\nHost: pi\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nHIDDEN",
    ),
    (
        "HTTP/1.2",
        "GET http://pi:9100/a HTTP/1.2\r\nHost: pi\r\n\r\n",
    ),
    (
        "HTTP/2.0",
        "GET http://pi:9100/a HTTP/2.0\r\nHost: pi\r\n\r\n",
    ),
    (
        "a small http/1.1",
        "GET http://pi:9100/a http/1.1\r\nHost: pi\r\n\r\n",
    ),
    (
        "two spaces",
        "GET  http://pi:9100/a HTTP/1.1\r\nHost: pi\r\n\r\n",
    ),
    (
        "tabs for spaces",
        "GET\thttp://pi:9100/a\tHTTP/1.1\r\nHost: pi\r\n\r\n",
    ),
    (
        "a space in the target",
        "GET http://pi:9100/a x HTTP/1.1\r\nHost: pi\r\n\r\n",
    ),
    (
        "lines that end in CR",
        "GET http://pi:9100/a HTTP/1.1\rHost: pi:9100\r\r",
    ),
    (
        "NUL in the target",
        "GET http://pi:9100/a\0b HTTP/1.1\r\nHost: pi\r\n\r\n",
    ),
    (
        "a ClientHello",
        "\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03aaaaaaaaaaaaaaaa\r\n\r\n",
    ),
];

/// A head we understand and a body we do not: the target hears nothing of either.
const BAD_CHUNKS: &[(&str, &str)] = &[
    ("0x", "0x3\r\nabc\r\n0\r\n\r\nHIDDEN"),
    ("a plus", "+3\r\nabc\r\n0\r\n\r\nHIDDEN"),
    ("a minus", "-3\r\nabc\r\n0\r\n\r\nHIDDEN"),
    (
        "over 64 bits",
        "ffffffffffffffff1\r\nabc\r\n0\r\n\r\nHIDDEN",
    ),
    ("LF in an extension", "3;\nabc\r\n0\r\n\r\nHIDDEN"),
    ("an endless extension", "3;LONG\r\nabc\r\n0\r\n\r\nHIDDEN"),
    ("LF behind the size", "3\nabc\r\n0\r\n\r\nHIDDEN"),
    ("more data than said", "3\r\nabcd\r\n0\r\n\r\nHIDDEN"),
    ("LF behind the data", "3\r\nabc\n0\r\n\r\nHIDDEN"),
    ("a space before the size", " 3\r\nabc\r\n0\r\n\r\nHIDDEN"),
    ("no size", "\r\nabc\r\n0\r\n\r\nHIDDEN"),
    ("NUL in a trailer", "3\r\nabc\r\n0\r\nX\0: 60\r\n\r\nHIDDEN"),
    ("LF behind the last", "3\r\nabc\r\n0\n\nHIDDEN"),
];

/// What can be read in one way only: it is, and what passes on is written anew.
const TAKEN: &[(&str, &str)] = &[
    (
        "one length twice",
        "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    ),
    ("CHUNKED", "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n"),
    (
        "a chunk with an extension",
        "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
    ),
    (
        "a space behind a size",
        "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
    ),
    (
        "trailers that frame",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 60\r\n\r\n",
    ),
    (
        "names with underscores",
        "Transfer_Encoding: chunked\r\nContent_Length: 5\r\n\r\n",
    ),
    (
        "a length called hop-by-hop",
        "Connection: Content-Length\r\nContent-Length: 3\r\n\r\nabc",
    ),
    (
        "chunks called hop-by-hop",
        "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ),
    (
        "Expect",
        "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    ),
    (
        "Upgrade to h2c",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\
         Content-Length: 0\r\n\r\n",
    ),
    (
        "Upgrade to a WebSocket",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "LF behind a field",
        "X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "only LF",
        "GET http://pi:9100/a HTTP/1.1\nHost: pi:9100\n\n",
    ),
    (
        "empty lines first",
        "\r\n\r\nGET http://pi:9100/a HTTP/1.1\r\nHost: pi:9100\r\n\r\n",
    ),
    (
        "GET with a body",
        "GET http://pi:9100/a HTTP/1.1\r\nHost: pi:9100\r\nContent-Length: 3\r\n\r\nabc",
    ),
    // RFC 9112 §3.2.2: the request target counts.
    (
        "another Host",
        "GET http://pi:9100/a HTTP/1.1\r\nHost: nas:9100\r\n\r\n",
    ),
    (
        "an empty Host",
        "GET http://pi:9100/a HTTP/1.1\r\nHost: \r\n\r\n",
    ),
    (
        "a fragment",
        "GET http://pi:9100/a#@nas:9100/ HTTP/1.1\r\nHost: pi:9100\r\n\r\n",
    ),
];

/// A proxy, and a target that says what it was asked.
struct Ground {
    pair: Pair,
    target: Target,
    seen: usize,
    malformed: f64,
}

/// What became of a row.
struct Outcome {
    statuses: Vec<u16>,
    /// What reached the target.
    asked: Vec<Request>,
    /// By how much the metric of what is malformed has grown.
    malformed: f64,
}

impl Ground {
    async fn new() -> Self {
        let target = Target::start(ok("good 1\n"));
        let upstream = format!("--target=pi:9100=http://{}", target.address());
        let pair = Pair::start(&[&upstream]).await;
        Self {
            malformed: malformed(pair.proxy.address).await,
            pair,
            target,
            seen: 0,
        }
    }

    async fn try_row(&mut self, row: &str) -> Outcome {
        let outer = match row.contains(" HTTP/")
            || row.starts_with(['\x16', '\r'])
            || row.contains("/a\r\n")
        {
            true => "",
            false => OUTER,
        };
        let row = row
            .replace("HIDDEN", HIDDEN)
            .replace("LONG", &"x".repeat(20_000));
        let address = self.pair.proxy.address;
        let answers = scraper::volley(address, format!("{outer}{row}{LAST}")).await;
        for answer in &answers {
            assert!(!answer.is_cut(), "{row:?}: {answer:?}");
            // Ours, or the target's.
            assert!(answer.text().len() < 200, "{row:?}: {answer:?}");
        }
        // Whoever comes next is well served, and whatever was on its way has arrived before.
        let next = self.pair.scrape("http://pi:9100/next").await.expect(200);
        assert_eq!(next.text(), "good 1\n");
        let now = malformed(address).await;
        let mut asked = self.target.requests().split_off(self.seen);
        self.seen += asked.len();
        let next = asked.pop();
        assert_eq!(
            next.map(|next| next.path().to_owned()).as_deref(),
            Some("/next")
        );
        let before = std::mem::replace(&mut self.malformed, now);
        Outcome {
            statuses: answers.iter().map(|answer| answer.head.status).collect(),
            asked,
            malformed: now - before,
        }
    }
}

async fn malformed(proxy: SocketAddr) -> f64 {
    Metrics::of(proxy)
        .await
        .sum("adit_proxy_malformed_requests_total")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_may_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read() {
    let mut ground = Ground::new().await;
    for (what, row) in REFUSED {
        let outcome = ground.try_row(row).await;
        assert_eq!(outcome.statuses, [400], "{what}");
        assert!(outcome.asked.is_empty(), "{what}: {:?}", outcome.asked);
        assert_eq!(outcome.malformed, 1.0, "{what}: counted once");
    }
    // HTTP/2 has no word for it in HTTP/1.1.
    let outcome = ground.try_row("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!((outcome.statuses.len(), outcome.asked.len()), (0, 0));
    assert_eq!(outcome.malformed, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_against_the_grammar_end_the_request_and_its_connection() {
    let mut ground = Ground::new().await;
    for (what, row) in BAD_CHUNKS {
        let outcome = ground
            .try_row(&format!("Transfer-Encoding: chunked\r\n\r\n{row}"))
            .await;
        assert_eq!(outcome.statuses, [400], "{what}");
        assert!(outcome.asked.is_empty(), "{what}: {:?}", outcome.asked);
    }
    let metrics = Metrics::of(ground.pair.proxy.address).await;
    let counted = metrics.series("adit_proxy_scrapes_total{code=\"400\",form=\"absolute\"}");
    assert_eq!(counted, BAD_CHUNKS.len() as f64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_beside_a_length_are_the_last_of_their_connection() {
    let mut ground = Ground::new().await;
    let (length, chunks) = ("Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n");
    for fields in [format!("{length}{chunks}"), format!("{chunks}{length}")] {
        // RFC 9112 §6.3: by the chunks alone; what a front that took the length would have sent behind
        // it for somebody else is never read.
        let outcome = ground
            .try_row(&format!("{fields}\r\n0\r\n\r\nHIDDEN"))
            .await;
        assert_eq!(outcome.statuses, [200], "{fields}");
        let [asked] = &outcome.asked[..] else {
            panic!("{fields}: {:?}", outcome.asked);
        };
        assert_eq!(asked.path(), "/api/v1/query");
        assert_eq!(asked.field("content-length"), None, "{}", asked.head);
        assert!(asked.body.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_in_one_way_is_written_anew() {
    let mut ground = Ground::new().await;
    for (what, row) in TAKEN {
        let outcome = ground.try_row(row).await;
        assert_eq!(outcome.statuses, [200, 200], "{what}");
        assert_eq!(outcome.malformed, 0.0, "{what}");
        let [first, last] = &outcome.asked[..] else {
            panic!("{what}: {:?}", outcome.asked);
        };
        assert_eq!(last.path(), "/last", "{what}");
        assert!(
            matches!(first.path(), "/a" | "/api/v1/query"),
            "{what}: {}",
            first.head
        );
        let framings = ["content-length", "transfer-encoding"].map(|name| first.field(name));
        assert!(
            framings.iter().flatten().count() <= 1,
            "{what}: {}",
            first.head
        );
        assert!(first.field("upgrade").is_none(), "{what}: {}", first.head);
        assert_eq!(
            first.field("host").as_deref(),
            Some(ground.upstream().as_str()),
            "{what}"
        );
        assert!(
            !first.head.replace("\r\n", "").contains(['\r', '\n']),
            "{what}: {}",
            first.head
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_a_page_did_not_want_is_no_request() {
    let mut ground = Ground::new().await;
    for (line, status) in [
        ("GET /metrics", 200),
        ("GET /tunnel", 426),
        ("GET /nowhere", 404),
        ("CONNECT nas:9100", 502),
    ] {
        for framing in [
            "Content-Length: 53\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n35\r\n",
        ] {
            let row = format!("{line} HTTP/1.1\r\nHost: x\r\n{framing}HIDDEN");
            let address = ground.pair.proxy.address;
            let row = row.replace("HIDDEN", HIDDEN);
            assert_eq!(HIDDEN.len(), 53, "as the framing says");
            let answers = scraper::volley(address, format!("{row}{LAST}")).await;
            assert_eq!(answers[0].head.status, status, "{row:?}");
            let paths: Vec<String> = ground
                .target
                .requests()
                .iter()
                .map(|asked| asked.path().to_owned())
                .collect();
            assert!(!paths.contains(&"/hidden".to_owned()), "{row:?}: {paths:?}");
        }
    }
    ground.seen = ground.target.requests().len();
    let outcome = ground.try_row(TAKEN[0].1).await;
    assert_eq!(outcome.statuses, [200, 200]);
}

impl Ground {
    /// What `Host` says at the target: its own authority.
    fn upstream(&self) -> String {
        self.target.address().to_string()
    }
}
