//! How a target plays its script.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::journal::{Connection, Journal, Request};
use super::script::{Feed, Script, Step};

const FLOOD: usize = 64 * 1024;

/// What scripts are played on.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {
    /// Makes the end an RST.
    fn end_by_reset(&self);
}

impl Wire for TcpStream {
    fn end_by_reset(&self) {
        self.set_zero_linger().expect("a socket has a linger");
    }
}

impl Wire for TlsStream<TcpStream> {
    fn end_by_reset(&self) {
        self.get_ref().0.end_by_reset();
    }
}

impl Wire for UnixStream {
    // Dropped without a shutdown it is as abrupt as a Unix socket can be.
    fn end_by_reset(&self) {}
}

/// Plays one script on any number of connections.
#[derive(Clone)]
pub(super) struct Player {
    script: Arc<dyn Script>,
    journal: watch::Sender<Journal>,
    /// Ends every connection by RST.
    cut: CancellationToken,
}

/// How a script ended.
enum Done {
    Next,
    Close,
    Reset,
}

impl Player {
    pub(super) fn new(
        script: Arc<dyn Script>,
        journal: watch::Sender<Journal>,
        cut: CancellationToken,
    ) -> Self {
        Self {
            script,
            journal,
            cut,
        }
    }

    /// The future, unless the target is killed first.
    pub(super) async fn unless_cut<F: Future>(&self, future: F) -> Option<F::Output> {
        self.cut.run_until_cancelled(future).await
    }

    pub(super) async fn play(&self, mut wire: impl Wire) {
        let mut entry = Entry::new(self.journal.clone());
        let talk = self.talk(&mut wire, &entry);
        // None: it was killed.
        if self.unless_cut(talk).await.unwrap_or(true) {
            wire.end_by_reset();
        }
        entry.close();
    }

    /// Until the end, which is to be by RST or not.
    async fn talk(&self, wire: &mut impl Wire, entry: &Entry) -> bool {
        while let Ok(Some(request)) = read_request(wire).await {
            entry.change(|connection| connection.requests.push(request.clone()));
            let done = perform(wire, entry, self.script.steps(&request)).await;
            match &done {
                Ok(_) => entry.change(|connection| connection.answered += 1),
                Err(_) => entry.change(|connection| connection.aborted = true),
            }
            match done {
                Ok(Done::Next) => {}
                Ok(Done::Close) => {
                    let _ = wire.shutdown().await;
                    return false;
                }
                Ok(Done::Reset) => return true,
                Err(_) => return false,
            }
        }
        false
    }
}

/// A connection's place in the journal. Dropped with its task it says nothing: the target ended.
struct Entry {
    journal: watch::Sender<Journal>,
    index: usize,
}

impl Entry {
    fn new(journal: watch::Sender<Journal>) -> Self {
        let mut index = 0;
        journal.send_modify(|journal| {
            index = journal.connections.len();
            journal.connections.push(Connection::new());
        });
        Self { journal, index }
    }

    fn change(&self, change: impl FnOnce(&mut Connection)) {
        self.journal
            .send_modify(|journal| change(&mut journal.connections[self.index]));
    }

    fn close(&mut self) {
        self.change(|connection| connection.closed = Some(Instant::now()));
    }
}

async fn perform(wire: &mut impl Wire, entry: &Entry, steps: Vec<Step>) -> io::Result<Done> {
    for step in steps {
        match step {
            Step::Send(bytes) => write(wire, entry, &bytes).await?,
            Step::Trickle(bytes, pause) => trickle(wire, entry, &bytes, pause).await?,
            Step::Flood(total) => flood(wire, entry, total).await?,
            Step::Pause(pause) => unless_left(wire, sleep(pause)).await?,
            Step::Wait(gate) => unless_left(wire, gate.opened()).await?,
            Step::Feed(feed) => feed_on(wire, entry, &feed).await?,
            Step::Stall => unless_left(wire, std::future::pending()).await?,
            Step::Reset => return Ok(Done::Reset),
            Step::Next => return Ok(Done::Next),
        }
    }
    Ok(Done::Close)
}

async fn write(wire: &mut impl Wire, entry: &Entry, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = wire.write(bytes).await?;
        bytes = &bytes[n..];
        entry.change(|connection| connection.written += n as u64);
    }
    wire.flush().await
}

async fn trickle(
    wire: &mut impl Wire,
    entry: &Entry,
    bytes: &Bytes,
    pause: Duration,
) -> io::Result<()> {
    for byte in bytes.chunks(1) {
        unless_left(wire, sleep(pause)).await?;
        write(wire, entry, byte).await?;
    }
    Ok(())
}

async fn flood(wire: &mut impl Wire, entry: &Entry, total: u64) -> io::Result<()> {
    let piece = vec![b'x'; FLOOD];
    let mut left = total;
    while left > 0 {
        let n = usize::try_from(left).map_or(FLOOD, |left| left.min(FLOOD));
        write(wire, entry, &piece[..n]).await?;
        left -= n as u64;
    }
    Ok(())
}

async fn feed_on(wire: &mut impl Wire, entry: &Entry, feed: &Feed) -> io::Result<()> {
    let mut next = 0;
    while let Some(piece) = unless_left(wire, feed.piece(next)).await? {
        write(wire, entry, &piece).await?;
        next += 1;
    }
    Ok(())
}

/// The future, unless the peer leaves first.
async fn unless_left<T>(wire: &mut impl Wire, future: impl Future<Output = T>) -> io::Result<T> {
    let mut byte = [0];
    tokio::select! {
        output = future => Ok(output),
        read = wire.read(&mut byte) => match read {
            Ok(1..) => panic!("a second request before the first was answered"),
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Err(error),
        },
    }
}

async fn read_request(wire: &mut impl Wire) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    let mut pieces = 0;
    let mut buffer = vec![0; 64 * 1024];
    let end = loop {
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let n = wire.read(&mut buffer).await?;
        if n == 0 {
            return Ok(None);
        }
        pieces += 1;
        head.extend_from_slice(&buffer[..n]);
    };
    let mut request = Request {
        at: Instant::now(),
        body: head.split_off(end),
        head: String::from_utf8_lossy(&head).into_owned(),
        pieces,
    };
    read_body(wire, &mut request).await?;
    Ok(Some(request))
}

/// By Content-Length, or chunked; anything else has none.
async fn read_body(wire: &mut impl Wire, request: &mut Request) -> io::Result<()> {
    let length = request
        .field("content-length")
        .and_then(|text| text.parse::<usize>().ok());
    let chunked = request
        .field("transfer-encoding")
        .is_some_and(|text| text == "chunked");
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let done = match length {
            Some(length) => request.body.len() >= length,
            None => !chunked || request.body.ends_with(b"0\r\n\r\n"),
        };
        if done {
            break;
        }
        let n = wire.read(&mut buffer).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        request.body.extend_from_slice(&buffer[..n]);
    }
    if chunked {
        request.body = unchunk(&request.body);
    }
    Ok(())
}

fn unchunk(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&raw[..end]).ok();
        let size = size
            .and_then(|size| usize::from_str_radix(size, 16).ok())
            .unwrap_or(0);
        if size == 0 || raw.len() < end + 2 + size + 2 {
            break;
        }
        body.extend_from_slice(&raw[end + 2..end + 2 + size]);
        raw = &raw[end + 2 + size + 2..];
    }
    body
}
