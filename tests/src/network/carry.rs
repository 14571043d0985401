//! One way: read, held for as long as its lane says, and written.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Way;
use super::lane::{self, Flow, Lane, State};
use super::link::Tally;

/// Bytes that are read at once.
const CHUNK: u32 = 16 * 1024;
/// Chunks of one byte each would be more memory than the buffer says.
const CHUNKS: usize = 4096;
/// A lane with a rate hands on what it carries in so long.
const TICK: Duration = Duration::from_millis(20);
/// A timer that fired late is made up for; a pause of the sender is not.
const LATE: Duration = Duration::from_millis(100);

/// One way of a link.
pub(super) struct Carrying<'a> {
    pub(super) way: Way,
    pub(super) state: watch::Receiver<State>,
    pub(super) tally: &'a Tally,
    /// Whoever is read from is gone without an end: who writes the other way found out.
    pub(super) source_gone: &'a CancellationToken,
    /// Whoever is written to is.
    pub(super) sink_gone: &'a CancellationToken,
    /// The end has been handed on.
    pub(super) ended: &'a CancellationToken,
}

/// What is under way, and when it arrives.
struct Parcel {
    due: Instant,
    load: Load,
}

enum Load {
    Bytes(BytesMut, OwnedSemaphorePermit),
    Fin,
    Reset,
}

impl Carrying<'_> {
    /// Carries until an RST arrives at the other side. A clean end is noted, and an RST may still
    /// come behind it.
    pub(super) async fn run(
        self,
        from: impl AsyncRead + Unpin,
        to: impl AsyncWrite + Unpin,
    ) -> Reset {
        let (sender, parcels) = mpsc::channel(CHUNKS);
        let sending = async {
            self.read(from, sender).await;
            std::future::pending::<Reset>().await
        };
        tokio::select! {
            never = sending => never,
            reset = self.write(to, parcels) => reset,
        }
    }

    async fn read(&self, mut from: impl AsyncRead + Unpin, parcels: mpsc::Sender<Parcel>) {
        let mut state = self.state.clone();
        let buffer = state.borrow().lane.buffer.max(CHUNK as usize);
        let room = std::sync::Arc::new(Semaphore::new(buffer));
        let mut finished = false;
        loop {
            // Never closed.
            let taken = room.clone().acquire_many_owned(CHUNK).await;
            let mut taken = taken.expect("an open semaphore");
            let State { lane, flow } = *state.borrow_and_update();
            let mut bytes = BytesMut::with_capacity(CHUNK as usize);
            let load = tokio::select! {
                biased;
                () = self.source_gone.cancelled() => Load::Reset,
                // The link holds the sender.
                _ = state.changed() => continue,
                () = std::future::ready(()), if flow == Flow::Ended && !finished => Load::Fin,
                read = from.read_buf(&mut bytes), if reads(flow) && !finished => match read {
                    Ok(0) => Load::Fin,
                    Ok(n) => {
                        self.tally.read(self.way, n);
                        let excess = taken.split(CHUNK as usize - n);
                        drop(excess);
                        Load::Bytes(bytes, taken)
                    }
                    Err(_) => Load::Reset,
                },
            };
            finished |= matches!(load, Load::Fin);
            let last = matches!(load, Load::Reset);
            if flow == Flow::Swallowing {
                if last {
                    return;
                }
                continue;
            }
            let due = Instant::now() + lane.delay;
            if parcels.send(Parcel { due, load }).await.is_err() || last {
                return;
            }
        }
    }

    async fn write(
        &self,
        mut to: impl AsyncWrite + Unpin,
        mut parcels: mpsc::Receiver<Parcel>,
    ) -> Reset {
        let mut state = self.state.clone();
        let mut pace = Pace(Instant::now());
        let mut next = None;
        loop {
            let parcel = match next.take() {
                Some(parcel) => parcel,
                None => match parcels.recv().await {
                    Some(parcel) => parcel,
                    // What was swallowed ended in it.
                    None => std::future::pending().await,
                },
            };
            sleep_until(parcel.due).await;
            match parcel.load {
                Load::Bytes(mut bytes, mut taken) => {
                    let gather = state.borrow().lane.gather;
                    if !gather.is_zero() {
                        next = join(&mut bytes, &mut taken, &mut parcels, gather).await;
                    }
                    self.put(&mut to, &mut state, bytes, &mut pace).await;
                    drop(taken);
                }
                Load::Fin => {
                    if lane::open(&mut state).await.is_some() {
                        if to.shutdown().await.is_err() {
                            self.sink_gone.cancel();
                        }
                        self.ended.cancel();
                    }
                }
                Load::Reset => {
                    if lane::open(&mut state).await.is_some() {
                        return Reset;
                    }
                }
            }
        }
    }

    /// Writes as the lane says from piece to piece. What cannot be written any more is dropped.
    async fn put(
        &self,
        to: &mut (impl AsyncWrite + Unpin),
        state: &mut watch::Receiver<State>,
        mut bytes: BytesMut,
        pace: &mut Pace,
    ) {
        while !bytes.is_empty() {
            let Some(lane) = lane::open(state).await else {
                return;
            };
            let piece = bytes.split_to(bytes.len().min(largest(&lane)));
            pace.wait(&lane, piece.len()).await;
            // It may have stalled meanwhile.
            if lane::open(state).await.is_none() {
                return;
            }
            if to.write_all(&piece).await.is_err() || to.flush().await.is_err() {
                self.sink_gone.cancel();
                return;
            }
            self.tally.passed(self.way, piece.len());
            if !lane.pause.is_zero() {
                sleep(lane.pause).await;
            }
        }
    }
}

/// That an RST has arrived.
#[derive(Debug)]
pub(super) struct Reset;

fn reads(flow: Flow) -> bool {
    matches!(flow, Flow::Passing | Flow::Swallowing)
}

/// What comes until the gathering is over becomes part of `bytes`; an end does not wait.
async fn join(
    bytes: &mut BytesMut,
    taken: &mut OwnedSemaphorePermit,
    parcels: &mut mpsc::Receiver<Parcel>,
    gather: Duration,
) -> Option<Parcel> {
    let end = Instant::now() + gather;
    while let Ok(Some(parcel)) = timeout_at(end, parcels.recv()).await {
        match parcel.load {
            Load::Bytes(more, permit) => {
                bytes.extend_from_slice(&more);
                taken.merge(permit);
            }
            Load::Fin | Load::Reset => return Some(parcel),
        }
    }
    None
}

/// Bytes of one write.
fn largest(lane: &Lane) -> usize {
    let tick = lane.rate.map_or(usize::MAX, |rate| {
        let bytes = f64::from(rate) * TICK.as_secs_f64();
        // A positive number below 2^32.
        bytes as usize
    });
    lane.piece.min(tick).max(1)
}

/// When the wire has sent what was handed to it.
struct Pace(Instant);

impl Pace {
    async fn wait(&mut self, lane: &Lane, bytes: usize) {
        let Some(rate) = lane.rate else { return };
        let now = Instant::now();
        if now > self.0 + LATE {
            self.0 = now;
        }
        self.0 += Duration::from_secs(1).mul_f64(bytes as f64 / f64::from(rate));
        sleep_until(self.0).await;
    }
}
