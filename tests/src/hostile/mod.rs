//! A client that was let in, and answers with frames no library would write.
//!
//! It speaks HTTP/2 by hand: [`frames`] is what it may say. Its registration and the proxy's word that
//! it is accepted are the first two streams; every later one is a scrape.

pub mod frames;

use std::net::SocketAddr;
use std::sync::Arc;

use adit_common::tunnel::stream::TunnelStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::tunnel::FakeClient;
use crate::wait::{PATIENCE, within};
use frames::Say;

/// A client of that kind. Dropping it cuts its tunnel.
#[derive(Debug)]
pub struct HostileClient {
    accepted: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

/// What it says to each scrape, by its number from zero.
type Script = Arc<dyn Fn(usize) -> Vec<Say> + Send + Sync>;

const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;

impl HostileClient {
    /// Registers with this line, and answers as `script` says.
    pub async fn register(
        proxy: SocketAddr,
        fields: &[&str],
        line: &str,
        script: impl Fn(usize) -> Vec<Say> + Send + Sync + 'static,
    ) -> Self {
        let stream = FakeClient::raw_with(proxy, fields).await;
        let (accept, accepted) = watch::channel(false);
        let line = format!("{line}\n");
        let task = tokio::spawn(async move {
            // The proxy ends the tunnel for what it says, or the test does.
            let _ = serve(stream, &line, Arc::new(script), accept).await;
        });
        Self { accepted, task }
    }

    /// Waits until the proxy routes to it.
    ///
    /// # Panics
    /// When it never does.
    pub async fn accepted(&self) {
        let mut accepted = self.accepted.clone();
        let waiting = accepted.wait_for(|is| *is);
        let waited = within(PATIENCE, "a hostile client is accepted", waiting).await;
        assert!(waited.is_ok(), "its tunnel ended");
    }
}

impl Drop for HostileClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TunnelStream<TcpStream>,
    line: &str,
    script: Script,
    accept: watch::Sender<bool>,
) -> std::io::Result<()> {
    stream.read_exact(&mut [0; PREFACE]).await?;
    stream
        .write_all(&frames::frame(SETTINGS, 0, 0, &[]))
        .await?;
    stream.flush().await?;
    let mut scrapes = 0;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, d, e, f, g] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let id = u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff;
        let mut payload = vec![0; usize::try_from(length).unwrap_or(0)];
        stream.read_exact(&mut payload).await?;
        let said = match (kind, id) {
            (SETTINGS, _) if flags & ACK == 0 => frames::frame(SETTINGS, ACK, 0, &[]),
            (PING, _) if flags & ACK == 0 => frames::frame(PING, ACK, 0, &payload),
            (HEADERS, 1) => frames::all(id, &[Say::ok(), Say::data(line)]),
            (HEADERS, 3) => {
                accept.send_replace(true);
                frames::all(id, &[Say::end_with(&[(":status", "200")])])
            }
            (HEADERS, _) => {
                scrapes += 1;
                frames::all(id, &script(scrapes - 1))
            }
            _ => continue,
        };
        stream.write_all(&said).await?;
        stream.flush().await?;
    }
}
