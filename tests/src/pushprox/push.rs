//! What came of a scrape, on its way to the proxy: `http.Response.Write` into the body of a POST.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Client;
use super::handed::HandedRequest;
use super::scrape::{Framing, Scraped};
use super::wire::{Role, Wire};
use crate::wait::{PATIENCE, within};

/// What the proxy says to a push. The released client does not look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushAnswer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub text: String,
}

/// A push that is under way. Dropped, its connection is closed.
#[derive(Debug)]
pub struct OpenPush {
    client: Arc<Client>,
    wire: Wire,
    chunked: bool,
    clean: bool,
}

/// Go's `Response.Write`: framing first, then the fields sorted, with the two that the client adds.
/// `left` is in seconds.
pub(super) fn serialise(scraped: &Scraped, id: &str, left: f64) -> Vec<u8> {
    let mut fields = scraped.fields.clone();
    fields.retain(|(name, _)| name != "Id" && name != "X-Prometheus-Scrape-Timeout");
    fields.push(("Id".to_owned(), id.to_owned()));
    let left = format!("{left:.6}");
    fields.push(("X-Prometheus-Scrape-Timeout".to_owned(), left));
    // Several values under one name keep their order.
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let mut head = scraped.status_line.clone() + "\r\n";
    if scraped.close {
        head.push_str("Connection: close\r\n");
    }
    match scraped.framing {
        Framing::Length(1..) => fields.insert(0, ("Content-Length".to_owned(), scraped.length())),
        Framing::Length(0) => fields.push(("Content-Length".to_owned(), scraped.length())),
        Framing::Chunked => {
            fields.insert(0, ("Transfer-Encoding".to_owned(), "chunked".to_owned()))
        }
        Framing::None | Framing::ToEnd => {}
    }
    for (name, value) in &fields {
        // Writing to a string cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let mut push = (head + "\r\n").into_bytes();
    if !scraped.framing_only {
        body(scraped, &mut push);
    }
    push
}

fn body(scraped: &Scraped, push: &mut Vec<u8>) {
    if scraped.framing != Framing::Chunked {
        push.extend_from_slice(&scraped.body);
        return;
    }
    // As large as the buffer of Go's `io.Copy`.
    for chunk in scraped.body.chunks(32 * 1024) {
        push.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        push.extend_from_slice(chunk);
        push.extend_from_slice(b"\r\n");
    }
    // A target that broke off is an error nobody looks at, and the last chunk is not written.
    if scraped.whole {
        push.extend_from_slice(b"0\r\n\r\n");
    }
}

/// Pushes for a request, if there is time left, and counts what becomes of it.
pub(super) async fn report(
    client: &Client,
    request: &HandedRequest,
    scraped: &Scraped,
    left: Option<Duration>,
) {
    // What Go makes of a deadline that was never set.
    let seconds = left.map_or(-9_223_372_036.854_776, |left| left.as_secs_f64());
    let bytes = serialise(scraped, &request.id(), seconds);
    let pushing = push(client, &bytes);
    let answer = match left {
        None => pushing.await.ok(),
        // The deadline of the scrape is that of the push, also when it has passed.
        Some(left) if left.is_zero() => None,
        Some(left) => match tokio::time::timeout(left, pushing).await {
            Ok(answer) => answer.ok(),
            Err(_) => None,
        },
    };
    if answer.is_none() {
        client.count(|counters| counters.push_errors += 1);
    }
}

/// Pushes these bytes.
pub(super) async fn push(client: &Client, bytes: &[u8]) -> io::Result<PushAnswer> {
    let mut request = head(client, &format!("Content-Length: {}", bytes.len())).into_bytes();
    request.extend_from_slice(bytes);
    let to = client.settings.proxy;
    let mut reply = client.request(to, Role::Push, &request).await?;
    let (body, _) = reply.body(|_| false).await?;
    Ok(answered(client, reply, &body))
}

fn answered(client: &Client, reply: super::wire::Reply, body: &[u8]) -> PushAnswer {
    let status = reply.message.status();
    client.count(|counters| counters.pushes.push(status));
    client.abandon(reply, body);
    PushAnswer {
        status,
        text: String::from_utf8_lossy(body).into_owned(),
    }
}

fn head(client: &Client, framing: &str) -> String {
    let settings = &client.settings;
    format!(
        "POST {}/push HTTP/1.1\r\nHost: {}\r\nUser-Agent: Go-http-client/1.1\r\n{framing}\r\n\
         Accept-Encoding: gzip\r\n\r\n",
        settings.prefix, settings.proxy
    )
}

impl OpenPush {
    pub(super) async fn begin(client: Arc<Client>, length: Option<usize>) -> Self {
        let framing = match length {
            Some(length) => format!("Content-Length: {length}"),
            None => "Transfer-Encoding: chunked".to_owned(),
        };
        let wire = client.wire(client.settings.proxy, Role::Push).await;
        let wire = wire.unwrap_or_else(|error| panic!("{}: {error}", client.settings.proxy));
        let head = head(&client, &framing);
        let mut push = Self {
            client,
            wire,
            chunked: length.is_none(),
            clean: true,
        };
        push.write_raw(head.as_bytes()).await;
        push
    }

    /// Writes more of the push; in chunks this is one. What the proxy will not read is not
    /// written.
    ///
    /// # Panics
    /// When the proxy neither reads nor answers, and after a cut.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if self.chunked {
            let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
            chunk.extend_from_slice(bytes);
            chunk.extend_from_slice(b"\r\n");
            self.write_raw(&chunk).await;
        } else {
            self.write_raw(bytes).await;
        }
    }

    async fn write_raw(&mut self, bytes: &[u8]) {
        if self.clean {
            let sending = self.wire.send(bytes);
            let sent = within(PATIENCE, "the proxy reads a push", sending).await;
            self.clean = sent.expect("a push that was not cut");
        }
    }

    /// Ends the push in good order, and gives what the proxy says.
    ///
    /// # Errors
    /// When it says nothing.
    pub async fn finish(mut self) -> io::Result<PushAnswer> {
        if self.chunked {
            self.write_raw(b"0\r\n\r\n").await;
        }
        let clean = self.clean;
        self.answered(clean).await
    }

    /// What the proxy says while the push is not at its end.
    ///
    /// # Errors
    /// When it says nothing but ends the connection.
    ///
    /// # Panics
    /// When it does neither.
    pub async fn answer(self) -> io::Result<PushAnswer> {
        // Go uses no connection again by which not all of a request has gone.
        self.answered(false).await
    }

    async fn answered(self, clean: bool) -> io::Result<PushAnswer> {
        let Self { client, wire, .. } = self;
        let answering = async {
            let mut reply = client.reply(wire, clean).await?;
            let (body, _) = reply.body(|_| false).await?;
            Ok(answered(&client, reply, &body))
        };
        within(PATIENCE, "the answer to a push", answering).await
    }
}
