//! Who scrapes: it writes exactly what it is given, and reads the answer strictly.
//!
//! [`answer`] is what came back, [`body`] how its end is told.

pub mod answer;
mod body;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::wait::{PATIENCE, within};
pub use answer::{Answer, End, Head};
use body::Framing;

/// Longest head that is read.
const MAX_HEAD: usize = 4 << 20;

/// A connection of a scraper's.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    stream: S,
    /// Read, and not yet made part of an answer.
    buffer: BytesMut,
}

/// Where a scraper says how long it will wait.
const TIMEOUT: &str = "X-Prometheus-Scrape-Timeout-Seconds";

/// What a Prometheus would send for `uri`, with more fields behind its own. Its timeout is 10 s
/// unless `fields` has another.
///
/// # Panics
/// When `uri` has no authority to make a `Host` of.
pub fn request(uri: &str, fields: &[&str]) -> String {
    let (_, rest) = uri.split_once("://").expect("an absolute uri");
    let host = rest.split(['/', '?']).next().unwrap_or(rest);
    let mut request = format!(
        "GET {uri} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Prometheus/2.42.0\r\n\
         Accept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\nAccept-Encoding: gzip\r\n"
    );
    if !fields.iter().any(|field| field.starts_with(TIMEOUT)) {
        request.push_str(TIMEOUT);
        request.push_str(": 10\r\n");
    }
    for field in fields {
        request.push_str(field);
        request.push_str("\r\n");
    }
    request + "\r\n"
}

/// The field that says so many seconds.
pub fn timeout_field(seconds: u32) -> String {
    format!("{TIMEOUT}: {seconds}")
}

/// A request in origin form, for a server's own pages.
pub fn page_request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

/// One scrape of `uri` through the proxy, on a connection of its own.
pub async fn scrape(proxy: SocketAddr, uri: &str) -> Answer {
    scrape_with(proxy, uri, &[]).await
}

/// The same, with more fields.
pub async fn scrape_with(proxy: SocketAddr, uri: &str, fields: &[&str]) -> Answer {
    send(proxy, request(uri, fields)).await
}

/// A page of the server's own.
pub async fn page(server: SocketAddr, path: &str) -> Answer {
    send(server, page_request(path)).await
}

/// Exactly these bytes, on a connection of their own.
///
/// # Panics
/// When nobody listens.
pub async fn send(server: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let mut connection = Connection::open(server).await;
    connection.exchange(request).await
}

/// The same, and every answer until the server closes.
pub async fn volley(server: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<Answer> {
    Connection::open(server).await.volley(bytes).await
}

/// The same as [`send`], as long as somebody listens.
///
/// # Errors
/// When nobody does.
pub async fn try_page(server: SocketAddr, path: &str) -> io::Result<Answer> {
    let stream = TcpStream::connect(server).await?;
    Ok(Connection::over(stream).exchange(page_request(path)).await)
}

impl Connection<TcpStream> {
    /// Opens one.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn open(server: SocketAddr) -> Self {
        let stream = within(PATIENCE, "a connection", TcpStream::connect(server)).await;
        let stream = stream.unwrap_or_else(|error| panic!("{server}: {error}"));
        stream.set_nodelay(true).expect("a socket has that option");
        Self::over(stream)
    }
}

impl Connection<TcpStream> {
    /// Opens one from another address of this machine, as somebody else.
    ///
    /// # Panics
    /// When nobody listens, or it is no address of ours.
    pub async fn open_from(source: impl Into<IpAddr>, server: SocketAddr) -> Self {
        let source = source.into();
        let socket = match source {
            IpAddr::V4(_) => TcpSocket::new_v4(),
            IpAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.expect("a socket");
        socket.bind((source, 0).into()).expect("an address of ours");
        let stream = within(PATIENCE, "a connection", socket.connect(server)).await;
        Self::over(stream.unwrap_or_else(|error| panic!("{server}: {error}")))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Over a stream that is there.
    pub fn over(stream: S) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// Writes a request and reads its whole answer, meanwhile or afterwards: a server may answer a
    /// request that it will not read to its end.
    pub async fn exchange(&mut self, request: impl AsRef<[u8]>) -> Answer {
        let started = Instant::now();
        let head_only = request.as_ref().starts_with(b"HEAD ");
        let head = {
            let (mut read, mut write) = tokio::io::split(&mut self.stream);
            let reading = read_head(&mut read, &mut self.buffer);
            tokio::pin!(reading);
            let writing = async {
                // What the server thought of it stands in its answer, or in there being none.
                let _ = write.write_all(request.as_ref()).await;
                let _ = write.flush().await;
            };
            let both = async {
                tokio::select! {
                    head = &mut reading => head,
                    () = writing => reading.await,
                }
            };
            within(PATIENCE, "the head of an answer", both).await
        };
        let (body, end) = match &head {
            None => (Vec::new(), End::Cut("no head".into())),
            Some(_) if head_only => (Vec::new(), End::Complete),
            Some(head) => self.body(head).await,
        };
        Answer {
            head: head.unwrap_or_default(),
            body,
            end,
            took: started.elapsed(),
        }
    }

    /// Writes bytes and reads every answer that comes until the server closes: how many there are, and
    /// to what, is what the test wants to know.
    pub async fn volley(&mut self, bytes: impl AsRef<[u8]>) -> Vec<Answer> {
        let mut answers = vec![self.exchange(bytes).await];
        loop {
            let started = Instant::now();
            let reading = read_head(&mut self.stream, &mut self.buffer);
            let Some(head) = within(PATIENCE, "an answer or the end", reading).await else {
                answers.retain(|answer| answer.head.status != 0);
                return answers;
            };
            let (body, end) = self.body(&head).await;
            answers.push(Answer {
                head,
                body,
                end,
                took: started.elapsed(),
            });
        }
    }

    /// Writes bytes as they are.
    ///
    /// # Panics
    /// When the server does not take them.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let writing = self.stream.write_all(bytes.as_ref());
        within(PATIENCE, "the server takes a request", writing)
            .await
            .expect("written");
        self.stream.flush().await.expect("flushed");
    }

    /// Reads the next head.
    ///
    /// # Panics
    /// When there is none.
    pub async fn head(&mut self) -> Head {
        let reading = read_head(&mut self.stream, &mut self.buffer);
        within(PATIENCE, "the head of an answer", reading)
            .await
            .expect("a head")
    }

    /// The same, byte by byte: nothing behind it is read.
    ///
    /// # Panics
    /// When there is none.
    pub async fn head_and_no_more(&mut self) -> Head {
        let mut raw = Vec::new();
        while !raw.ends_with(b"\r\n\r\n") {
            let reading = self.stream.read_u8();
            let byte = within(PATIENCE, "the head of an answer", reading).await;
            raw.push(byte.expect("a head"));
        }
        Head::parse(&raw)
    }

    /// Reads all of the body behind `head`.
    pub async fn body(&mut self, head: &Head) -> (Vec<u8>, End) {
        let mut body = Vec::new();
        let end = self
            .each_piece(head, |piece| body.extend_from_slice(&piece))
            .await;
        (body, end)
    }

    /// Reads the body behind `head` and keeps only its length.
    pub async fn count(&mut self, head: &Head) -> (u64, End) {
        let mut count = 0;
        let end = self
            .each_piece(head, |piece| count += piece.len() as u64)
            .await;
        (count, end)
    }

    /// Reads at least so many bytes of what comes next, framing and all, and leaves them unread.
    pub async fn wait_for_bytes(&mut self, count: usize) {
        let reading = async {
            while self.buffer.len() < count {
                let n = self
                    .stream
                    .read_buf(&mut self.buffer)
                    .await
                    .expect("readable");
                assert!(
                    n > 0,
                    "the end after {} bytes of {count}",
                    self.buffer.len()
                );
            }
        };
        within(PATIENCE, "the first bytes of a body", reading).await;
    }

    async fn each_piece(&mut self, head: &Head, mut take: impl FnMut(Bytes)) -> End {
        let mut framing = match Framing::of(head) {
            Ok(framing) => framing,
            Err(why) => return End::Cut(why),
        };
        loop {
            match framing.next(&mut self.buffer) {
                Ok(Some(piece)) => {
                    take(piece);
                    continue;
                }
                Ok(None) => {}
                Err(why) => return End::Cut(why),
            }
            if framing.is_done() {
                return End::Complete;
            }
            let reading = self.stream.read_buf(&mut self.buffer);
            match within(PATIENCE, "more of a body", reading).await {
                Ok(0) if framing.ends_with_the_connection() => return End::UntilClose,
                Ok(0) => return End::Cut(format!("end of stream, {framing:?}")),
                Ok(_) => {}
                Err(error) => return End::Cut(error.to_string()),
            }
        }
    }

    /// The stream, when nothing is read ahead.
    ///
    /// # Panics
    /// When something is.
    pub fn into_stream(self) -> S {
        assert!(self.buffer.is_empty(), "read ahead: {:?}", self.buffer);
        self.stream
    }

    /// The stream, and what was read ahead of what was asked for.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.buffer.to_vec())
    }
}

/// A head, skipping interim ones; `None` when the stream ends first.
async fn read_head(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> Option<Head> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = Head::parse(&buffer.split_to(end + 4));
            if (100..200).contains(&head.status) && head.status != 101 {
                continue;
            }
            return Some(head);
        }
        assert!(buffer.len() < MAX_HEAD, "an endless head");
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}
