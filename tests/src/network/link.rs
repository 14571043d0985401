//! One connection through the network: two ways, and what ends it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Way;
use super::carry::Carrying;
use super::lane::{Flow, Lane, State};
use crate::wait::{PATIENCE, within};

/// What a network does to a connection from its beginning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan {
    /// From who dialled.
    pub up: Lane,
    /// Back to them.
    pub down: Lane,
    /// After so long without a byte from either side it is cut.
    pub idle: Option<(Duration, Cut)>,
}

impl Plan {
    /// The same both ways.
    pub fn each_way(lane: Lane) -> Self {
        Self {
            up: lane,
            down: lane,
            idle: None,
        }
    }
}

/// How the network ends a connection, at both of its sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// As a balancer that closes in good order.
    Fin,
    /// As a router that forgot. A pipe in memory has no RST: it ends, and takes nothing more.
    Rst,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Both sides had said their end.
    Closed,
    /// One of them had gone without.
    Reset,
    /// The test cut it.
    Cut,
    /// It was idle for too long.
    Idle,
}

/// What a link runs over.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Makes the drop that follows an RST, where there is such a thing.
    fn end_by_reset(&self) {}
}

impl Wire for TcpStream {
    fn end_by_reset(&self) {
        // Fails only where the connection is gone already.
        let _ = self.set_zero_linger();
    }
}

impl Wire for DuplexStream {}

/// How long the two sides of a cut may still write, before they meet a closed socket: one that is
/// closed with bytes unread sends an RST, and overtakes its own FIN.
const LINGER: Duration = Duration::from_secs(1);

/// The switches of one connection. The connection lives in the future that [`link`] gives besides.
#[derive(Debug, Clone)]
pub struct Link {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ways: [watch::Sender<State>; 2],
    cut: watch::Sender<Option<Cut>>,
    ended: watch::Sender<Option<Ended>>,
    tally: Tally,
}

/// Makes a link between who dialled and who listened. It works while the future is polled; dropping
/// that closes both sides.
pub fn link(
    near: impl Wire,
    far: impl Wire,
    plan: Plan,
) -> (Link, impl Future<Output = ()> + Send) {
    let link = Link {
        inner: Arc::new(Inner {
            ways: [plan.up, plan.down].map(|lane| watch::Sender::new(State::new(lane))),
            cut: watch::Sender::new(None),
            ended: watch::Sender::new(None),
            tally: Tally::new(),
        }),
    };
    let running = link.clone().run(near, far, plan.idle);
    (link, running)
}

/// Two pipes of `size` bytes with a link between them, which runs in a task of its own until both
/// are dropped. The end that dials is the first.
pub fn pipes(size: usize, plan: Plan) -> (DuplexStream, DuplexStream, Link) {
    let (dialler, near) = tokio::io::duplex(size);
    let (far, listener) = tokio::io::duplex(size);
    let (link, running) = link(near, far, plan);
    tokio::spawn(running);
    (dialler, listener, link)
}

impl Link {
    /// Changes what these ways do from now on.
    pub fn change(&self, ways: &[Way], change: impl Fn(&mut Lane)) {
        self.each(ways, |state| change(&mut state.lane));
    }

    /// From now on nothing is read there, and nothing arrives: who writes is blocked before long.
    pub fn stall(&self, ways: &[Way]) {
        self.each(ways, |state| state.turn(Flow::Stalled));
    }

    /// Lets them go on where they had stalled.
    pub fn resume(&self, ways: &[Way]) {
        self.each(ways, |state| state.turn(Flow::Passing));
    }

    /// From now on and for good everything vanishes there, bytes and ends.
    pub fn swallow(&self, ways: &[Way]) {
        self.each(ways, |state| state.turn(Flow::Swallowing));
    }

    /// Says an end in the name of who sends there, behind what they have sent.
    pub fn half_close(&self, way: Way) {
        self.each(&[way], |state| state.turn(Flow::Ended));
    }

    /// Ends it at both sides, whatever its ways do.
    pub fn cut(&self, how: Cut) {
        self.inner.cut.send_replace(Some(how));
    }

    /// Bytes read from who sends there.
    pub fn taken(&self, way: Way) -> u64 {
        self.inner.tally.lock().ways[way.index()].taken
    }

    /// Bytes written to who receives there.
    pub fn passed(&self, way: Way) -> u64 {
        self.inner.tally.lock().ways[way.index()].passed
    }

    /// When the last byte was written there; when the link was made, while there was none.
    pub fn last_passed(&self, way: Way) -> Instant {
        self.inner.tally.lock().ways[way.index()].last_passed
    }

    /// How it ended, when it has.
    pub fn ended(&self) -> Option<Ended> {
        *self.inner.ended.borrow()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When there is none.
    pub async fn end(&self) -> Ended {
        let mut ended = self.inner.ended.subscribe();
        let ended = within(
            PATIENCE,
            "the end of a link",
            ended.wait_for(Option::is_some),
        )
        .await;
        // We hold the sender, and waited for one that is some.
        ended.ok().and_then(|ended| *ended).expect("an end")
    }

    pub(super) fn each(&self, ways: &[Way], change: impl Fn(&mut State)) {
        for way in ways {
            self.inner.ways[way.index()].send_modify(&change);
        }
    }

    async fn run(self, mut near: impl Wire, mut far: impl Wire, idle: Option<(Duration, Cut)>) {
        let (ended, how) = self.carry(&mut near, &mut far, idle).await;
        // Told before the sockets end: whoever sees that they did may ask.
        self.inner.ended.send_replace(Some(ended));
        match how {
            Some(Cut::Fin) => close(near, far).await,
            Some(Cut::Rst) => {
                near.end_by_reset();
                far.end_by_reset();
            }
            None => {}
        }
    }

    /// Both ways, until something ends them, and what the sides are told of it.
    async fn carry(
        &self,
        near: &mut impl Wire,
        far: &mut impl Wire,
        idle: Option<(Duration, Cut)>,
    ) -> (Ended, Option<Cut>) {
        let (near_read, near_write) = tokio::io::split(near);
        let (far_read, far_write) = tokio::io::split(far);
        let (near_gone, far_gone) = (CancellationToken::new(), CancellationToken::new());
        let (up_ended, down_ended) = (CancellationToken::new(), CancellationToken::new());
        let carrying = |way: Way| Carrying {
            way,
            state: self.inner.ways[way.index()].subscribe(),
            tally: &self.inner.tally,
            source_gone: if way == Way::Up {
                &near_gone
            } else {
                &far_gone
            },
            sink_gone: if way == Way::Up {
                &far_gone
            } else {
                &near_gone
            },
            ended: if way == Way::Up {
                &up_ended
            } else {
                &down_ended
            },
        };
        let both_ended = async {
            up_ended.cancelled().await;
            down_ended.cancelled().await;
        };
        let mut cut = self.inner.cut.subscribe();
        tokio::select! {
            how = cut.wait_for(Option::is_some) => {
                // We hold the sender.
                (Ended::Cut, how.ok().and_then(|how| *how))
            }
            how = self.idle(idle) => (Ended::Idle, Some(how)),
            () = both_ended => (Ended::Closed, None),
            _ = carrying(Way::Up).run(near_read, far_write) => (Ended::Reset, Some(Cut::Rst)),
            _ = carrying(Way::Down).run(far_read, near_write) => (Ended::Reset, Some(Cut::Rst)),
        }
    }

    /// Waits until it was idle for too long.
    async fn idle(&self, idle: Option<(Duration, Cut)>) -> Cut {
        let Some((limit, how)) = idle else {
            return std::future::pending().await;
        };
        loop {
            let due = self.inner.tally.lock().last_taken + limit;
            if due <= Instant::now() {
                return how;
            }
            sleep_until(due).await;
        }
    }
}

/// Says FIN to both sides, and hears them out for a moment.
async fn close(mut near: impl Wire, mut far: impl Wire) {
    // Who is gone needs no end.
    let _ = tokio::join!(near.shutdown(), far.shutdown());
    let _ = timeout(LINGER, async {
        tokio::join!(hear_out(&mut near), hear_out(&mut far));
    })
    .await;
}

async fn hear_out(side: &mut impl Wire) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = side.read(&mut buffer).await {}
}

/// What a link carried.
#[derive(Debug)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    ways: [Count; 2],
    last_taken: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    taken: u64,
    passed: u64,
    last_passed: Instant,
}

impl Tally {
    fn new() -> Self {
        let now = Instant::now();
        let count = Count {
            taken: 0,
            passed: 0,
            last_passed: now,
        };
        Self(Mutex::new(Counts {
            ways: [count; 2],
            last_taken: now,
        }))
    }

    pub(super) fn read(&self, way: Way, bytes: usize) {
        let mut counts = self.lock();
        counts.ways[way.index()].taken += bytes as u64;
        counts.last_taken = Instant::now();
    }

    pub(super) fn passed(&self, way: Way, bytes: usize) {
        let count = &mut self.lock().ways[way.index()];
        count.passed += bytes as u64;
        count.last_passed = Instant::now();
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
