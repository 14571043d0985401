//! One request, backends in an order, one answer.
//!
//! 1. [`order`] is who is asked next: each once, and nobody who has enough to do or wants to be left alone
//!    ([`resting`]). Those who are [`away`] come last, if they come back.
//! 2. [`once`] asks one of them. Its answer's [`status`], and what an error says ([`error_body`]), decide
//!    whether the caller gets it or somebody else is asked. [`hold`] keeps its beginning back until it is
//!    whole, or long: until then the caller has not a byte of it, and it may still be somebody else's.
//! 3. [`course`] says whether another may be asked, within a [`budget`]; [`words`] why nobody answered.
//!    [`hedge`] asks a second one early, if that is wanted, after what [`latency`] says is long. [`run`] is
//!    all of that together.
//! 4. [`stream`] passes the answer on. When it breaks now the caller's connection does, too.
//!
//! [`counted`] is one request at one backend, for metrics and for its load. Whoever drops the future or the
//! body cancels everything, and nothing is held against anybody for it.

mod budget;
mod counted;
mod latency;
mod resting;

mod away;
mod order;

mod error_body;
mod hold;
mod status;
mod stream;

mod once;

mod course;
mod hedge;
mod words;

mod run;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::run::{Answered, Refused};
pub(crate) use self::stream::QueryBody;

use self::budget::Budget;
use self::counted::Counts;
use self::course::Course;
use self::hedge::Hedging;
use self::latency::Latencies;
use self::once::Inquiry;
use self::order::Order;
use self::resting::Resting;
use self::run::Run;
use super::asked::{Asked, Memory};
use super::backend::{Backend, Question};
use crate::config::query::{Pool, Retry};
use crate::metrics::QueryMetrics;

/// Retries that may fail after a quiet time, at the start and at most.
const RETRIES_AT_START: f64 = 10.0;
const MOST_RETRIES: f64 = 100.0;

/// What the requests to one pool have in common.
#[derive(Debug)]
pub(crate) struct Attempts {
    retry: Retry,
    response_hold: usize,
    backend_requests: usize,
    retries: Budget,
    hedging: Option<Hedging>,
    latencies: Latencies,
    resting: Resting,
    counts: Arc<Counts>,
    memory: Memory,
}

impl Attempts {
    /// Of one pool. What it remembers goes with it.
    pub(crate) fn new(pool: &Pool, metrics: &QueryMetrics, memory: Memory) -> Self {
        Self {
            retry: pool.retry.clone(),
            response_hold: pool.response_hold,
            backend_requests: pool.backend_requests,
            retries: Budget::new(pool.retry.budget, RETRIES_AT_START, MOST_RETRIES),
            hedging: pool.hedge.as_ref().map(Hedging::new),
            latencies: Latencies::default(),
            resting: Resting::default(),
            counts: Arc::new(Counts {
                pool: Arc::clone(&pool.name),
                metrics: metrics.clone(),
                _series: metrics.series(&pool.name, None),
            }),
            memory,
        }
    }

    /// Asks those in `order` one after the other, each once at most, until one has answered. `until` is
    /// the deadline of it all, the answer's body included, except of what has no end; `granted` is the
    /// same for people. Dropping the future cancels what is under way, and is held against nobody.
    ///
    /// # Errors
    /// Nobody has answered.
    pub(crate) async fn make(
        &self,
        asked: Asked,
        order: Vec<Arc<Backend>>,
        until: Instant,
        granted: Duration,
    ) -> Result<Answered, Refused> {
        self.retries.earn();
        let class = asked.class;
        let inquiry = Inquiry {
            question: question(&asked),
            class,
            until,
            header_timeout: self.retry.header_timeout,
            response_hold: self.response_hold,
            memory: &self.memory,
            resting: &self.resting,
            latencies: &self.latencies,
        };
        let most = self.backend_requests;
        let run = Run {
            inquiry: &inquiry,
            order: Order::new(order, class, most, &self.resting, &self.counts),
            course: Course::new(&class, self.retry.attempts),
            retries: &self.retries,
            loan: None,
            hedging: self.hedging.as_ref().filter(|_| class.hedge),
            counts: &self.counts,
            granted,
            failed: Vec::new(),
            last: None,
            reason: "first",
        };
        let result = run.until_answered().await;
        // Its bytes count as held until here.
        drop(asked);
        result
    }
}

fn question(asked: &Asked) -> Question {
    let path_and_query = match &asked.query {
        Some(query) => format!("{}?{query}", asked.path),
        None => asked.path.clone(),
    };
    Question {
        method: asked.method.clone(),
        path_and_query,
        headers: asked.headers.clone(),
        body: asked.body.clone(),
        repeatable: asked.class.retry,
    }
}
