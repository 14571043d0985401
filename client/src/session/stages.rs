//! How far a tunnel is, as its session and whoever keeps it tell each other.

use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The stages of one tunnel. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Stages {
    standing: watch::Sender<Standing>,
    going_away: CancellationToken,
    succeeded: CancellationToken,
    leaving: CancellationToken,
    /// One more while the proxy routes to us by this tunnel.
    gauge: IntGauge,
}

/// Whether the proxy routes to us by a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    NotYet,
    Since(Instant),
    NoMore(Option<Instant>),
}

impl Stages {
    /// Of a tunnel that is told by `leaving` to end in good order.
    pub(crate) fn new(gauge: IntGauge, leaving: CancellationToken) -> Self {
        Self {
            standing: watch::Sender::new(Standing::NotYet),
            going_away: CancellationToken::new(),
            succeeded: CancellationToken::new(),
            leaving,
            gauge,
        }
    }

    /// The proxy routes to us from now on; false when that was known, or is over.
    pub(crate) fn accept(&self) -> bool {
        self.standing.send_if_modified(|standing| {
            let first = *standing == Standing::NotYet;
            if first {
                *standing = Standing::Since(Instant::now());
                self.gauge.inc();
            }
            first
        })
    }

    /// Waits until the proxy routes to us; for ever when it never does.
    pub(crate) async fn accepted(&self) {
        let mut standing = self.standing.subscribe();
        let is = |standing: &Standing| matches!(standing, Standing::Since(_));
        // We hold the sender: the channel does not close.
        let _ = standing.wait_for(is).await;
    }

    /// Since when it routed to us, if it ever did.
    pub(crate) fn accepted_at(&self) -> Option<Instant> {
        match *self.standing.borrow() {
            Standing::NotYet => None,
            Standing::Since(at) => Some(at),
            Standing::NoMore(at) => at,
        }
    }

    /// The tunnel has ended when what this gives is dropped.
    pub(super) fn end_on_drop(&self) -> Ended<'_> {
        Ended(self)
    }

    /// Cancelled when the proxy asks for the next tunnel.
    pub(crate) fn going_away(&self) -> &CancellationToken {
        &self.going_away
    }

    /// Cancelled when the next tunnel serves.
    pub(crate) fn succeeded(&self) -> &CancellationToken {
        &self.succeeded
    }

    /// Cancelled when the tunnel shall end: what is under way finishes.
    pub(crate) fn leaving(&self) -> &CancellationToken {
        &self.leaving
    }
}

/// Counts out, also when the session is dropped.
#[derive(Debug)]
pub(super) struct Ended<'a>(&'a Stages);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.standing.send_modify(|standing| {
            *standing = match *standing {
                Standing::Since(at) => {
                    self.0.gauge.dec();
                    Standing::NoMore(Some(at))
                }
                Standing::NotYet => Standing::NoMore(None),
                over => over,
            };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tunnel_counts_while_it_is_accepted_and_never_after_its_end() {
        let gauge = IntGauge::new("sessions", "Sessions.").unwrap();
        let stages = Stages::new(gauge.clone(), CancellationToken::new());
        assert_eq!((stages.accepted_at(), gauge.get()), (None, 0));
        let ended = stages.end_on_drop();
        assert!(stages.accept());
        stages.accepted().await;
        assert!(!stages.accept(), "told twice");
        assert_eq!(gauge.get(), 1);
        let since = stages.accepted_at();
        assert!(since.is_some());
        drop(ended);
        assert_eq!((stages.accepted_at(), gauge.get()), (since, 0));
        assert!(!stages.accept(), "told too late");
        assert_eq!(gauge.get(), 0);
    }
}
