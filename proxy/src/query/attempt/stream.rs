//! The body of an answer that the caller gets: what was held, and what follows as it comes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::counted::Visit;
use super::hold::Holding;
use super::status::Mark;
use crate::query::backend::Failure;

/// What goes back: our own words, or a backend's answer. When it breaks the caller's connection is cut.
pub(crate) type QueryBody = BoxBody<Bytes, Failure>;

/// A body that ends with an error when the backend's does, or at the deadline: hyper then closes the
/// caller's connection without the last chunk, and nobody takes a part for the whole. It is never
/// mended.
pub(super) struct Passed {
    holding: Holding,
    /// Nothing, when there is no end to it or all of it is here.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Until the backend has done its part.
    visit: Option<Visit>,
    /// What a whole answer says of it.
    mark: Mark,
    // Told at the next poll: before that hyper flushes the head and what came behind it.
    broken: Option<Failure>,
    over: bool,
}

impl Passed {
    pub(super) fn new(
        holding: Holding,
        deadline: Option<Instant>,
        visit: Visit,
        mark: Mark,
    ) -> Self {
        let mut passed = Self {
            deadline: deadline
                .filter(|_| !holding.is_whole())
                .map(|deadline| Box::pin(sleep_until(deadline))),
            holding,
            visit: Some(visit),
            mark,
            broken: None,
            over: false,
        };
        // Who has no end is well as soon as it begins.
        if passed.holding.is_whole() {
            passed.leave();
        } else if deadline.is_none()
            && let Some(visit) = &passed.visit
        {
            visit.mark(mark);
        }
        passed
    }

    /// The backend has said all.
    fn leave(&mut self) {
        if let Some(visit) = self.visit.take() {
            visit.mark(self.mark);
        }
        self.deadline = None;
    }

    /// It broke off.
    fn cut(&mut self, failure: Failure, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Some(mut visit) = self.visit.take() {
            visit.broke_off(&failure);
        }
        // Whatever the backend still does ends now.
        *self.holding.rest() = None;
        self.broken = Some(failure);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Body for Passed {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        if let Some(broken) = this.broken.take() {
            this.over = true;
            return Poll::Ready(Some(Err(broken)));
        }
        if this.over {
            return Poll::Ready(None);
        }
        if let Some(frame) = this.holding.pop() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(deadline) = &mut this.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return this.cut(Failure::Deadline("the query's time is up".to_owned()), cx);
        }
        let Some(rest) = this.holding.rest() else {
            return Poll::Ready(None);
        };
        match Pin::new(&mut *rest).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                // Nobody asks a body of known length what follows its last byte.
                if rest.is_end_stream() {
                    *this.holding.rest() = None;
                    this.leave();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                *this.holding.rest() = None;
                this.leave();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(failure))) => this.cut(failure, cx),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.holding.is_empty() && self.holding.is_whole()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.broken {
            // It has less than it said.
            Some(_) => SizeHint::default(),
            None => self.holding.size_hint(),
        }
    }
}
