//! What a fake Prometheus was asked.

use std::borrow::Cow;
use std::time::Instant;

use crate::target::{Journal as TargetJournal, Request};

/// What probes call themselves.
const PROBES: &str = "adit-probe";

/// Everything so far, before and after restarts.
#[derive(Debug, Clone)]
pub struct Journal<'a>(Cow<'a, TargetJournal>);

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// To the byte.
    pub request: &'a Request,
    /// The script for it is through: the answer is whole, or as cut as it should be.
    pub answered: bool,
    /// When the asker left without having waited for that.
    pub left: Option<Instant>,
}

impl<'a> Journal<'a> {
    pub(super) fn borrowed(journal: &'a TargetJournal) -> Self {
        Self(Cow::Borrowed(journal))
    }

    pub(super) fn owned(journal: TargetJournal) -> Journal<'static> {
        Journal(Cow::Owned(journal))
    }

    /// Every request but probes, in the order of their coming.
    pub fn queries(&self) -> Vec<Seen<'_>> {
        self.seen(|seen| !seen.is_probe())
    }

    /// The same, of one path.
    pub fn of(&self, path: &str) -> Vec<Seen<'_>> {
        self.seen(|seen| !seen.is_probe() && seen.path() == path)
    }

    /// Every probe's requests.
    pub fn probes(&self) -> Vec<Seen<'_>> {
        self.seen(|seen| seen.is_probe())
    }

    /// How many connections came.
    pub fn connections(&self) -> usize {
        self.0.connections.len()
    }

    /// How many of them are open.
    pub fn open(&self) -> usize {
        let all = self.0.connections.iter();
        all.filter(|connection| connection.closed.is_none()).count()
    }

    /// When the last of them closed that did.
    pub fn last_closed(&self) -> Option<Instant> {
        let all = self.0.connections.iter();
        all.filter_map(|connection| connection.closed).max()
    }

    fn seen(&self, of_interest: impl Fn(&Seen<'_>) -> bool) -> Vec<Seen<'_>> {
        let mut seen = Vec::new();
        for connection in &self.0.connections {
            for (n, request) in connection.requests.iter().enumerate() {
                let answered = n < connection.answered;
                let left = connection
                    .closed
                    .filter(|_| !answered && connection.aborted);
                let one = Seen {
                    request,
                    answered,
                    left,
                };
                if of_interest(&one) {
                    seen.push(one);
                }
            }
        }
        seen.sort_by_key(|seen| seen.request.at);
        seen
    }
}

impl<'a> Seen<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        Self {
            request,
            answered: false,
            left: None,
        }
    }

    /// Whether a health check asked.
    pub fn is_probe(&self) -> bool {
        self.field("user-agent")
            .is_some_and(|agent| agent.starts_with(PROBES))
    }

    /// `GET`, `POST`, …
    pub fn method(&self) -> &'a str {
        self.request.line().split(' ').next().unwrap_or("")
    }

    /// As it was sent, without what is behind the question mark.
    pub fn path(&self) -> &'a str {
        let target = self.request.path();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// What is behind the question mark, as it was sent.
    pub fn query(&self) -> Option<&'a str> {
        self.request.path().split_once('?').map(|(_, query)| query)
    }

    /// The value of a field, by its name in any case; several are joined by a bar.
    pub fn field(&self, name: &str) -> Option<String> {
        self.request.field(name)
    }

    /// The body, decoded from chunks.
    pub fn body(&self) -> &'a [u8] {
        &self.request.body
    }

    /// The first value of a parameter, in the form or in the URL.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let url = self.query().unwrap_or("").as_bytes();
        let pairs = [self.body(), url].map(form_urlencoded::parse);
        let mut values = pairs.into_iter().flatten();
        let (_, value) = values.find(|(key, _)| key == name)?;
        Some(value.into_owned())
    }
}
