//! Hears what sources say, and lets it be known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::journal::Journal;
use super::report::News;
use super::union::State;
use super::{Listed, Report, dns, file, http, kubernetes, marathon, tunnel};
use crate::config::query::Source;
use crate::registry::Registry;

/// Begins to follow one source. What is written down needs nobody.
pub(super) fn source(
    source: Source,
    report: Report,
    registry: &Arc<Registry>,
    tasks: &mut JoinSet<()>,
) {
    match source {
        Source::Static(_) => {}
        Source::File(source) => {
            tasks.spawn(file::follow(source, report));
        }
        Source::Dns(source) => {
            tasks.spawn(dns::follow(source, report));
        }
        Source::Http(source) => {
            tasks.spawn(http::follow(source, report));
        }
        Source::Tunnel(source) => {
            tasks.spawn(tunnel::follow(source, Arc::clone(registry), report));
        }
        Source::Kubernetes(source) => {
            tasks.spawn(kubernetes::follow(source, report));
        }
        Source::Marathon(source) => {
            tasks.spawn(marathon::follow(source, report));
        }
    }
}

/// Hears all of them, until the pool is gone.
pub(super) async fn all(
    mut heard: mpsc::Receiver<News>,
    state: Arc<Mutex<State>>,
    tell: watch::Sender<Arc<Vec<Listed>>>,
    mut journal: Journal,
) {
    loop {
        let next = lock(&state).next_change(Instant::now());
        let grace_over = async {
            match next {
                Some(next) => sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        let word = tokio::select! {
            word = heard.recv() => match word {
                Some(word) => Some(word),
                // No source has a task, and none will.
                None => break,
            },
            () = grace_over => None,
        };
        // Nothing is written to the log with anything locked: a terminal may hold it up.
        let (turn, list, views) = {
            let mut state = lock(&state);
            let now = Instant::now();
            let turn = word.map(|(source, word)| {
                let is_failure = word.is_err();
                let turn = state.said(source, word, now);
                (source, is_failure, turn)
            });
            (turn, state.list(now), state.views(now))
        };
        if let Some((source, is_failure, turn)) = turn
            && let Some(view) = views.get(source)
        {
            journal.said(view, is_failure, turn);
        }
        journal.count(&views);
        let known = Arc::clone(&tell.borrow());
        if !are_same(&known, &list) {
            journal.listed(&known, &list);
            tell.send_replace(Arc::new(list));
        }
    }
    // The gauges stay until the pool is gone.
    tell.closed().await;
    drop(journal);
}

fn are_same(known: &[Listed], list: &[Listed]) -> bool {
    let mut pairs = known.iter().zip(list);
    known.len() == list.len() && pairs.all(|(one, two)| one.is_same(two))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
