//! The rows, as PushProx's polls meet them.
//!
//! [`carriers`] has R1 to R4, R9 and R15, [`names`] R5 to R7 and R13, [`answers`] R10 to R12 and R14.

mod carriers;
mod names;

mod answers;

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use adit_tests::metrics::Metrics;
use adit_tests::pair::Proxy;
use adit_tests::pushprox::{FakePushProx, Loss, Manual};
use adit_tests::scraper::{self, Answer, Connection};
use adit_tests::target::answers::{chunk, head_of_chunks, ok};
use adit_tests::target::{Step, Target};
use adit_tests::wait::{PATIENCE, eventually};

use super::{file, gauge};

/// Half a second to a second after an error: fast, for a test.
const RETRY: Duration = Duration::from_millis(500);

async fn proxy(flags: &[&str]) -> Proxy {
    Proxy::start(&[&["--pushprox.enabled"], flags].concat()).await
}

fn pi(proxy: &Proxy) -> adit_tests::pushprox::Builder {
    FakePushProx::builder(proxy.address, "pi").retry(RETRY, RETRY)
}

/// A client whose scrapes the test answers itself, once its first poll is there.
async fn manual(proxy: &Proxy) -> Manual {
    let client = pi(proxy).manual();
    gauge(proxy, "adit_proxy_polls", 1.0).await;
    client
}

fn scrape(proxy: &Proxy) -> tokio::task::JoinHandle<Answer> {
    let address = proxy.address;
    tokio::spawn(async move { scraper::scrape(address, "http://pi:9100/m").await })
}

async fn at_rest(proxy: &Proxy) {
    for name in ["scrapes_in_flight", "scrapes_waiting"] {
        gauge(proxy, &format!("adit_proxy_{name}"), 0.0).await;
    }
}

/// A poll on a connection of its own, which the test may close when it likes.
async fn poll(proxy: &Proxy) -> Connection {
    let mut connection = Connection::open(proxy.address).await;
    let poll = "POST /poll HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\npi";
    connection.write(poll).await;
    gauge(proxy, "adit_proxy_polls", 1.0).await;
    connection
}

/// What was handed to it: the text of a request.
async fn read(connection: &mut Connection) -> String {
    let head = connection.head().await;
    assert_eq!(head.status, 200, "{head:?}");
    let (text, _) = connection.body(&head).await;
    String::from_utf8(text).unwrap()
}
