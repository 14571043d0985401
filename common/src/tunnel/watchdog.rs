//! Our own liveness: any byte received counts, and nothing else does.
//!
//! hyper's keep-alive counts only the answer to its own ping, so that a busy slow link dies of
//! it, and it cannot fire while a GOAWAY waits to be written, so that a black-holed tunnel with
//! unsent data never dies (`rows` a and h). A clock beside the socket has neither fault.
//!
//! An end that only receives pings as well: the other would hear nothing from it, since the
//! answer to its own ping waits behind all it sends (`rows` h).

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How long a tunnel may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Liveness {
    /// A ping goes out after so long without a byte received, or without one sent. Default 15 s:
    /// below every idle timeout of the front proxies we know (30 s and up).
    pub ping_interval: Duration,
    /// The tunnel ends after so long without a byte received. Default 45 s: three pings.
    pub dead_after: Duration,
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(15),
            dead_after: Duration::from_secs(45),
        }
    }
}

/// A tunnel shall be able to end after a second of silence, and its ping have time to be answered.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(200);

/// Bounds of [`Liveness`] that were broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LivenessError {
    /// The interval is below the minimum.
    #[error("--tunnel.ping-interval: {0:?} is below the minimum of 200ms")]
    TooShort(Duration),
    /// No ping would ever have time to be answered.
    #[error(
        "--tunnel.dead-after: {dead_after:?} must be above --tunnel.ping-interval ({ping_interval:?})"
    )]
    NoTimeToAnswer {
        /// As given.
        ping_interval: Duration,
        /// As given.
        dead_after: Duration,
    },
}

impl Liveness {
    /// Checks both against each other.
    pub fn new(ping_interval: Duration, dead_after: Duration) -> Result<Self, LivenessError> {
        if ping_interval < SHORTEST_INTERVAL {
            return Err(LivenessError::TooShort(ping_interval));
        }
        if dead_after <= ping_interval {
            return Err(LivenessError::NoTimeToAnswer {
                ping_interval,
                dead_after,
            });
        }
        Ok(Self {
            ping_interval,
            dead_after,
        })
    }
}

/// What the clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to do; the task wakes when there is.
    Wait,
    /// Silent for long, one way or the other: send a ping.
    Ping,
    /// Silent for too long: end the tunnel.
    Dead,
}

/// The clock of one tunnel.
#[derive(Debug)]
pub struct Watchdog {
    liveness: Liveness,
    /// Bytes received when it was last looked at, and since when.
    received: u64,
    heard: Instant,
    /// The same for bytes sent.
    sent: u64,
    spoke: Instant,
    pinged: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Watchdog {
    /// Starts now.
    pub fn new(liveness: Liveness) -> Self {
        let now = Instant::now();
        Self {
            liveness,
            received: 0,
            heard: now,
            sent: 0,
            spoke: now,
            pinged: now,
            timer: Box::pin(sleep_until(now + liveness.ping_interval)),
        }
    }

    /// How long nothing may be received.
    pub fn dead_after(&self) -> Duration {
        self.liveness.dead_after
    }

    /// Says what to do, given the bytes received and sent so far. Called where an operation is
    /// pending, so that the task has a waker with the timer whatever it waits for.
    pub fn poll(&mut self, cx: &mut Context<'_>, received: u64, sent: u64) -> Verdict {
        if received != self.received {
            self.received = received;
            self.heard = Instant::now();
        }
        if sent != self.sent {
            self.sent = sent;
            self.spoke = Instant::now();
        }
        // The timer is not moved at every byte, only when it fires early: a busy tunnel resets it
        // four times a minute.
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let dead = self.heard + self.liveness.dead_after;
            if now >= dead {
                return Verdict::Dead;
            }
            let silent = self.heard.min(self.spoke);
            let ping = silent.max(self.pinged) + self.liveness.ping_interval;
            if now >= ping {
                self.pinged = now;
                let next = (now + self.liveness.ping_interval).min(dead);
                self.timer.as_mut().reset(next);
                return Verdict::Ping;
            }
            self.timer.as_mut().reset(ping.min(dead));
        }
        Verdict::Wait
    }

    /// As [`Self::poll`], as a future for tests.
    #[cfg(test)]
    async fn next(&mut self, received: u64, sent: u64) -> Verdict {
        std::future::poll_fn(|cx| match self.poll(cx, received, sent) {
            Verdict::Wait => std::task::Poll::Pending,
            verdict => std::task::Poll::Ready(verdict),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_pinged_twice_and_then_ends() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Liveness::default());
        for (verdict, at) in [
            (Verdict::Ping, 15),
            (Verdict::Ping, 30),
            (Verdict::Dead, 45),
        ] {
            assert_eq!(watchdog.next(0, 0).await, verdict);
            assert_eq!(start.elapsed().as_secs(), at);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn any_byte_puts_the_end_off() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Liveness::default());
        // Each ping is answered: one byte.
        for round in 0..20 {
            assert_eq!(watchdog.next(round, round).await, Verdict::Ping);
        }
        assert!(start.elapsed() >= seconds(300));
        assert_eq!(watchdog.next(20, 20).await, Verdict::Ping);
        assert_eq!(watchdog.next(20, 21).await, Verdict::Ping);
        assert_eq!(watchdog.next(20, 22).await, Verdict::Dead);
    }

    #[tokio::test(start_paused = true)]
    async fn who_only_listens_pings_too() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Liveness::default());
        let mut pings = Vec::new();
        for second in 1..=60 {
            let tick = tokio::time::timeout(seconds(1), watchdog.next(second, pings.len() as u64));
            if let Ok(verdict) = tick.await {
                assert_eq!(verdict, Verdict::Ping);
                pings.push(start.elapsed().as_secs());
            }
        }
        assert_eq!(pings, [15, 30, 45, 60]);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert!(Liveness::new(seconds(1), seconds(2)).is_ok());
        assert!(Liveness::new(Duration::from_millis(200), seconds(1)).is_ok());
        let error = Liveness::new(Duration::from_millis(199), seconds(2)).unwrap_err();
        assert!(
            error.to_string().contains("--tunnel.ping-interval"),
            "{error}"
        );
        let error = Liveness::new(seconds(15), seconds(15)).unwrap_err();
        assert!(error.to_string().contains("--tunnel.dead-after"), "{error}");
    }
}
