//! The tunnels to one proxy, one after the other.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use adit_common::backoff::Backoff;
use adit_common::tunnel::goodbye::{End, Farewell};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::dial;
use super::tunnel::{Ended, Tunnel};
use super::upgrade::Unopened;
use crate::Client;
use crate::config::ProxyUrl;
use crate::settings::Settings;

/// Before dialling again a proxy that told us not to: it does not let us in, another instance has
/// our name, or what we offer is not understood. None of them changes soon.
const REFUSED_WAIT: Duration = Duration::from_secs(300);
/// Whoever changed the configuration waits for what comes of it; not all clients in one instant.
const AFTER_RELOAD: Duration = Duration::from_secs(1);

/// Keeps a tunnel to one proxy.
#[derive(Debug)]
pub(super) struct Keeper {
    client: Arc<Client>,
    proxy: ProxyUrl,
    /// The proxy in metrics.
    label: String,
    leaving: CancellationToken,
    slots: Arc<Semaphore>,
    settings: watch::Receiver<Arc<Settings>>,
    backoff: Backoff,
    /// The newest is the last. Those before it were asked to go.
    tunnels: Vec<Tunnel>,
}

impl Keeper {
    /// Until `leaving`, with a permit of `slots` for each tunnel.
    pub(super) fn new(
        client: Arc<Client>,
        proxy: ProxyUrl,
        leaving: CancellationToken,
        slots: Arc<Semaphore>,
    ) -> Self {
        Self {
            settings: client.settings.subscribe(),
            client,
            label: proxy.to_string(),
            proxy,
            leaving,
            slots,
            backoff: Backoff::default(),
            tunnels: Vec::new(),
        }
    }

    /// Dials for the first time after `first`; returns when all tunnels have ended.
    pub(super) async fn run(mut self, first: Duration) {
        let leaving = self.leaving.clone();
        let keeping = async {
            let mut wait = first;
            loop {
                self.pause(wait).await;
                wait = match self.open().await {
                    Ok(tunnel) => self.attend(tunnel).await,
                    Err(why) => self.unopened(&why),
                };
            }
        };
        // Every step may be dropped where it waits.
        let _: Option<Infallible> = leaving.run_until_cancelled(keeping).await;
        for tunnel in &mut self.tunnels {
            tunnel.ended().await;
        }
    }

    /// Waits, or less when there is a new configuration.
    async fn pause(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        tokio::select! {
            () = sleep_until(until) => {}
            // The client holds the sender.
            Ok(()) = self.settings.changed() => {
                let soon = Instant::now() + AFTER_RELOAD.mul_f64(fastrand::f64());
                sleep_until(until.min(soon)).await;
            }
        }
    }

    async fn open(&mut self) -> Result<Tunnel, Unopened> {
        self.tunnels.retain(|tunnel| !tunnel.is_over());
        if let [first, _, ..] = &self.tunnels[..] {
            // Two that were asked to go: the older one makes room for the next.
            first.stages.leaving().cancel();
        }
        // The semaphore is never closed.
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(Unopened::failed)?;
        // What comes from now on is news to this dial.
        self.settings.mark_unchanged();
        let opened = dial::open(&self.client, &self.proxy).await;
        let result = if opened.is_ok() { "ok" } else { "failed" };
        let dials = &self.client.metrics.dials;
        dials.with_label_values(&[&*self.label, result]).inc();
        let leaving = self.leaving.child_token();
        Ok(Tunnel::start(
            &self.client,
            &self.label,
            opened?,
            leaving,
            slot,
        ))
    }

    /// Until the tunnel has ended or the proxy asks for the next; gives the wait before that. Once
    /// it is accepted the ones before it have had their time.
    async fn attend(&mut self, tunnel: Tunnel) -> Duration {
        let stages = tunnel.stages.clone();
        let count = self.tunnels.len();
        self.tunnels.push(tunnel);
        let (before, newest) = self.tunnels.split_at_mut(count);
        let succeeding = async {
            stages.accepted().await;
            for tunnel in before.iter() {
                tunnel.stages.succeeded().cancel();
            }
            std::future::pending::<Infallible>().await
        };
        let ended = tokio::select! {
            biased;
            () = stages.going_away().cancelled() => None,
            ended = newest[0].ended() => Some(ended),
            never = succeeding => match never {},
        };
        self.settings.mark_unchanged();
        match ended {
            Some(ended) => self.lost(&ended),
            None => {
                self.client
                    .metrics
                    .moves
                    .with_label_values(&[&*self.label])
                    .inc();
                self.backoff.sent_away(stages.accepted_at());
                let wait = self.backoff.next_wait();
                let dial_in = round(wait);
                tracing::info!(?dial_in, "the proxy asks for the next tunnel");
                wait
            }
        }
    }

    fn lost(&mut self, ended: &Ended) -> Duration {
        let reason = &ended.end;
        let wait = wait_after(ended, &mut self.backoff);
        let retry_in = round(wait);
        match sends_away(reason) {
            true => tracing::info!(%reason, ?retry_in, "tunnel ended"),
            false => tracing::warn!(%reason, ?retry_in, "tunnel ended"),
        }
        wait
    }

    fn unopened(&mut self, why: &Unopened) -> Duration {
        match why {
            Unopened::Denied { status, reason } => {
                let wait = refused_wait();
                let (status, retry_in) = (status.as_u16(), round(wait));
                tracing::warn!(status, reason, ?retry_in, "the proxy does not let us in");
                wait
            }
            Unopened::Failed(why) => {
                let wait = self.backoff.next_wait();
                let retry_in = round(wait);
                // While a proxy restarts its successor is not there at once.
                match self.tunnels.iter().any(|tunnel| !tunnel.is_over()) {
                    true => tracing::info!(err = %why, ?retry_in, "no next tunnel yet"),
                    false => tracing::warn!(err = %why, ?retry_in, "no tunnel"),
                }
                wait
            }
        }
    }
}

fn wait_after(ended: &Ended, backoff: &mut Backoff) -> Duration {
    if let End::Peer(goodbye) = &ended.end
        && goodbye.farewell.is_final()
    {
        return refused_wait();
    }
    match sends_away(&ended.end) {
        true => backoff.sent_away(ended.accepted),
        false => backoff.ended(ended.accepted),
    }
    backoff.next_wait()
}

/// Closed in good order, which is no failure: told to come back, or told nothing. The codes are of
/// a normal closure, of none given, and of a service that restarts (RFC 6455 §7.4.1 and IANA's list).
fn sends_away(end: &End) -> bool {
    let End::Peer(goodbye) = end else {
        return false;
    };
    matches!(
        goodbye.farewell,
        Farewell::GoingAway | Farewell::Other(1000 | 1005 | 1012)
    )
}

/// Five minutes, a fifth more or less.
fn refused_wait() -> Duration {
    REFUSED_WAIT.mul_f64(0.8 + 0.4 * fastrand::f64())
}

/// For a log line.
fn round(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use adit_common::tunnel::goodbye::Goodbye;

    use super::*;
    use crate::session::Stages;

    fn said(farewell: Farewell) -> End {
        End::Peer(Goodbye::new(farewell, "words"))
    }

    #[tokio::test(start_paused = true)]
    async fn how_soon_is_dialled_again_after_each_end() {
        let second = Duration::from_secs(1);
        for (end, range) in [
            (said(Farewell::GoingAway), Duration::ZERO..second),
            (End::Lost("reset".into()), Duration::ZERO..second),
            (End::Silent(second), Duration::ZERO..second),
            (said(Farewell::Other(1011)), Duration::ZERO..second),
            (said(Farewell::Replaced), 240 * second..361 * second),
            (said(Farewell::BadRegistration), 240 * second..361 * second),
        ] {
            let accepted = Instant::now();
            tokio::time::advance(31 * second).await;
            for _ in 0..20 {
                let mut backoff = Backoff::default();
                for _ in 0..10 {
                    backoff.next_wait();
                }
                let ended = Ended {
                    end: end.clone(),
                    accepted: Some(accepted),
                };
                let wait = wait_after(&ended, &mut backoff);
                assert!(range.contains(&wait), "{end}: {wait:?}");
            }
        }
    }

    fn keeper() -> Keeper {
        let args = ["--proxy-url=http://proxy", "--target=pi:9100"];
        let config = crate::Config::from_args(args).unwrap();
        let proxy = config.proxies[0].clone();
        let (client, _) = Client::new(config).unwrap();
        let slots = Arc::new(Semaphore::new(2));
        Keeper::new(client, proxy, CancellationToken::new(), slots)
    }

    fn stages() -> Stages {
        let gauge = prometheus::IntGauge::new("sessions", "Sessions.").unwrap();
        Stages::new(gauge, CancellationToken::new())
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_is_succeeded_when_the_next_is_accepted_and_not_before() {
        let mut keeper = keeper();
        let (old, new) = (stages(), stages());
        let (tunnel, _old_end) = Tunnel::for_tests(old.clone());
        old.accept();
        old.going_away().cancel();
        assert!(keeper.attend(tunnel).await <= Duration::from_secs(1));
        let (tunnel, new_end) = Tunnel::for_tests(new.clone());
        {
            let attending = keeper.attend(tunnel);
            tokio::pin!(attending);
            let mut while_attending = async |time| {
                let never = tokio::time::timeout(time, &mut attending).await;
                assert!(never.is_err(), "it serves on: {never:?}");
            };
            while_attending(Duration::from_secs(3600)).await;
            assert!(!old.succeeded().is_cancelled(), "the next may never be");
            new.accept();
            while_attending(Duration::from_secs(1)).await;
            assert!(old.succeeded().is_cancelled());
            assert!(!new.succeeded().is_cancelled());
            let end = End::Silent(Duration::from_secs(45));
            let accepted = new.accepted_at();
            new_end.send_replace(Some(Ended { end, accepted }));
            attending.await;
        }
        assert_eq!(
            keeper
                .client
                .metrics
                .moves
                .with_label_values(&["http://proxy"])
                .get(),
            1
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_early_when_the_configuration_changes() {
        let mut keeper = keeper();
        let start = Instant::now();
        keeper.pause(REFUSED_WAIT).await;
        assert_eq!(start.elapsed(), REFUSED_WAIT);
        let start = Instant::now();
        keeper.client.settings.send_modify(|_| {});
        keeper.pause(REFUSED_WAIT).await;
        assert!(start.elapsed() <= AFTER_RELOAD, "{:?}", start.elapsed());
        // It does not lengthen one either.
        let start = Instant::now();
        keeper.client.settings.send_modify(|_| {});
        keeper.pause(Duration::ZERO).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[test]
    fn one_that_is_not_let_in_waits_about_five_minutes() {
        let waits: Vec<u64> = (0..1000).map(|_| refused_wait().as_secs()).collect();
        assert!(waits.iter().all(|wait| (240..=360).contains(wait)));
        assert!(waits.iter().any(|wait| *wait < 270) && waits.iter().any(|wait| *wait > 330));
    }
}
