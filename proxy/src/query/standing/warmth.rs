//! Whether a server that serves has been there for long enough: after a restart Prometheus is ready
//! before it has scraped anything.

use std::time::Duration;

use tokio::time::Instant;

use super::{Data, Member, seconds};
use crate::config::query::Health;

/// Two that tell the same start may differ by that much: it is computed anew each time.
const SAME_START: f64 = 2.0;
/// After so many times `warm_up` a server is as warm as it gets: some scrape less than others, or
/// seldom.
const AT_MOST: u32 = 10;

/// What is remembered of a server's start.
#[derive(Debug, Clone, Default)]
pub(super) struct Warmth {
    /// As it said last.
    started: Option<f64>,
    /// It has been warm since its start.
    warm: bool,
    /// It could not be reached, or was not ready: it may have been started anew.
    away: bool,
    /// When it was back after that.
    back: Option<Instant>,
}

impl Warmth {
    /// It cannot be reached, or is not ready. A lost tunnel is neither.
    pub(super) fn gone(&mut self) {
        self.away = true;
    }

    /// It is there. Why it is not asked yet as long as others can be, if so.
    pub(super) fn of(
        &mut self,
        data: &Data,
        rules: &Health,
        member: &Member,
        now: Instant,
    ) -> Option<String> {
        if std::mem::take(&mut self.away) {
            self.back = Some(now);
            self.warm = false;
        }
        if let (Some(before), Some(started)) = (self.started, data.started)
            && (before - started).abs() > SAME_START
        {
            self.warm = false;
        }
        self.started = data.started;
        let cold = match self.uptime(data, now) {
            Some(uptime) => self.cold(uptime, data, rules, member),
            // As it was found: it may have been there for long.
            None => None,
        };
        self.warm |= cold.is_none();
        cold
    }

    /// By its own clock; or, if it does not tell, since it was back.
    fn uptime(&self, data: &Data, now: Instant) -> Option<Duration> {
        let told = data.now.zip(data.started).map(|(now, started)| {
            // Its clock may have been set back since.
            Duration::try_from_secs_f64((now - started).max(0.0)).unwrap_or(Duration::MAX)
        });
        told.or_else(|| Some(now.saturating_duration_since(self.back?)))
    }

    fn cold(
        &self,
        uptime: Duration,
        data: &Data,
        rules: &Health,
        member: &Member,
    ) -> Option<String> {
        if self.warm {
            return None;
        }
        let ago = seconds(uptime.as_secs_f64());
        if uptime < rules.warm_up {
            return Some(format!("started {ago} ago"));
        }
        if uptime >= rules.warm_up.saturating_mul(AT_MOST) {
            return None;
        }
        // Not asked for, where the probe is somebody's own query.
        let targets = data.targets?;
        if data.age.is_none_or(|age| age > uptime.as_secs_f64()) {
            return Some(format!(
                "started {ago} ago, and nothing was scraped since then"
            ));
        }
        let best = member.best_targets()?;
        (targets < best * rules.warm_up_targets).then(|| {
            format!("started {ago} ago, and scrapes {targets} targets: another one {best}")
        })
    }
}
