//! Doing it.

use std::io::{self, Write as _};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::deed::{Deed, End, Framing, Mishap};
use crate::soak::body::{self, FIELD, Label, Noise};

/// Longest head that is read.
const MAX_HEAD: usize = 64 * 1024;
/// Bytes of one chunk.
const CHUNK: usize = 10_000;
/// Parts of a slow body.
const PARTS: usize = 20;
/// Longest that a connection is held for nothing. No scrape takes so long.
const STUCK: Duration = Duration::from_secs(60);

/// A request, as far as a target looks at it.
#[derive(Debug)]
pub(super) struct Request {
    /// The scraper's number of it.
    pub(super) number: u64,
    pub(super) method: String,
    pub(super) takes_gzip: bool,
}

/// What becomes of the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    Next,
    Close,
    Reset,
}

impl Request {
    /// The next one; nothing at the end of the connection, or when it is no scrape of ours. None
    /// has a body.
    pub(super) async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let n = stream.read_buf(&mut head).await.ok()?;
            if n == 0 || head.len() > MAX_HEAD {
                return None;
            }
        }
        Self::parse(&String::from_utf8_lossy(&head))
    }

    fn parse(head: &str) -> Option<Self> {
        let (method, rest) = head.split_once(' ')?;
        let path = rest.split(' ').next()?;
        let (_, number) = path.split_once("n=")?;
        let gzip = |line: &str| {
            let (name, value) = line.split_once(':')?;
            (name.eq_ignore_ascii_case("accept-encoding") && value.contains("gzip")).then_some(())
        };
        Some(Self {
            number: number.parse().ok()?,
            method: method.to_owned(),
            takes_gzip: head.lines().any(|line| gzip(line).is_some()),
        })
    }
}

/// Answers, as far as the deed goes.
pub(super) async fn play(
    stream: &mut TcpStream,
    request: &Request,
    deed: &Deed,
    label: &Label,
    noise: &Noise,
) -> io::Result<After> {
    match deed.mishap {
        Mishap::Late(time) => unless_left(stream, sleep(time)).await?,
        Mishap::Mute => {
            unless_left(stream, sleep(STUCK)).await?;
            return Ok(After::Close);
        }
        Mishap::Shut(end) => return Ok(after(end)),
        _ => {}
    }
    let (head, body) = answer(request, deed, label, noise);
    if deed.framing == Framing::UntilClose {
        // Whatever ends this connection before `close` does, ends it by a reset.
        stream.set_zero_linger()?;
    }
    stream.write_all(&head).await?;
    match deed.mishap {
        Mishap::HeadOnly(end) => {
            // Else an RST overtakes the head.
            unless_left(stream, sleep(Duration::from_millis(50))).await?;
            return Ok(after(end));
        }
        Mishap::Stuck(part) => {
            stream.write_all(&body[..first(&body, part)]).await?;
            unless_left(stream, sleep(STUCK)).await?;
            return Ok(After::Reset);
        }
        Mishap::Cut(part, end) => {
            stream.write_all(&body[..first(&body, part)]).await?;
            if end == End::Rst {
                unless_left(stream, sleep(Duration::from_millis(20))).await?;
            }
            return Ok(after(end));
        }
        Mishap::Slow(time) => {
            for part in body.chunks(body.len() / PARTS + 1) {
                unless_left(stream, sleep(time.div_f64(PARTS as f64))).await?;
                stream.write_all(part).await?;
            }
        }
        _ => stream.write_all(&body).await?,
    }
    match deed.close || deed.framing == Framing::UntilClose {
        true => Ok(After::Close),
        false => Ok(After::Next),
    }
}

/// In good order, behind a whole answer.
pub(super) async fn close(mut stream: TcpStream) {
    // Each fails only where the connection is gone already.
    let _ = SockRef::from(&stream).set_linger(None);
    let _ = stream.shutdown().await;
    // What is closed with bytes unread sends an RST, and that may overtake the body's last bytes.
    let mut rest = [0; 1024];
    let read = async { while let Ok(1..) = stream.read(&mut rest).await {} };
    let _ = timeout(Duration::from_secs(1), read).await;
}

fn after(end: End) -> After {
    match end {
        End::Fin => After::Close,
        End::Rst => After::Reset,
    }
}

/// How much of the body is sent before it breaks off: never all of it.
fn first(body: &[u8], part: f64) -> usize {
    let bytes = (body.len() as f64 * part) as usize;
    bytes.min(body.len().saturating_sub(1))
}

/// Head and body, framed.
fn answer(request: &Request, deed: &Deed, label: &Label, noise: &Noise) -> (Vec<u8>, Vec<u8>) {
    let status = match deed.mishap {
        Mishap::Status(status) => status,
        _ => 200,
    };
    let mut head = format!("HTTP/1.1 {status} Soaked\r\n{FIELD}: {label}\r\n");
    if matches!(status, 204 | 304) {
        if deed.framing == Framing::UntilClose {
            head.push_str("Connection: close\r\n");
        }
        return ((head + "\r\n").into_bytes(), Vec::new());
    }
    let mut body = body::body(label, deed.size, noise);
    if deed.gzip {
        body = gzip(&body);
        head.push_str("Content-Encoding: gzip\r\n");
    }
    match deed.framing {
        Framing::Length => head.push_str(&format!("Content-Length: {}\r\n", body.len())),
        Framing::Chunks => {
            head.push_str("Transfer-Encoding: chunked\r\n");
            body = chunked(&body);
        }
        Framing::UntilClose => head = head.replacen("HTTP/1.1", "HTTP/1.0", 1),
    }
    if deed.close {
        head.push_str("Connection: close\r\n");
    }
    head.push_str("Content-Type: text/plain; version=0.0.4\r\n\r\n");
    if request.method == "HEAD" {
        body.clear();
    }
    (head.into_bytes(), body)
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut chunked = Vec::with_capacity(body.len() + body.len() / 100 + 16);
    for chunk in body.chunks(CHUNK) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    chunked
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Memory takes what it is given.
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.expect("memory can be written")
}

/// The future, unless the peer leaves first.
async fn unless_left(stream: &mut TcpStream, future: impl Future<Output = ()>) -> io::Result<()> {
    let mut byte = [0];
    tokio::select! {
        () = future => Ok(()),
        // Also what is said: nobody may say anything before the answer is there.
        _ = stream.read(&mut byte) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
