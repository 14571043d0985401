//! How long each phase of a connection may take.
//!
//! Shared by the socket, which keeps the time (`listener/patience.rs`), and by what is served on
//! it, which knows the phase.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Limits;

/// A scrape's own deadline comes first, so that its reason is told; this is for when that cannot
/// be sent either.
const AFTER_DEADLINE: Duration = Duration::from_secs(1);

/// The phase of one connection, shared by its socket and by what is served on it.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    state: Arc<Mutex<State>>,
    head_time: Duration,
    idle_time: Duration,
    page_time: Duration,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase has taken too long; never, for what keeps its own time.
    until: Option<Instant>,
    /// Where the body of the last request ends was said in two ways.
    ambiguous: bool,
    /// The answer broke off and its framing cannot say so: only a reset can.
    reset: bool,
    /// No request has come yet.
    fresh: bool,
    /// The answer takes longer than somebody between may wait in silence.
    interim: bool,
    /// Cancelled if the connection closes before its next request.
    on_close: Option<CancellationToken>,
    /// Dropped with the request that is served, or with what it was upgraded to.
    kept: Option<Guard>,
}

/// What is given back when it is dropped.
pub(crate) type Guard = Box<dyn std::fmt::Debug + Send>;

/// What bytes that were received are part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coming {
    /// A head, which begins with them.
    Head,
    /// The head that had begun.
    MoreOfIt,
    /// A body, or no HTTP.
    Else,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before the first byte of a request.
    Idle,
    /// Within a request's head.
    Head,
    /// From the head to the end of the answer.
    Serving,
    /// The same of a scrape, whose deadline it has.
    Scraping,
    /// The same of an answer without an end, such as events as they happen.
    Streaming,
    /// No longer HTTP.
    Upgraded,
}

impl Clock {
    /// A connection that was just accepted; its first byte is awaited as a head's next would be.
    pub(crate) fn start(limits: &Limits) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                phase: Phase::Idle,
                until: Some(Instant::now() + limits.head_time),
                ambiguous: false,
                reset: false,
                fresh: true,
                interim: false,
                on_close: None,
                kept: None,
            })),
            head_time: limits.head_time,
            idle_time: limits.idle_time,
            page_time: limits.page_time,
        }
    }

    /// A request's head is complete. Until the guard is dropped the connection is serving.
    pub(crate) fn serve(&self) -> Serving {
        self.enter(Phase::Serving, Some(Instant::now() + self.page_time));
        let mut state = self.lock();
        state.fresh = false;
        // Whoever asks again has read what was answered.
        state.on_close.take();
        drop(state);
        Serving(self.clone())
    }

    /// What is served is a scrape with a deadline of its own.
    pub(crate) fn extend(&self, deadline: Instant) {
        self.enter(Phase::Scraping, Some(deadline + AFTER_DEADLINE));
    }

    /// What is served may go on for ever, as long as somebody reads it: what waits to be read has the time
    /// of a page. Whoever is gone is found by the system's keep-alive.
    pub(crate) fn stream(&self) {
        self.enter(Phase::Streaming, None);
    }

    /// What follows is no HTTP, and keeps its own time.
    pub(crate) fn upgraded(&self) {
        self.enter(Phase::Upgraded, None);
    }

    /// Holds something until the request that comes next is answered, or, if it is upgraded, until
    /// the connection is closed.
    pub(crate) fn keep(&self, guard: Guard) {
        let last = self.lock().kept.replace(guard);
        drop(last);
    }

    /// The limit that the phase has run into, if that is one; and whether a request had begun that
    /// nothing was answered to.
    pub(crate) fn overrun(&self) -> (Option<&'static str>, bool) {
        let state = self.lock();
        match state.phase {
            Phase::Idle if state.fresh => (Some("head_time"), false),
            Phase::Idle => (Some("idle_time"), false),
            Phase::Head => (Some("head_time"), true),
            Phase::Serving => (Some("page_time"), false),
            Phase::Scraping | Phase::Streaming | Phase::Upgraded => (None, false),
        }
    }

    /// Whether somebody who does not read keeps nothing else from ending.
    pub(crate) fn is_endless(&self) -> bool {
        self.lock().phase == Phase::Streaming
    }

    /// Whether an answer of ours may be on its way.
    pub(crate) fn is_serving(&self) -> bool {
        let phase = self.lock().phase;
        !matches!(phase, Phase::Idle | Phase::Head)
    }

    /// How long a head may take.
    pub(crate) fn head_time(&self) -> Duration {
        self.head_time
    }

    /// How long an answer may wait to be read.
    pub(crate) fn page_time(&self) -> Duration {
        self.page_time
    }

    /// Closing shall be seen as a failure by a peer that takes the close for the end of the body.
    pub(crate) fn reset_on_close(&self) {
        self.lock().reset = true;
    }

    /// What was asked of [`Self::reset_on_close`] is off: all was said.
    pub(crate) fn close_well(&self) {
        self.lock().reset = false;
    }

    /// Whether [`Self::reset_on_close`] is asked for.
    pub(crate) fn resets(&self) -> bool {
        self.lock().reset
    }

    /// Whether no request has come by it yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.lock().fresh
    }

    /// Asks for an interim answer (102, RFC 2518 §10.1) to be written, between two polls of the
    /// socket by whoever calls this.
    pub(crate) fn interim(&self) {
        self.lock().interim = true;
    }

    /// Whether one was asked for since this was last called.
    pub(crate) fn takes_interim(&self) -> bool {
        std::mem::take(&mut self.lock().interim)
    }

    /// Cancelled when the connection closes before a further request came by it: then the answer
    /// that is sent now may not have arrived.
    pub(crate) fn watch_close(&self) -> CancellationToken {
        let token = CancellationToken::new();
        self.lock().on_close = Some(token.clone());
        token
    }

    /// The connection has closed.
    pub(crate) fn closed(&self) {
        let mut state = self.lock();
        let (on_close, kept) = (state.on_close.take(), state.kept.take());
        drop(state);
        drop(kept);
        if let Some(on_close) = on_close {
            on_close.cancel();
        }
    }

    fn enter(&self, phase: Phase, until: Option<Instant>) {
        let mut state = self.lock();
        if state.phase != Phase::Upgraded {
            state.phase = phase;
            state.until = until;
        }
    }

    /// The socket has received something; says of what.
    pub(crate) fn first_byte(&self) -> Coming {
        let mut state = self.lock();
        match state.phase {
            Phase::Idle => {
                state.phase = Phase::Head;
                state.until = Some(Instant::now() + self.head_time);
                state.ambiguous = false;
                Coming::Head
            }
            Phase::Head => Coming::MoreOfIt,
            Phase::Serving | Phase::Scraping | Phase::Streaming | Phase::Upgraded => Coming::Else,
        }
    }

    /// The head that is coming says in two ways where its body ends.
    pub(crate) fn ambiguous(&self) {
        self.lock().ambiguous = true;
    }

    /// Whether the last head did; once.
    pub(crate) fn takes_ambiguous(&self) -> bool {
        std::mem::take(&mut self.lock().ambiguous)
    }

    /// When the phase will have taken too long, if it can.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.lock().until
    }

    /// Held for a few instructions and by one task nearly always.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something is being served; dropped when it is done.
#[derive(Debug)]
pub(crate) struct Serving(Clock);

impl Serving {
    /// As [`Clock::reset_on_close`].
    pub(crate) fn reset_on_close(&self) {
        self.0.reset_on_close();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let until = Instant::now() + self.0.idle_time;
        let mut state = self.0.lock();
        let over = state.phase != Phase::Upgraded;
        let kept = if over { state.kept.take() } else { None };
        drop(state);
        drop(kept);
        self.0.enter(Phase::Idle, Some(until));
    }
}
