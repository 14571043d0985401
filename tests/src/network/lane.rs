//! What one way of a link does to the bytes on it.

use std::time::Duration;

use tokio::sync::watch;

/// How bytes travel while they do. The default hands them on at once and as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// How long a byte is under way; it does not slow the others.
    pub delay: Duration,
    /// Bytes a second at most.
    pub rate: Option<u32>,
    /// Bytes handed on in one write at most.
    pub piece: usize,
    /// Nothing is written for so long after each write.
    pub pause: Duration,
    /// What comes within so long of the first byte leaves in one write.
    pub gather: Duration,
    /// Bytes under way at most; then nothing more is read. A connection keeps what it had when it
    /// was made.
    pub buffer: usize,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            rate: None,
            piece: usize::MAX,
            pause: Duration::ZERO,
            gather: Duration::ZERO,
            // A long fat pipe: what 320 MB/s have under way in 50 ms.
            buffer: 16 << 20,
        }
    }
}

impl Lane {
    /// Each byte takes so long, whatever their number.
    pub fn delayed(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    /// So many bytes a second, and a router's worth of them queued before it.
    pub fn at_rate(rate: u32) -> Self {
        Self {
            rate: Some(rate),
            buffer: 64 * 1024,
            ..Self::default()
        }
    }

    /// Pieces of at most so many bytes, with a pause after each.
    pub fn in_pieces(piece: usize, pause: Duration) -> Self {
        Self {
            piece,
            pause,
            ..Self::default()
        }
    }

    /// Joins what comes within so long.
    pub fn gathering(gather: Duration) -> Self {
        Self {
            gather,
            ..Self::default()
        }
    }
}

/// Whether bytes travel at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Passing,
    /// Nothing is read and nothing written.
    Stalled,
    /// Everything is read and nothing written, for good.
    Swallowing,
    /// An end was said in the source's name; it is not listened to any more.
    Ended,
}

/// A way as it is now.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub(super) lane: Lane,
    pub(super) flow: Flow,
}

impl State {
    pub(super) fn new(lane: Lane) -> Self {
        Self {
            lane,
            flow: Flow::Passing,
        }
    }

    /// What was swallowed, or ended, does not come back.
    pub(super) fn turn(&mut self, flow: Flow) {
        match self.flow {
            Flow::Passing | Flow::Stalled => self.flow = flow,
            Flow::Ended if flow == Flow::Swallowing => self.flow = flow,
            Flow::Ended | Flow::Swallowing => {}
        }
    }
}

/// A way as soon as something may be written; `None` when nothing ever will.
pub(super) async fn open(state: &mut watch::Receiver<State>) -> Option<Lane> {
    let state = state.wait_for(|state| state.flow != Flow::Stalled).await;
    // Without a sender the link is gone, and all of it with it.
    let state = *state.ok()?;
    (state.flow != Flow::Swallowing).then_some(state.lane)
}
