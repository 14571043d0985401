//! What each source said last, and one list of all of it.
//!
//! A source that cannot be asked is believed for a grace. After it what it said last goes, unless nothing
//! at all would be left: what is known of backends by asking them is better than no backend. A source that
//! answers with an empty list is believed only when it has said so for the whole grace: servers that tell
//! where others are have an empty list right after their own start. So a pool empties only by what sources
//! in good health say.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::found::MOST_FOUND;
use super::{Found, Listed};
use crate::config::query::{KubernetesSelect, Source};

/// What all sources of a pool said.
#[derive(Debug)]
pub(super) struct State {
    grace: Duration,
    parts: Vec<Part>,
}

/// One source.
#[derive(Debug, Clone)]
struct Part {
    source: Source,
    kind: &'static str,
    what: String,
    /// The last list with anything in it.
    last: Vec<Found>,
    standing: SourceStanding,
    /// Since when it stands so.
    since: Instant,
    /// Since when there was no such list: each word since then was an empty one or none.
    doubted: Option<Instant>,
    /// Since when each word was an empty list.
    empty: Option<Instant>,
}

/// How a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SourceStanding {
    /// It has not said anything yet.
    Waiting,
    /// It answers.
    Answering,
    /// It cannot be asked, for this reason.
    Failing(String),
}

/// One source, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceView {
    /// `static`, `file`, …
    pub(crate) kind: &'static str,
    /// Which one of its kind; no secret is in it.
    pub(crate) what: String,
    /// Backends that count now, those that another source has as well included.
    pub(crate) backends: usize,
    pub(crate) standing: SourceStanding,
    /// Since when it stands so.
    pub(crate) since: Instant,
}

/// What a word changed about the source that said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// It fails from now on, or for another reason.
    Fails(String),
    /// It answers again.
    Answers,
}

impl State {
    /// What is written down is there at once.
    pub(super) fn new(sources: &[Source], grace: Duration, now: Instant) -> Self {
        let nothing = Self {
            grace,
            parts: Vec::new(),
        };
        nothing.again(sources, grace, now)
    }

    /// With other sources. What those said last that are the same is still known: a pool is not empty
    /// for a moment after each reload, nor for an outage during which somebody reloads.
    pub(super) fn again(&self, sources: &[Source], grace: Duration, now: Instant) -> Self {
        let part = |source: &Source| {
            let mut known = self.parts.iter();
            let known = known.find(|part| part.source == *source);
            known.map_or_else(|| Part::new(source, now), Part::clone)
        };
        Self {
            grace,
            parts: sources.iter().map(part).collect(),
        }
    }

    /// This source has said that.
    pub(super) fn said(
        &mut self,
        source: usize,
        word: Result<Vec<Found>, String>,
        now: Instant,
    ) -> Option<Turn> {
        let grace = self.grace;
        self.parts.get_mut(source)?.said(word, now, grace)
    }

    /// Of all sources, in their order, each place once.
    pub(super) fn list(&self, now: Instant) -> Vec<Listed> {
        let mut places = HashSet::new();
        let mut list = Vec::new();
        for (part, found) in self.parts.iter().zip(self.in_force(now)) {
            for found in found {
                if places.insert(&found.url) {
                    list.push(Listed {
                        found: found.clone(),
                        source: part.kind,
                    });
                }
            }
        }
        list
    }

    /// When the list will be another one, if nobody says anything until then.
    pub(super) fn next_change(&self, now: Instant) -> Option<Instant> {
        let grace = self.grace;
        let ends = self.parts.iter().flat_map(|part| part.ends(grace));
        ends.filter(|end| *end > now).min()
    }

    /// Each source, in their order.
    pub(super) fn views(&self, now: Instant) -> Vec<SourceView> {
        let view = |(part, found): (&Part, &[Found])| SourceView {
            kind: part.kind,
            what: part.what.clone(),
            backends: found.len(),
            standing: part.standing.clone(),
            since: part.since,
        };
        let parts = self.parts.iter().zip(self.in_force(now));
        parts.map(view).collect()
    }

    fn in_force(&self, now: Instant) -> Vec<&[Found]> {
        let grace = self.grace;
        let all = |even_doubted: bool| -> Vec<&[Found]> {
            let parts = self.parts.iter();
            parts
                .map(|part| part.in_force(now, grace, even_doubted))
                .collect()
        };
        let sure = all(false);
        match sure.iter().all(|found| found.is_empty()) {
            true => all(true),
            false => sure,
        }
    }
}

impl Part {
    fn new(source: &Source, now: Instant) -> Self {
        let (kind, what) = called(source);
        let (last, standing) = match source {
            Source::Static(backend) => (vec![Found::from(backend)], SourceStanding::Answering),
            _ => (Vec::new(), SourceStanding::Waiting),
        };
        Self {
            source: source.clone(),
            kind,
            what,
            last,
            standing,
            since: now,
            doubted: None,
            empty: None,
        }
    }

    fn said(
        &mut self,
        word: Result<Vec<Found>, String>,
        now: Instant,
        grace: Duration,
    ) -> Option<Turn> {
        if self.is_empty(now, grace) {
            // From here on it is known to have none, whatever happens to it.
            self.last = Vec::new();
        }
        let word = word.and_then(|found| match found.len() {
            0..=MOST_FOUND => Ok(found),
            many => Err(format!("it has {many} backends, {MOST_FOUND} are taken")),
        });
        let standing = match word {
            Ok(found) if found.is_empty() => {
                self.doubted.get_or_insert(now);
                self.empty.get_or_insert(now);
                SourceStanding::Answering
            }
            Ok(found) => {
                self.last = found;
                self.doubted = None;
                self.empty = None;
                SourceStanding::Answering
            }
            Err(why) => {
                self.doubted.get_or_insert(now);
                self.empty = None;
                SourceStanding::Failing(why)
            }
        };
        self.stands(standing, now)
    }

    fn stands(&mut self, standing: SourceStanding, now: Instant) -> Option<Turn> {
        use SourceStanding::{Answering, Failing, Waiting};
        if self.standing == standing {
            return None;
        }
        if !matches!((&self.standing, &standing), (Failing(_), Failing(_))) {
            self.since = now;
        }
        let before = std::mem::replace(&mut self.standing, standing);
        match (before, &self.standing) {
            (_, Failing(why)) => Some(Turn::Fails(why.clone())),
            (Failing(_), Answering | Waiting) => Some(Turn::Answers),
            (Answering | Waiting, Answering | Waiting) => None,
        }
    }

    /// Whether it is known to have none.
    fn is_empty(&self, now: Instant, grace: Duration) -> bool {
        over(self.empty, grace).is_some_and(|end| end <= now)
    }

    fn in_force(&self, now: Instant, grace: Duration, even_doubted: bool) -> &[Found] {
        let is_doubted = over(self.doubted, grace).is_some_and(|end| end <= now);
        match self.is_empty(now, grace) || (is_doubted && !even_doubted) {
            true => &[],
            false => &self.last,
        }
    }

    fn ends(&self, grace: Duration) -> impl Iterator<Item = Instant> {
        let ends = [over(self.doubted, grace), over(self.empty, grace)];
        ends.into_iter().flatten()
    }
}

/// When a grace that began then is over; a grace of a century never is.
fn over(since: Option<Instant>, grace: Duration) -> Option<Instant> {
    since?.checked_add(grace)
}

fn called(source: &Source) -> (&'static str, String) {
    match source {
        Source::Static(backend) => ("static", backend.url.to_string()),
        Source::File(file) => ("file", file.path.display().to_string()),
        Source::Dns(dns) => ("dns", dns.name.clone()),
        Source::Http(http) => ("http", http.url.to_string()),
        Source::Kubernetes(cluster) => {
            let (KubernetesSelect::Service(which) | KubernetesSelect::Pods(which)) =
                &cluster.select;
            ("kubernetes", format!("{}/{which}", cluster.namespace))
        }
        Source::Marathon(marathon) => {
            let urls: Vec<String> = marathon.urls.iter().map(ToString::to_string).collect();
            ("marathon", urls.join(","))
        }
        Source::Tunnel(tunnel) => {
            let labels = tunnel.labels.iter();
            let labels: Vec<String> = labels
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            ("tunnel", labels.join(","))
        }
    }
}

#[cfg(test)]
#[path = "union_tests.rs"]
mod tests;
