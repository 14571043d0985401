//! One request at one backend: counted, and taking a place there, until its answer's end.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use prometheus::{IntCounter, IntGauge};
use tokio::time::Instant;

use super::status::Mark;
use crate::metrics::{QueryMetrics, Series};
use crate::query::asked::Kind;
use crate::query::backend::{Backend, Failure, UnderWay};

/// What a pool's requests are counted by.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) pool: Arc<str>,
    pub(super) metrics: QueryMetrics,
    /// The pool's, for as long as anything is counted.
    pub(super) _series: Series,
}

impl Counts {
    /// Another is asked, since this one failed, for this reason.
    pub(super) fn retried(&self, from: &str, reason: &str) {
        let labels = [&*self.pool, from, reason];
        self.metrics.retries.with_label_values(&labels).inc();
    }
}

/// A request at a backend. Dropping it says nothing of the backend: the caller has left, or another
/// was faster.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) backend: Arc<Backend>,
    counts: Arc<Counts>,
    kind: Kind,
    started: Instant,
    /// The status, or the failure, was counted.
    counted: bool,
    in_flight: IntGauge,
    truncated: IntCounter,
    _under_way: UnderWay,
}

impl Visit {
    /// At `backend`, unless `most` requests are under way there.
    pub(super) fn begin(
        backend: Arc<Backend>,
        kind: Kind,
        most: usize,
        counts: &Arc<Counts>,
    ) -> Option<Self> {
        let under_way = backend.load.begin(most)?;
        let labels = [&*counts.pool, &*backend.name];
        let in_flight = counts.metrics.in_flight.with_label_values(&labels);
        let truncated = counts.metrics.truncated.with_label_values(&labels);
        in_flight.inc();
        Some(Self {
            backend,
            counts: Arc::clone(counts),
            kind,
            started: Instant::now(),
            counted: false,
            in_flight,
            truncated,
            _under_way: under_way,
        })
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The head of an answer has come.
    pub(super) fn head(&mut self, status: StatusCode) {
        let time = self.elapsed();
        self.backend.load.took(time);
        let labels = [&*self.counts.pool, &*self.backend.name];
        let duration = &self.counts.metrics.duration;
        duration
            .with_label_values(&labels)
            .observe(time.as_secs_f64());
        self.count(status.as_str());
    }

    /// What an answer has shown.
    pub(super) fn mark(&self, mark: Mark) {
        match mark {
            Mark::Answered => self.backend.answered(),
            Mark::NotReady(stopping) => self.backend.not_ready(stopping),
            Mark::Failed => self.hold_against(&Failure::Reset(
                "what is before it cannot reach it".to_owned(),
            )),
            Mark::Nothing => {}
        }
    }

    /// There is no answer, or only a part that nobody has seen.
    pub(super) fn failed(&mut self, failure: &Failure) {
        self.count(failure.as_str());
        match failure {
            // A query may take as long as that; probes see whether everything does.
            Failure::Deadline(_) => {}
            _ => self.hold_against(failure),
        }
    }

    /// It was given up, since it is down.
    pub(super) fn given_up(&mut self) {
        self.count("down");
    }

    /// Its answer broke off after the caller had got a part of it; for us to say so it must have been
    /// the backend's doing, or time was up.
    pub(super) fn broke_off(&mut self, failure: &Failure) {
        self.truncated.inc();
        self.failed(failure);
    }

    /// Whether it is left alone from now on is counted where it is watched.
    fn hold_against(&self, failure: &Failure) {
        self.backend.failed(failure);
    }

    /// What came of it, once.
    fn count(&mut self, code: &str) {
        if !std::mem::replace(&mut self.counted, true) {
            let labels = [
                &*self.counts.pool,
                &*self.backend.name,
                self.kind.as_str(),
                code,
            ];
            let requests = &self.counts.metrics.backend_requests;
            requests.with_label_values(&labels).inc();
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // When nothing else has come of it.
        self.count("canceled");
        self.in_flight.dec();
    }
}
