//! What people may know of pools and backends, in one place: for JSON now, for pages.

use std::time::Duration;

use http::HeaderMap;
use serde::Serialize;
use tokio::time::Instant;

use super::asked::Asked;
use super::backend::Backend;
use super::pool::{Member, Pool};
use super::standing::{Standing, Tier};
use super::strategy::{Candidate, Score};
use crate::discovery::{self, SourceStanding};

/// A pool as it is now.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PoolView {
    pub(crate) name: String,
    pub(crate) hosts: Vec<String>,
    pub(crate) path_prefix: String,
    /// As the configuration writes it.
    pub(crate) strategy: String,
    /// What it compares.
    pub(crate) comparison: String,
    pub(crate) affinity: Vec<String>,
    pub(crate) selection_interval_seconds: f64,
    /// Who is asked first.
    pub(crate) primary: Option<String>,
    /// Nobody can be asked, and all are.
    pub(crate) panic: bool,
    pub(crate) backends: Vec<BackendView>,
    pub(crate) sources: Vec<SourceView>,
}

/// Where a pool's backends come from, as it is now.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SourceView {
    pub(crate) kind: &'static str,
    pub(crate) what: String,
    pub(crate) backends: usize,
    /// `waiting`, `answering`, `failing`.
    pub(crate) state: &'static str,
    pub(crate) error: Option<String>,
    pub(crate) since_seconds: f64,
}

/// A backend as it is now. What is not known is null.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BackendView {
    pub(crate) name: String,
    pub(crate) url: String,
    /// Who found it.
    pub(crate) source: &'static str,
    pub(crate) state: &'static str,
    /// In words, with what is known of it.
    pub(crate) reason: String,
    pub(crate) since_seconds: f64,
    pub(crate) tier: &'static str,
    /// Whether it is the first to be asked.
    pub(crate) selected: bool,
    pub(crate) priority: u32,
    pub(crate) weight: u32,
    pub(crate) requests_in_flight: usize,
    pub(crate) latency_seconds: Option<f64>,
    pub(crate) ejected_seconds: Option<f64>,
    pub(crate) wal_segments_replayed: Option<u64>,
    pub(crate) wal_segments: Option<u64>,
    pub(crate) version: Option<String>,
    pub(crate) uptime_seconds: Option<f64>,
    pub(crate) history_seconds: Option<f64>,
    pub(crate) staleness_seconds: Option<f64>,
    pub(crate) targets: Option<f64>,
    pub(crate) stored_samples: Option<f64>,
    pub(crate) ingested_samples: Option<f64>,
    pub(crate) head_series: Option<f64>,
    pub(crate) clock_skew_seconds: Option<f64>,
    /// What the strategy compares.
    pub(crate) score: Option<f64>,
    /// The same in words.
    pub(crate) score_reason: String,
    /// Whether it fulfils what the strategy asks for.
    pub(crate) eligible: bool,
}

/// Whom a request would be sent to, and why.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    pub(crate) pool: String,
    pub(crate) class: &'static str,
    /// As it was understood.
    pub(crate) query: Option<String>,
    pub(crate) time: Option<f64>,
    pub(crate) start: Option<f64>,
    pub(crate) end: Option<f64>,
    pub(crate) step_seconds: Option<f64>,
    /// How long it would have.
    pub(crate) timeout_seconds: f64,
    /// Why the first is the first.
    pub(crate) reason: &'static str,
    pub(crate) panic: bool,
    /// Best first; at most so many are asked.
    pub(crate) attempts: usize,
    pub(crate) candidates: Vec<BackendView>,
    /// Those that are not asked at all.
    pub(crate) left_out: Vec<BackendView>,
}

/// One pool.
pub(crate) fn pool(pool: &Pool) -> PoolView {
    let now = Instant::now();
    let config = pool.config();
    let members = pool.members();
    let (standings, candidates) = seen(&members, now);
    let backends = backends(pool, &members, &standings, &candidates, now);
    PoolView {
        name: config.name.to_string(),
        hosts: config.hosts.clone(),
        path_prefix: config.path_prefix.clone(),
        strategy: config.strategy.to_string(),
        comparison: config.strategy.comparison().to_owned(),
        affinity: config.affinity.iter().map(ToString::to_string).collect(),
        selection_interval_seconds: config.selection_interval.as_secs_f64(),
        primary: pool.primary().map(|name| name.to_string()),
        panic: !backends.is_empty() && candidates.iter().all(|c| c.tier == Tier::Out),
        backends,
        sources: pool.sources().into_iter().map(|s| source(s, now)).collect(),
    }
}

/// What would become of a request, without sending it.
pub(crate) fn explain(pool: &Pool, asked: &Asked, headers: &HeaderMap) -> Explanation {
    let now = Instant::now();
    let config = pool.config();
    let members = pool.members();
    let (standings, candidates) = seen(&members, now);
    let wish = pool.affinities().read(headers, None, &candidates);
    let chooser = pool.chooser();
    let mut order = chooser.preview(asked, wish.key.as_deref(), &candidates, now);
    pool.affinities().apply(&wish, &mut order, &candidates);
    let views = backends(pool, &members, &standings, &candidates, now);
    let left_out = views.iter().enumerate();
    let left_out = left_out.filter(|(index, _)| !order.indices.contains(index));
    let params = &asked.params;
    Explanation {
        pool: config.name.to_string(),
        class: asked.class.kind.as_str(),
        query: params.query.clone(),
        time: params.time,
        start: params.start,
        end: params.end,
        step_seconds: params.step,
        timeout_seconds: asked.time_allowed(config.timeout).as_secs_f64(),
        reason: order.reason,
        panic: order.panic,
        attempts: config.retry.attempts,
        left_out: left_out.map(|(_, view)| view.clone()).collect(),
        candidates: order.indices.iter().map(|i| views[*i].clone()).collect(),
    }
}

fn source(source: discovery::SourceView, now: Instant) -> SourceView {
    let (state, error) = match source.standing {
        SourceStanding::Waiting => ("waiting", None),
        SourceStanding::Answering => ("answering", None),
        SourceStanding::Failing(why) => ("failing", Some(why)),
    };
    SourceView {
        kind: source.kind,
        what: source.what,
        backends: source.backends,
        state,
        error,
        since_seconds: now.saturating_duration_since(source.since).as_secs_f64(),
    }
}

/// One look at each: what a page says of a backend belongs together.
fn seen(members: &[Member], now: Instant) -> (Vec<Standing>, Vec<Candidate>) {
    let seen = members.iter().map(|member| {
        let standing = member.backend.standing.borrow().clone();
        let candidate = member.candidate_of(&standing, now);
        (standing, candidate)
    });
    seen.unzip()
}

fn backends(
    pool: &Pool,
    members: &[Member],
    standings: &[Standing],
    candidates: &[Candidate],
    now: Instant,
) -> Vec<BackendView> {
    let scores = pool.chooser().scores(candidates, now);
    let primary = pool.primary();
    let members = members.iter().zip(standings).zip(candidates).zip(scores);
    members
        .map(|(((member, standing), candidate), score)| {
            let selected = primary.as_ref() == Some(&candidate.name);
            backend(&member.backend, standing, candidate, score, selected, now)
        })
        .collect()
}

fn backend(
    backend: &Backend,
    standing: &Standing,
    candidate: &Candidate,
    score: Score,
    selected: bool,
    now: Instant,
) -> BackendView {
    let data = &standing.data;
    let seconds = |time: Duration| time.as_secs_f64();
    let ejected = standing.ejected_until.filter(|until| *until > now);
    BackendView {
        name: backend.name.to_string(),
        url: backend.url.to_string(),
        source: backend.source,
        state: standing.state.as_str(),
        reason: standing.explain(now),
        since_seconds: seconds(now.saturating_duration_since(standing.since)),
        tier: candidate.tier.as_str(),
        selected,
        priority: backend.priority,
        weight: backend.weight,
        requests_in_flight: candidate.under_way,
        latency_seconds: candidate.latency.map(seconds),
        ejected_seconds: ejected.map(|until| seconds(until - now)),
        wal_segments_replayed: standing.replay.map(|(done, _)| done),
        wal_segments: standing.replay.map(|(_, all)| all),
        version: data.version.as_deref().map(str::to_owned),
        uptime_seconds: data.now.zip(data.started).map(|(now, then)| now - then),
        history_seconds: data.history(),
        staleness_seconds: data.age,
        targets: data.targets,
        stored_samples: data.stored_samples,
        ingested_samples: data.ingested_samples,
        head_series: data.head_series,
        clock_skew_seconds: data.clock_skew,
        score: score.value,
        score_reason: score.words,
        eligible: score.eligible,
    }
}
