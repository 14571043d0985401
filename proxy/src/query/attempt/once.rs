//! Asking one backend once: until its answer can be passed on, or it is clear that it has none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use super::counted::Visit;
use super::course::Loss;
use super::error_body;
use super::hold::Holding;
use super::latency::Latencies;
use super::resting::Resting;
use super::status::{self, Mark, Verdict};
use super::stream::{Passed, QueryBody};
use crate::query::asked::{Class, Memory};
use crate::query::backend::{Backend, BackendBody, Failure, Question};
use crate::query::standing::State;

/// The rest of an error must follow its head at once; else it is judged by what is there.
const ERROR_BODY_TIME: Duration = Duration::from_secs(2);
/// For what has no end: longer than any connection lasts.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// What is the same for every try of a request.
#[derive(Debug)]
pub(super) struct Inquiry<'a> {
    pub(super) question: Question,
    pub(super) class: Class,
    pub(super) until: Instant,
    /// How long a backend may take until its answer begins.
    pub(super) header_timeout: Option<Duration>,
    pub(super) response_hold: usize,
    pub(super) memory: &'a Memory,
    pub(super) resting: &'a Resting,
    pub(super) latencies: &'a Latencies,
}

/// What came of one try.
pub(super) enum Outcome {
    /// The caller can have this, by this backend.
    Answer(Response<QueryBody>, Arc<Backend>),
    /// Nothing, or nothing good.
    Lost(Lost),
}

/// A try without an answer.
pub(super) struct Lost {
    pub(super) by: Arc<Backend>,
    pub(super) loss: Loss,
    /// The word in metrics.
    pub(super) reason: &'static str,
    /// For people, without the backend's name.
    pub(super) words: String,
    /// It was the tunnel that was lost.
    pub(super) link: bool,
    /// The answer, for the case that nobody has a better one.
    pub(super) answer: Option<Response<QueryBody>>,
}

impl Inquiry<'_> {
    /// Asks. `replaceable`: somebody else could be asked, so one that goes down meanwhile is not waited
    /// for. `begun` is set as soon as an answer begins. Dropping the future cancels it at the backend.
    pub(super) async fn ask(
        &self,
        mut visit: Visit,
        replaceable: bool,
        begun: &AtomicBool,
    ) -> Outcome {
        let head = tokio::select! {
            head = self.head(&visit.backend) => head,
            why = goes_down(&visit.backend), if replaceable => {
                visit.given_up();
                return Outcome::Lost(Lost::without(&visit, "down", format!("it went down: {why}")));
            }
        };
        let response = match head {
            Ok(response) => response,
            Err(failure) => return Outcome::Lost(failed(visit, &failure)),
        };
        begun.store(true, Ordering::Relaxed);
        visit.head(response.status());
        if self.class.hedge {
            self.latencies.add(visit.elapsed());
        }
        self.judge(visit, response).await
    }

    async fn head(&self, backend: &Backend) -> Result<Response<BackendBody>, Failure> {
        let now = Instant::now();
        let patience = self.header_timeout.map(|time| now + time);
        let until = patience.map_or(self.until, |patience| patience.min(self.until));
        // How long all of it may take, as far as a tunnel's other end has to know.
        let in_all = match self.class.deadline {
            true => self.until,
            false => now + NEVER,
        };
        match timeout_at(until, backend.send(self.question.clone(), in_all)).await {
            Ok(head) => head,
            Err(_) => {
                let took = u64::try_from(now.elapsed().as_millis()).unwrap_or(u64::MAX);
                let took = humantime::format_duration(Duration::from_millis(took));
                Err(Failure::Deadline(format!("no answer within {took}")))
            }
        }
    }

    /// The head is here. What may be repeated is looked at before it is passed on.
    async fn judge(&self, visit: Visit, response: Response<BackendBody>) -> Outcome {
        let (head, body) = response.into_parts();
        let mut holding = Holding::new(body);
        if !self.class.retry || !status::is_in_question(head.status) {
            if self.class.hold
                && let Err(failure) = self
                    .hold(&mut holding, self.response_hold, self.until)
                    .await
            {
                return Outcome::Lost(failed(visit, &failure));
            }
            let mark = status::passed_on(head.status);
            return self.answer(visit, head, holding, mark);
        }
        let soon = self.until.min(Instant::now() + ERROR_BODY_TIME);
        match self.hold(&mut holding, error_body::MOST, soon).await {
            Ok(()) | Err(Failure::Deadline(_)) => {}
            Err(failure) => return Outcome::Lost(failed(visit, &failure)),
        }
        let said = error_body::read(&head.headers, &holding.copy(), holding.is_whole());
        let retry = match status::judge(head.status, &head.headers, &said) {
            Verdict::Commit(mark) => return self.answer(visit, head, holding, mark),
            Verdict::Retry(retry) => retry,
        };
        let backend = Arc::clone(&visit.backend);
        visit.mark(retry.mark);
        if head.status == StatusCode::TOO_MANY_REQUESTS {
            self.resting
                .told(&backend.name, &head.headers, Instant::now());
        }
        let mut words = format!(
            "{} {}",
            head.status.as_u16(),
            retry.reason.replace('-', " ")
        );
        if let Some((read, of)) = backend.standing.borrow().replay {
            words += &format!(" (WAL replay {read}/{of})");
        }
        let answer = self.pass(visit, head, holding, Mark::Nothing);
        Outcome::Lost(Lost {
            by: backend,
            loss: match retry.once {
                true => Loss::FailedOnce,
                false => Loss::Failed,
            },
            reason: retry.reason,
            words,
            link: false,
            answer: Some(answer),
        })
    }

    async fn hold(
        &self,
        holding: &mut Holding,
        most: usize,
        until: Instant,
    ) -> Result<(), Failure> {
        match timeout_at(until, holding.fill(most, self.memory)).await {
            Ok(held) => held,
            Err(_) => Err(Failure::Deadline(
                "its answer was not whole in time".to_owned(),
            )),
        }
    }

    /// From here nobody else is asked.
    fn answer(
        &self,
        visit: Visit,
        head: http::response::Parts,
        holding: Holding,
        mark: Mark,
    ) -> Outcome {
        let by = Arc::clone(&visit.backend);
        Outcome::Answer(self.pass(visit, head, holding, mark), by)
    }

    fn pass(
        &self,
        visit: Visit,
        head: http::response::Parts,
        holding: Holding,
        mark: Mark,
    ) -> Response<QueryBody> {
        let deadline = self.class.deadline.then_some(self.until);
        Response::from_parts(head, Passed::new(holding, deadline, visit, mark).boxed())
    }
}

impl Lost {
    fn without(visit: &Visit, reason: &'static str, words: String) -> Self {
        Self {
            by: Arc::clone(&visit.backend),
            loss: Loss::Failed,
            reason,
            words,
            link: !visit.backend.is_linked(),
            answer: None,
        }
    }
}

fn failed(mut visit: Visit, failure: &Failure) -> Lost {
    visit.failed(failure);
    let lost = Lost::without(&visit, failure.as_str(), failure.to_string());
    match failure {
        Failure::Busy(_) | Failure::Unaskable(_) => Lost {
            loss: Loss::Unbegun,
            ..lost
        },
        Failure::TunnelLost(_) => Lost { link: true, ..lost },
        _ => lost,
    }
}

/// Resolves when a backend goes down that was not, with the reason. One that was asked although it was
/// down already may answer nevertheless.
async fn goes_down(backend: &Backend) -> Arc<str> {
    let mut standing = backend.standing.subscribe();
    let mut was_down = standing.borrow_and_update().state == State::Down;
    // The sender is in the backend, which is borrowed.
    while standing.changed().await.is_ok() {
        let now = standing.borrow_and_update();
        let is_down = now.state == State::Down;
        if is_down && !was_down {
            return Arc::clone(&now.why);
        }
        was_down = is_down;
    }
    std::future::pending().await
}
