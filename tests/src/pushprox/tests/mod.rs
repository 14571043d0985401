//! Against a proxy that is no more than a script, and shapes as Go 1.26 wrote them.

mod polls;
mod scrapes;

mod hands;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::target::answers::{gzip, metric, ok, whole};
use crate::target::{Request, Step, Target};

const ID: &str = "7f3c1d2e-0a4b-4c5d-8e6f-102030405060";
const SOON: Duration = Duration::from_millis(1);

/// Polls get these answers in turn, then none; pushes get what the proxy says to one.
fn proxy(answers: Vec<Vec<Step>>) -> Target {
    let answers = Mutex::new(VecDeque::from(answers));
    Target::start(move |request: &Request| match request.path() {
        "/push" => vec![
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            Step::Next,
        ],
        _ => {
            let next = answers.lock().unwrap().pop_front();
            next.unwrap_or_else(|| vec![Step::Stall])
        }
    })
}

fn work(method: &str, uri: &str, fields: &str) -> String {
    format!(
        "{method} {uri} HTTP/1.1\r\nHost: pi:9100\r\nId: {ID}\r\nAccept-Encoding: identity\r\n\
         X-Prometheus-Scrape-Timeout-Seconds: 9.8\r\n{fields}\r\n"
    )
}

fn get(uri: &str) -> Vec<Step> {
    ok(work("GET", uri, ""))
}

async fn pushes(proxy: &Target, count: usize) -> Vec<Request> {
    let is_push = |request: &&Request| request.path() == "/push";
    let what = format!("{count} pushes");
    let journal = proxy
        .until(&what, |journal| {
            journal.requests().filter(is_push).count() >= count
        })
        .await;
    let mut all = journal.in_order();
    all.retain(|request| is_push(&request));
    all
}

/// A proxy of the test's own hands: the next connection, its poll read.
async fn poller(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = within(PATIENCE, "a poll", listener.accept()).await.unwrap();
    let mut poll = Vec::new();
    while !poll.ends_with(b"\r\n\r\npi") {
        let byte = within(PATIENCE, "a poll", stream.read_u8()).await;
        poll.push(byte.unwrap());
    }
    stream
}
