//! The tunnels to one proxy, one after the other.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use adit_common::backoff::Backoff;
use adit_common::tunnel::goodbye::{End, Farewell};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::dial;
use super::tunnel::{Ended, Tunnel};
use super::upgrade::{By, Unopened};
use crate::Client;
use crate::config::ProxyUrl;
use crate::identity::Identity;
use crate::settings::Settings;

/// Before dialling again a proxy that told us not to: it does not let us in, another instance has
/// our name, or what we offer is not understood. None of them changes soon.
const REFUSED_WAIT: Duration = Duration::from_secs(300);
/// Whoever changed the configuration waits for what comes of it; not all clients in one instant.
const AFTER_RELOAD: Duration = Duration::from_secs(1);

/// How long until the next dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait {
    time: Duration,
    /// We were not let in: other secrets may change that, and end the wait.
    denied: bool,
}

impl From<Duration> for Wait {
    fn from(time: Duration) -> Self {
        let denied = false;
        Self { time, denied }
    }
}

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
    /// What the last dial showed.
    shown: Option<Arc<Identity>>,
    /// Why we were not let in the last time, if it has been said.
    denied: Option<String>,
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
            shown: None,
            denied: None,
            tunnels: Vec::new(),
        }
    }

    /// Dials for the first time after `first`; returns when all tunnels have ended.
    pub(super) async fn run(mut self, first: Duration) {
        let leaving = self.leaving.clone();
        let keeping = async {
            let mut wait = Wait::from(first);
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

    /// Waits, or less when there is a new configuration or, for who was not let in, another secret.
    async fn pause(&mut self, wait: Wait) {
        let until = Instant::now() + wait.time;
        let client = Arc::clone(&self.client);
        let settings = client.settings();
        let other_secret = async {
            match &self.shown {
                Some(shown) if wait.denied => settings.identities.changed(shown).await,
                _ => pending().await,
            }
        };
        tokio::select! {
            () = sleep_until(until) => return,
            // The client holds the sender.
            Ok(()) = self.settings.changed() => {}
            () = other_secret => {}
        }
        // What comes of it is news.
        self.denied = None;
        let soon = Instant::now() + AFTER_RELOAD.mul_f64(fastrand::f64());
        sleep_until(until.min(soon)).await;
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
        let identity = self.client.settings().identities.fresh().await;
        let opened = dial::open(&self.client, &self.proxy, &identity).await;
        self.shown = Some(identity);
        let result = opened.as_ref().map_or_else(Unopened::as_str, |_| "ok");
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
    async fn attend(&mut self, tunnel: Tunnel) -> Wait {
        let stages = tunnel.stages.clone();
        let count = self.tunnels.len();
        self.tunnels.push(tunnel);
        let (before, newest) = self.tunnels.split_at_mut(count);
        let (denied, troubles) = (&mut self.denied, &self.client.troubles);
        let label = &self.label;
        let succeeding = async {
            stages.accepted().await;
            *denied = None;
            troubles.clear(label);
            for tunnel in before.iter() {
                tunnel.stages.succeeded().cancel();
            }
            pending::<Infallible>().await
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
                wait.into()
            }
        }
    }

    fn lost(&mut self, ended: &Ended) -> Wait {
        let reason = &ended.end;
        self.client.troubles.set(&self.label, reason);
        let wait = wait_after(ended, &mut self.backoff);
        if let End::Peer(goodbye) = reason
            && goodbye.farewell == Farewell::Denied
        {
            return self.not_let_in(None, &goodbye.reason, wait);
        }
        let retry_in = round(wait);
        match sends_away(reason) {
            true => tracing::info!(%reason, ?retry_in, "tunnel ended"),
            false => tracing::warn!(%reason, ?retry_in, "tunnel ended"),
        }
        wait.into()
    }

    fn unopened(&mut self, why: &Unopened) -> Wait {
        self.client.troubles.set(&self.label, why);
        let wait = match why {
            Unopened::Denied { by, status, reason } => {
                let status = Some(status.as_u16());
                return match by {
                    By::Proxy => self.not_let_in(status, reason, refused_wait()),
                    // No sooner: a company locks users who are wrong too often.
                    by => self.not_let_in(status, &format!("{by} {reason}"), refused_wait()),
                };
            }
            Unopened::Busy { after, .. } => asked_wait(*after).max(self.backoff.next_wait()),
            Unopened::Failed(_) => self.backoff.next_wait(),
        };
        let retry_in = round(wait);
        // While a proxy restarts its successor is not there at once.
        match self.tunnels.iter().any(|tunnel| !tunnel.is_over()) {
            true => tracing::info!(err = %why, ?retry_in, "no next tunnel yet"),
            false => tracing::warn!(err = %why, ?retry_in, "no tunnel"),
        }
        wait.into()
    }

    /// Says why, once: it stays so until somebody changes something.
    fn not_let_in(&mut self, status: Option<u16>, reason: &str, time: Duration) -> Wait {
        let retry_in = round(time);
        match self.denied.as_deref() == Some(reason) {
            true => tracing::debug!(status, reason, ?retry_in, "{DENIED}"),
            false => tracing::warn!(status, reason, ?retry_in, "{DENIED}"),
        }
        self.denied = Some(reason.to_owned());
        let denied = true;
        Wait { time, denied }
    }
}

const DENIED: &str = "the proxy does not let us in";

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

/// What `Retry-After` says, and up to a fifth more; not for longer than we wait of ourselves.
fn asked_wait(after: Option<Duration>) -> Duration {
    let after = after.unwrap_or_default().min(REFUSED_WAIT);
    after.mul_f64(1.0 + 0.2 * fastrand::f64())
}

/// For a log line.
fn round(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
