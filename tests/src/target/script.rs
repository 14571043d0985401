//! What a target does with a request.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::journal::Request;

/// What is done for each request. When the steps are through, the connection is closed cleanly.
pub trait Script: Send + Sync + 'static {
    /// The steps for this request.
    fn steps(&self, request: &Request) -> Vec<Step>;
}

impl<F: Fn(&Request) -> Vec<Step> + Send + Sync + 'static> Script for F {
    fn steps(&self, request: &Request) -> Vec<Step> {
        self(request)
    }
}

/// Always the same steps.
impl Script for Vec<Step> {
    fn steps(&self, _: &Request) -> Vec<Step> {
        self.clone()
    }
}

/// One thing to do.
#[derive(Debug, Clone)]
pub enum Step {
    /// These bytes, in one write.
    Send(Bytes),
    /// These bytes, one by one, with a pause before each.
    Trickle(Bytes, Duration),
    /// So many bytes, 64 KiB a write, as fast as they are taken.
    Flood(u64),
    /// Nothing for so long.
    Pause(Duration),
    /// Nothing until the test opens the gate.
    Wait(Gate),
    /// What the test hands in, as it does, and what it handed in before.
    Feed(Feed),
    /// Nothing until the peer leaves.
    Stall,
    /// The end by RST: a process that was killed with bytes unread, or a router that forgot.
    Reset,
    /// The connection stays, for another request.
    Next,
}

impl Step {
    /// Bytes from text.
    pub fn send(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Send(bytes.into().into())
    }
}

/// Bytes that a test hands in while scripts are played. Clones are the same feed.
#[derive(Debug, Clone)]
pub struct Feed(watch::Sender<(Vec<Bytes>, bool)>);

impl Feed {
    /// One with nothing in it.
    pub fn new() -> Self {
        Self(watch::Sender::new((Vec::new(), false)))
    }

    /// These bytes go out to everyone who is fed, in one write each.
    pub fn give(&self, bytes: impl Into<Vec<u8>>) {
        let bytes = Bytes::from(bytes.into());
        self.0.send_modify(|(pieces, _)| pieces.push(bytes));
    }

    /// Nothing more comes: scripts go on behind it.
    pub fn end(&self) {
        self.0.send_modify(|(_, ended)| *ended = true);
    }

    /// The piece of that number, when it is there; nothing when none will be.
    pub async fn piece(&self, n: usize) -> Option<Bytes> {
        let mut pieces = self.0.subscribe();
        let there = pieces
            .wait_for(|(pieces, ended)| n < pieces.len() || *ended)
            .await;
        // The sender is ours, so that it cannot be gone.
        there.ok()?.0.get(n).cloned()
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

/// Holds a script until the test opens it; for good.
#[derive(Clone, Default)]
pub struct Gate(CancellationToken);

impl Gate {
    /// Lets everyone through.
    pub fn open(&self) {
        self.0.cancel();
    }

    /// Waits until it is open.
    pub async fn opened(&self) {
        self.0.cancelled().await;
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_cancelled() {
            "open"
        } else {
            "shut"
        })
    }
}
