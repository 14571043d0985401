//! One tunnel in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use adit_common::tunnel::goodbye::{End, Farewell, Goodbye};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::dial::Opened;
use crate::Client;
use crate::fetch::LONGEST_SCRAPE;
use crate::session::{self, Stages};

/// A tunnel, as its keeper sees it. It goes on when this is dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) stages: Stages,
    over: watch::Receiver<Option<Ended>>,
}

/// How it went.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) end: End,
    /// Since when the proxy had routed to us by it, if it ever did.
    pub(super) accepted: Option<Instant>,
}

impl Tunnel {
    /// Serves in it until it ends, or is told by `leaving` to. It gives its `slot` back then.
    pub(super) fn start(
        client: &Arc<Client>,
        proxy: &str,
        opened: Opened,
        leaving: CancellationToken,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        let gauge = client.metrics.sessions.with_label_values(&[proxy]);
        let stages = Stages::new(gauge, leaving);
        let (tell, over) = watch::channel(None);
        let serving = {
            let (client, stages) = (Arc::clone(client), stages.clone());
            let proxy = proxy.to_owned();
            async move {
                let end = serve(&client, &proxy, opened, &stages).await;
                drop(slot);
                let accepted = stages.accepted_at();
                tell.send_replace(Some(Ended { end, accepted }));
            }
        };
        client.stop.spawn(serving.in_current_span());
        Self { stages, over }
    }

    /// One that nobody serves, and whoever says that it is over.
    #[cfg(test)]
    pub(super) fn for_tests(stages: Stages) -> (Self, watch::Sender<Option<Ended>>) {
        let (tell, over) = watch::channel(None);
        (Self { stages, over }, tell)
    }

    /// How it went, when it is over.
    pub(super) async fn ended(&mut self) -> Ended {
        let over = self.over.wait_for(Option::is_some).await;
        // Without a word it was dropped, as all tasks are when the grace is over.
        over.ok().and_then(|ended| ended.clone()).unwrap_or(Ended {
            end: End::Lost("dropped".to_owned()),
            accepted: self.stages.accepted_at(),
        })
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.over.has_changed().is_err() || self.over.borrow().is_some()
    }
}

async fn serve(client: &Arc<Client>, proxy: &str, opened: Opened, stages: &Stages) -> End {
    let Opened { stream, ending } = opened;
    let serving = session::serve(client, proxy, stream, ending, stages);
    let end = tokio::select! {
        end = serving => end,
        () = enough(stages, client.grace) => {
            let words = "what was under way did not finish in time";
            End::Own(Goodbye::new(Farewell::GoingAway, words))
        }
    };
    let ended = &client.metrics.tunnels_ended;
    ended.with_label_values(&[proxy, end.as_str()]).inc();
    let meant = stages.going_away().is_cancelled() || stages.leaving().is_cancelled();
    if meant && !client.stop.draining().is_cancelled() {
        tracing::info!(reason = %end, "tunnel closed");
    }
    end
}

/// Over when the tunnel has been given all the time it may have. The proxy that asked for the next
/// one closes this when its work is done; if it does not, we do.
async fn enough(stages: &Stages, grace: Duration) {
    let last_scrape = async {
        stages.succeeded().cancelled().await;
        sleep(LONGEST_SCRAPE).await;
    };
    tokio::select! {
        () = last_scrape => stages.leaving().cancel(),
        () = stages.leaving().cancelled() => {}
    }
    sleep(grace).await;
}

#[cfg(test)]
mod tests {
    use prometheus::IntGauge;

    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn stages() -> Stages {
        let gauge = IntGauge::new("sessions", "Sessions.").unwrap();
        Stages::new(gauge, CancellationToken::new())
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_with_a_successor_has_five_minutes_and_then_the_grace() {
        let stages = stages();
        let enough = enough(&stages, GRACE);
        tokio::pin!(enough);
        let day = sleep(Duration::from_secs(86_400));
        tokio::select! {
            () = &mut enough => panic!("one without a successor has all the time"),
            () = day => {}
        }
        stages.succeeded().cancel();
        let start = Instant::now();
        tokio::select! {
            () = &mut enough => panic!("nobody told it to leave"),
            () = stages.leaving().cancelled() => {}
        }
        assert_eq!(start.elapsed(), LONGEST_SCRAPE);
        enough.await;
        assert_eq!(start.elapsed(), LONGEST_SCRAPE + GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_that_is_told_to_leave_has_the_grace() {
        let stages = stages();
        stages.leaving().cancel();
        let start = Instant::now();
        enough(&stages, GRACE).await;
        assert_eq!(start.elapsed(), GRACE);
    }
}
