//! A backend that writes exact bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What it does with a request.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// Until whoever asks has left.
    Hang,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

/// Dropping it refuses connections.
pub(super) struct Fake {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Requests that came, and those whose asker left before the answer was whole.
    counts: watch::Receiver<(usize, usize)>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// Does the same for every request. A connection carries one.
    pub(super) async fn start(steps: Vec<Step>) -> Self {
        Self::with(move |_| steps.clone()).await
    }

    /// Does with the nth request, from 0, what `script` says.
    pub(super) async fn with(script: impl Fn(usize) -> Vec<Step> + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, counts) = watch::channel((0, 0));
        let sender = Arc::new(sender);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let journal = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = stream;
                let Some(request) = read(&mut stream).await else {
                    continue;
                };
                let nth = {
                    let mut journal = journal.lock().unwrap();
                    journal.push(request);
                    journal.len() - 1
                };
                let steps = script(nth);
                let sender = Arc::clone(&sender);
                sender.send_modify(|counts| counts.0 += 1);
                tokio::spawn(async move {
                    if !play(stream, steps).await {
                        sender.send_modify(|counts| counts.1 += 1);
                    }
                });
            }
        });
        Self {
            address,
            seen,
            counts,
            task,
        }
    }

    /// Always this answer.
    pub(super) async fn answering(status: &str, fields: &str, body: &[u8]) -> Self {
        Self::start(vec![Step::Send(answer(status, fields, body))]).await
    }

    /// A good answer that says who gave it.
    pub(super) async fn good(name: &str) -> Self {
        let body = format!(r#"{{"status":"success","data":"{name}"}}"#);
        Self::answering(
            "200 OK",
            "content-type: application/json\r\n",
            body.as_bytes(),
        )
        .await
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Once so many requests have come.
    pub(super) async fn asked(&self, times: usize) {
        self.until(|(asked, _)| asked >= times).await;
    }

    /// Once so many have left before they had the whole answer.
    pub(super) async fn left(&self, times: usize) {
        self.until(|(_, left)| left >= times).await;
    }

    async fn until(&self, holds: impl Fn((usize, usize)) -> bool) {
        let mut counts = self.counts.clone();
        let wait = counts.wait_for(|counts| holds(*counts));
        timeout(Duration::from_secs(20), wait)
            .await
            .unwrap()
            .unwrap();
    }
}

/// A port where nobody listens. While this is held no other test is given it.
pub(super) struct Nobody {
    pub(super) address: SocketAddr,
    _held: TcpSocket,
}

pub(super) fn nobody() -> Nobody {
    let held = TcpSocket::new_v4().unwrap();
    held.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    Nobody {
        address: held.local_addr().unwrap(),
        _held: held,
    }
}

/// An answer with its length.
pub(super) fn answer(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A request, whole.
async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, value)| value.parse().unwrap());
        if bytes.len() >= end + 4 + length {
            return Some(Seen {
                line: head.lines().next().unwrap_or_default().to_owned(),
                body: bytes[end + 4..].to_vec(),
                head,
            });
        }
    }
}

/// Whether it came to the end.
async fn play(mut stream: TcpStream, steps: Vec<Step>) -> bool {
    for step in steps {
        let goes_on = match step {
            Step::Send(bytes) => stream.write_all(&bytes).await.is_ok(),
            Step::Wait(time) => tokio::select! {
                () = tokio::time::sleep(time) => true,
                _ = stream.read_u8() => false,
            },
            Step::Hang => {
                let _ = stream.read_u8().await;
                false
            }
        };
        if !goes_on {
            return false;
        }
    }
    stream.shutdown().await.is_ok()
}
