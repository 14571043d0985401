//! A scrape that is under way.

use std::sync::Arc;

use adit_common::target::Target;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::course::{Course, Event, Step};
use super::reply::Refusal;
use super::request::Form;
use crate::Proxy;

/// A scrape that is under way: counted, and its permits held, until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    proxy: Arc<Proxy>,
    form: Form,
    started: Instant,
    target: Option<Target>,
    course: Course,
    code: Option<u16>,
    bytes: u64,
    in_all: Option<OwnedSemaphorePermit>,
    at_client: Option<OwnedSemaphorePermit>,
}

impl InFlight {
    pub(super) fn start(proxy: Arc<Proxy>, form: Form) -> Self {
        proxy.metrics.scrapes_in_flight.inc();
        Self {
            proxy,
            form,
            started: Instant::now(),
            target: None,
            course: Course::new(),
            code: None,
            bytes: 0,
            in_all: None,
            at_client: None,
        }
    }

    /// A place among all scrapes.
    pub(super) fn hold(
        &mut self,
        permits: &Arc<Semaphore>,
        or: impl FnOnce() -> Refusal,
    ) -> Result<(), Refusal> {
        let permit = Arc::clone(permits).try_acquire_owned().map_err(|_| or())?;
        self.in_all = Some(permit);
        Ok(())
    }

    /// A place at one client, instead of any it had at another.
    pub(super) fn hold_only(
        &mut self,
        permits: &Arc<Semaphore>,
        or: impl FnOnce() -> Refusal,
    ) -> Result<(), Refusal> {
        let permit = Arc::clone(permits).try_acquire_owned().map_err(|_| or())?;
        self.at_client = Some(permit);
        Ok(())
    }

    /// It may be sent a second time when its carrier is lost.
    pub(super) fn allow_repeating(&mut self) {
        self.course.allow_repeating();
    }

    /// Something happened to it. The first event that ends it is counted.
    pub(super) fn on(&mut self, event: Event) -> Step {
        let step = self.course.on(event);
        let metrics = &self.proxy.metrics;
        match step {
            Step::End(terminal) => {
                let outcomes = &metrics.scrape_outcomes;
                outcomes.with_label_values(&[terminal.as_str()]).inc();
            }
            Step::Again => metrics.scrape_retries.inc(),
            Step::Continue | Step::Nothing => {}
        }
        step
    }

    /// The scraper gets an answer of ours.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        self.on(refusal.event());
        if let Some(limit) = refusal.limit() {
            self.proxy.metrics.limit(limit);
        }
    }

    pub(super) fn answered(&mut self, code: u16) {
        self.code = Some(code);
    }

    /// Who is meant, for the log.
    pub(super) fn of(&mut self, target: &Target) {
        self.target = Some(target.clone());
    }

    pub(super) fn bytes(&mut self, n: usize) {
        self.bytes += n as u64;
        self.proxy.metrics.scrape_bytes.inc_by(n as u64);
    }

    pub(super) fn cut(&self, reason: &str) {
        let cut = &self.proxy.metrics.scrapes_cut;
        cut.with_label_values(&[reason]).inc();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // When nothing else has ended it.
        self.on(Event::Gone);
        let metrics = &self.proxy.metrics;
        metrics.scrapes_in_flight.dec();
        metrics
            .scrape_duration
            .observe(self.started.elapsed().as_secs_f64());
        let mut text = [0u8; 3];
        // 499 is nginx' code for a peer that left before it was answered.
        let code = three_digits(self.code.unwrap_or(499), &mut text);
        let form = self.form.as_str();
        metrics.scrapes.with_label_values(&[form, code]).inc();
        tracing::debug!(
            form,
            target = self.target.as_ref().map(tracing::field::display),
            code,
            bytes = self.bytes,
            seconds = self.started.elapsed().as_secs_f64(),
            "scrape"
        );
    }
}

/// A status as text without an allocation. Statuses have three digits (RFC 9110 §15).
fn three_digits(code: u16, text: &mut [u8; 3]) -> &str {
    for (digit, place) in text.iter_mut().zip([100, 10, 1]) {
        // Below ten, always.
        *digit = b'0' + u8::try_from(code / place % 10).unwrap_or(0);
    }
    std::str::from_utf8(text).unwrap_or("000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_three_digits() {
        let mut text = [0; 3];
        assert_eq!(three_digits(200, &mut text), "200");
        assert_eq!(three_digits(499, &mut text), "499");
        assert_eq!(three_digits(507, &mut text), "507");
    }
}
