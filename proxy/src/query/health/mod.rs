//! Finding out how backends are: each is watched by a task of its own, so that none waits for another.
//!
//! 1. [`probe`] is what is asked every few seconds, all of it within one deadline: whether it is ready, a
//!    query that tells how old its data is, and, after it was away, when it was started.
//! 2. [`facts`] is what strategies compare, asked more seldom; [`exposition`] reads its metrics. When that
//!    fails nothing is held against it.
//! 3. [`report`] puts what is known into metrics.
//!
//! [`ask`] is a request of ours, [`words`] what is answered to it. What follows from it all is
//! [`standing`](super::standing)'s.

mod ask;
mod words;

mod probe;

mod exposition;
mod facts;

mod report;

#[cfg(fuzzing)]
mod fuzzing;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

#[cfg(fuzzing)]
pub(super) use self::fuzzing::{exposition, said};
pub(crate) use self::probe::{Habits, probe_once};
pub(crate) use self::report::Report;

use self::facts::{Lacks, facts};
use super::backend::Backend;
use super::standing::{Standing, State};

/// For what strategies compare: a page of megabytes through a tunnel may take longer than a probe.
const FACTS_TIME: Duration = Duration::from_secs(10);
/// Between the beginnings of two probes there is at least this part of the interval, whoever wants one.
const PART: u32 = 10;
/// And that is enough, however long the interval is.
const SOON: Duration = Duration::from_millis(500);

/// Watches `backend` for as long as it is polled. `told` is called whenever its state has changed, or
/// whether it is left alone, or what is known of its data; not when a number has.
pub(crate) async fn watch(
    backend: Arc<Backend>,
    selection_interval: Duration,
    report: Report,
    told: impl Fn() + Send + Sync,
) {
    let probing = probe_often(&backend, &report);
    let learning = learn_now_and_then(&backend, selection_interval);
    let showing = show(&backend, &report, told);
    // None of them ends.
    tokio::join!(probing, learning, showing);
}

async fn probe_often(backend: &Backend, report: &Report) {
    let rules = &backend.rules;
    let mut habits = Habits::default();
    loop {
        let began = Instant::now();
        let linked = backend.is_linked();
        let start = backend.standing.borrow().wants_start();
        let outcome = probe_once(backend, &mut habits, start).await;
        report.probed(&outcome);
        backend.standing.send_if_modified(|standing| {
            standing.probed(&outcome, rules, &backend.member, Instant::now())
        });
        report.show(&backend.standing.borrow());
        rest(backend, began, linked).await;
    }
}

/// Until the next probe is due: by the clock, sooner as long as its state is in doubt, or since the way to
/// it is another, or since a request has seen something. A lost way is told at once.
async fn rest(backend: &Backend, began: Instant, linked: bool) {
    let interval = backend.rules.interval;
    let jitter = 0.9 + 0.2 * fastrand::f64();
    let pause = (interval / PART).min(SOON);
    let soonest = began + pause;
    let now = Instant::now();
    let due = match backend.standing.borrow().is_in_doubt() {
        true => now + pause,
        // A probe that took as long as the interval is not followed by the next at once.
        false => (began + interval.mul_f64(jitter)).max(now + interval / PART),
    };
    let wanted = async {
        backend.wanted.notified().await;
        sleep_until(soonest).await;
    };
    tokio::select! {
        () = backend.link_other_than(linked) => {}
        () = wanted => {}
        () = sleep_until(due) => {}
    }
}

/// Asks a backend that answers for what strategies compare.
async fn learn_now_and_then(backend: &Backend, every: Duration) {
    let mut lacks = Lacks::default();
    let mut standing = backend.standing.subscribe();
    let answers = |state| matches!(state, State::Warming | State::Healthy | State::Degraded);
    loop {
        // It fails only when the backend is gone, and that is held here.
        drop(standing.wait_for(|standing| answers(standing.state)).await);
        let began = Instant::now();
        let deadline = began + FACTS_TIME.max(backend.rules.timeout);
        if let Some(facts) = facts(backend, &mut lacks, deadline).await {
            let learned = |standing: &mut Standing| standing.learned(facts);
            backend.standing.send_if_modified(learned);
        }
        sleep_until(began + every).await;
    }
}

/// Shows every change, whoever has found it.
async fn show(backend: &Backend, report: &Report, told: impl Fn()) {
    let mut standing = backend.standing.subscribe();
    let mut ejected = None;
    report.show(&standing.borrow_and_update());
    while standing.changed().await.is_ok() {
        let now = standing.borrow_and_update().clone();
        report.show(&now);
        if now.ejected_until > ejected {
            report.ejected();
        }
        ejected = now.ejected_until;
        told();
    }
}
