//! Requests that two readers may take for different ones: a front proxy that shares its connection to
//! us between people must never get an answer to something it did not ask.

mod rows;

use std::net::SocketAddr;

use adit_tests::metrics::Metrics;
use adit_tests::pair::Pair;
use adit_tests::scraper;
use adit_tests::target::answers::ok;
use adit_tests::target::{Request, Target};
use adit_tests::wait::{PATIENCE, eventually};

use rows::{BAD_CHUNKS, REFUSED, TAKEN};

/// Hidden in another; must never be answered, nor reach a target.
const HIDDEN: &str = "GET http://pi:9100/hidden HTTP/1.1\r\nHost: pi:9100\r\n\r\n";
/// Behind all, to see whether anybody is still listening.
const LAST: &str = "GET http://pi:9100/last HTTP/1.1\r\nHost: pi:9100\r\nConnection: close\r\n\r\n";
/// In front of a row that begins with a field.
const OUTER: &str = "POST http://pi:9100/api/v1/query HTTP/1.1\r\nHost: pi:9100\r\n\
                     X-Prometheus-Scrape-Timeout-Seconds: 10\r\n";

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

    async fn try_row(&mut self, row: &str, malformed: f64) -> Outcome {
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
        // It is counted with the end of the connection, behind the answer.
        let wanted = self.malformed + malformed;
        let now = eventually(PATIENCE, "it is counted", async || {
            match self::malformed(address).await {
                now if now >= wanted => Ok(now),
                now => Err(now.to_string()),
            }
        })
        .await;
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
        let outcome = ground.try_row(row, 1.0).await;
        assert_eq!(outcome.statuses, [400], "{what}");
        assert!(outcome.asked.is_empty(), "{what}: {:?}", outcome.asked);
        assert_eq!(outcome.malformed, 1.0, "{what}: counted once");
    }
    // HTTP/2 has no word for it in HTTP/1.1.
    let outcome = ground
        .try_row("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1.0)
        .await;
    assert_eq!((outcome.statuses.len(), outcome.asked.len()), (0, 0));
    assert_eq!(outcome.malformed, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_against_the_grammar_end_the_request_and_its_connection() {
    let mut ground = Ground::new().await;
    for (what, row) in BAD_CHUNKS {
        let outcome = ground
            .try_row(&format!("Transfer-Encoding: chunked\r\n\r\n{row}"), 0.0)
            .await;
        assert_eq!(outcome.statuses, [400], "{what}");
        assert!(outcome.asked.is_empty(), "{what}: {:?}", outcome.asked);
    }
    let metrics = Metrics::of(ground.pair.proxy.address).await;
    let counted = metrics.series("adit_proxy_scrapes_total{code=\"400\",form=\"absolute\"}");
    assert_eq!(counted, BAD_CHUNKS.len() as f64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_beside_a_length_are_refused() {
    let mut ground = Ground::new().await;
    let (length, chunks) = ("Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n");
    for fields in [format!("{length}{chunks}"), format!("{chunks}{length}")] {
        // What a front that took the length would have sent behind it for somebody else is never read.
        let outcome = ground
            .try_row(&format!("{fields}\r\n0\r\n\r\nHIDDEN"), 1.0)
            .await;
        assert_eq!(outcome.statuses, [400], "{fields}");
        assert!(outcome.asked.is_empty(), "{fields}: {:?}", outcome.asked);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_in_one_way_is_written_anew() {
    let mut ground = Ground::new().await;
    for (what, row) in TAKEN {
        let outcome = ground.try_row(row, 0.0).await;
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
    let outcome = ground.try_row(TAKEN[0].1, 0.0).await;
    assert_eq!(outcome.statuses, [200, 200]);
}

impl Ground {
    /// What `Host` says at the target: its own authority.
    fn upstream(&self) -> String {
        self.target.address().to_string()
    }
}
