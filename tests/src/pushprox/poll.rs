//! Asking for work, for ever.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::handed::HandedRequest;
use super::message::{Message, head_end};
use super::wire::Role;
use super::{Client, Retry, scrape};

/// Go's `http.Client` gives up at the tenth redirect in a row.
const MAX_REDIRECTS: u32 = 9;

/// Polls until it is dropped, with all scrapes that are under way. What is handed out goes to
/// `to_test`, or else is scraped while the next poll is under way.
pub(super) async fn forever(client: Arc<Client>, to_test: Option<mpsc::Sender<HandedRequest>>) {
    let mut polling = client.polling.subscribe();
    let mut scrapes = JoinSet::new();
    let mut backoff = Backoff::new(client.settings.retry);
    loop {
        if polling.wait_for(|on| *on).await.is_err() {
            return;
        }
        while scrapes.try_join_next().is_some() {}
        match poll(&client).await {
            Ok(request) => {
                backoff = Backoff::new(client.settings.retry);
                client.count(|counters| counters.requests += 1);
                match &to_test {
                    // A test that has stopped looking wants no more.
                    Some(test) => drop(test.try_send(request)),
                    None => drop(scrapes.spawn(scrape::answer(Arc::clone(&client), request))),
                }
            }
            Err(error) => {
                client.count(|counters| {
                    counters.poll_errors += 1;
                    counters.last_poll_error = error;
                });
                sleep(backoff.next_wait()).await;
            }
        }
    }
}

/// One poll, redirects and all.
async fn poll(client: &Client) -> Result<HandedRequest, String> {
    let settings = &client.settings;
    let mut to = settings.proxy;
    let mut path = format!("{}/poll", settings.prefix);
    let mut request = asking(to, &path, &settings.fqdn, "");
    let mut followed = 0;
    loop {
        client.count(|counters| counters.polls += 1);
        let sent = client.request(to, Role::Poll, request.as_bytes()).await;
        let mut reply = sent.map_err(|error| format!("error polling: {error}"))?;
        let Some(location) = location(&reply.message) else {
            let read = reply.body(|body| head_end(body).is_some()).await;
            let (body, whole) = read.map_err(|error| format!("error reading request: {error}"))?;
            client.settle(reply, whole);
            // The status says nothing to it.
            return HandedRequest::parse(&body)
                .map_err(|error| format!("error reading request: {error}"));
        };
        let status = reply.message.status();
        let whole = matches!(reply.body(|_| false).await, Ok((_, true)));
        client.settle(reply, whole);
        if followed == MAX_REDIRECTS {
            return Err("error polling: stopped after 10 redirects".to_owned());
        }
        followed += 1;
        client.count(|counters| counters.redirects += 1);
        let referer = format!("Referer: http://{to}{path}\r\n");
        (to, path) = resolve(to, &path, &location)?;
        // Only these two keep method and body.
        request = match status {
            307 | 308 => asking(to, &path, &settings.fqdn, &referer),
            _ => format!(
                "GET {path} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: Go-http-client/1.1\r\n\
                 {referer}Accept-Encoding: gzip\r\n\r\n"
            ),
        };
    }
}

fn asking(to: SocketAddr, path: &str, fqdn: &str, referer: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: Go-http-client/1.1\r\n\
         Content-Length: {}\r\nContent-Type: \r\n{referer}Accept-Encoding: gzip\r\n\r\n{fqdn}",
        fqdn.len()
    )
}

/// Where a redirect leads; `None` for every other answer.
fn location(answer: &Message) -> Option<String> {
    match answer.status() {
        301 | 302 | 303 | 307 | 308 => answer.field("location"),
        _ => None,
    }
}

/// Resolves a location of one of the two kinds that a server writes (RFC 9110 §10.2.2).
fn resolve(from: SocketAddr, base: &str, location: &str) -> Result<(SocketAddr, String), String> {
    if let Some((_, rest)) = location.split_once("://") {
        let at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let to = authority
            .parse()
            .map_err(|_| format!("error polling: cannot resolve {authority:?}"))?;
        return Ok((to, if path.is_empty() { "/" } else { path }.to_owned()));
    }
    if location.starts_with('/') {
        return Ok((from, location.to_owned()));
    }
    let folder = &base[..base.rfind('/').map_or(0, |at| at + 1)];
    Ok((from, format!("{folder}{location}")))
}

/// Waits half or one and a half times as long as said, then longer; as `cenkalti/backoff` does.
struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    fn new(retry: Retry) -> Self {
        Self {
            next: retry.initial,
            max: retry.max,
        }
    }

    fn next_wait(&mut self) -> Duration {
        let wait = self.next.mul_f64(0.5 + fraction());
        self.next = self.next.mul_f64(1.5).min(self.max);
        wait
    }
}

/// From 0 to 1. The standard library has no other source of chance.
fn fraction() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap_and_vary_by_half() {
        let retry = Retry {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(5),
        };
        let mut seen = Vec::new();
        for _ in 0..50 {
            let mut backoff = Backoff::new(retry);
            for mean in [1.0, 1.5, 2.25, 3.375, 5.0, 5.0] {
                let part = backoff.next_wait().as_secs_f64() / mean;
                assert!((0.5..=1.5).contains(&part), "{part} of {mean}");
                seen.push(part);
            }
        }
        assert!(seen.iter().any(|part| *part < 0.7), "{seen:?}");
        assert!(seen.iter().any(|part| *part > 1.3), "{seen:?}");
    }

    #[test]
    fn locations_are_resolved() {
        let from: SocketAddr = "127.0.0.1:80".parse().unwrap();
        for (location, to, path) in [
            ("/poll", "127.0.0.1:80", "/poll"),
            ("poll?x", "127.0.0.1:80", "/a/poll?x"),
            ("http://127.0.0.2:81/b/poll", "127.0.0.2:81", "/b/poll"),
            ("http://127.0.0.2:81", "127.0.0.2:81", "/"),
        ] {
            let resolved = resolve(from, "/a/poll", location).unwrap();
            assert_eq!(resolved, (to.parse().unwrap(), path.to_owned()));
        }
        assert!(resolve(from, "/poll", "http://elsewhere/").is_err());
    }
}
