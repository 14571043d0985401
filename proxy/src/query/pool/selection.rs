//! Asking the strategy who is best, now and then and whenever that may have changed.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::State;
use crate::query::standing::Tier;
use crate::query::strategy::{Candidate, Occasion};

/// For as long as the pool is there.
pub(super) async fn follow(state: Arc<State>) {
    let interval = state.config.selection_interval;
    let mut next = Instant::now() + interval;
    let mut occasion = Occasion::Event;
    loop {
        let changed = state.changed.notified();
        tokio::pin!(changed);
        // Before looking: what changes from now on is noticed.
        changed.as_mut().enable();
        select(&state, occasion);
        occasion = tokio::select! {
            biased;
            () = sleep_until(next) => {
                next = Instant::now() + interval;
                Occasion::Interval
            }
            () = changed => Occasion::Event,
        };
    }
}

fn select(state: &State, occasion: Occasion) {
    let now = Instant::now();
    let members = state.members.current();
    let candidates: Vec<Candidate> = members.iter().map(|m| m.candidate(now)).collect();
    let pool = &*state.config.name;
    state.metrics.selections.with_label_values(&[pool]).inc();
    let change = state.chooser.check(&candidates, occasion, now);
    if let Some(change) = change {
        let changes = &state.metrics.primary_changes;
        changes.with_label_values(&[pool, change.reason]).inc();
        let (from, to) = (change.from.as_deref(), change.to.as_deref());
        tracing::info!(pool, from, to, reason = change.reason, "first backend");
    }
    publish(state, &candidates, now);
}

fn publish(state: &State, candidates: &[Candidate], now: Instant) {
    let metrics = &state.metrics;
    let pool = &*state.config.name;
    let first = state.primary();
    let scores = state.chooser.scores(candidates, now);
    for (candidate, score) in candidates.iter().zip(&scores) {
        let labels = [pool, &*candidate.name];
        let is_first = first.as_ref() == Some(&candidate.name);
        let selected = metrics.selected.with_label_values(&labels);
        selected.set(i64::from(is_first));
        match score.value {
            Some(value) => metrics.score.with_label_values(&labels).set(value),
            None => drop(metrics.score.remove_label_values(&labels)),
        }
    }
    let eligible = scores.iter().filter(|score| score.eligible).count();
    let eligible = i64::try_from(eligible).unwrap_or(i64::MAX);
    let gauge = metrics.min_history_eligible.with_label_values(&[pool]);
    gauge.set(eligible);
    let panics = !candidates.is_empty() && candidates.iter().all(|c| c.tier == Tier::Out);
    let gauge = metrics.panic.with_label_values(&[pool]);
    match (panics, gauge.get() != 0) {
        (true, false) => tracing::error!(pool, "no backend can be asked: all of them are tried"),
        (false, true) => tracing::info!(pool, "a backend can be asked again"),
        _ => {}
    }
    gauge.set(i64::from(panics));
}
