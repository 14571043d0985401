//! What leaves by a listener: the one type of an answer's body.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Version;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::clock::Serving;
use crate::query::QueryBody;
use crate::scrape::{Broken, ScrapeBody};

pin_project! {
    /// A body, and the knowledge of the connection that it is still being sent.
    pub(super) struct AnswerBody {
        #[pin]
        kind: Kind,
        serving: Option<Serving>,
        // Whether the close of the connection would pass for the end of the body.
        is_old: bool,
        // Told at the next poll: before that hyper flushes what came before it.
        broken: Option<Broken>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind {
        Text { #[pin] text: Full<Bytes> },
        Page { #[pin] page: axum::body::Body },
        Scrape { #[pin] scrape: ScrapeBody },
        Query { #[pin] query: QueryBody },
    }
}

impl AnswerBody {
    /// Whether it is passed on: what stands in its head is for the target, or the backend, to say.
    pub(super) fn is_passed_on(&self) -> bool {
        matches!(self.kind, Kind::Scrape { .. } | Kind::Query { .. })
    }

    /// Until this body is dropped the connection counts as serving. To a peer of this version it goes.
    pub(super) fn serving(mut self, serving: Serving, version: Version) -> Self {
        self.serving = Some(serving);
        self.is_old = version < Version::HTTP_11;
        self
    }
}

impl From<Kind> for AnswerBody {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            serving: None,
            is_old: false,
            broken: None,
        }
    }
}

impl From<Full<Bytes>> for AnswerBody {
    fn from(text: Full<Bytes>) -> Self {
        Kind::Text { text }.into()
    }
}

impl From<axum::body::Body> for AnswerBody {
    fn from(page: axum::body::Body) -> Self {
        Kind::Page { page }.into()
    }
}

impl From<ScrapeBody> for AnswerBody {
    fn from(scrape: ScrapeBody) -> Self {
        Kind::Scrape { scrape }.into()
    }
}

impl From<QueryBody> for AnswerBody {
    fn from(query: QueryBody) -> Self {
        Kind::Query { query }.into()
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.project();
        if let Some(broken) = this.broken.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        match this.kind.project() {
            KindProjection::Text { text } => text.poll_frame(cx).map_err(|never| match never {}),
            KindProjection::Page { page } => page.poll_frame(cx).map_err(Into::into),
            KindProjection::Scrape { scrape } => scrape.poll_frame(cx),
            KindProjection::Query { query } => match query.poll_frame(cx) {
                Poll::Ready(Some(Err(failure))) => {
                    if let (Some(serving), true) = (this.serving, *this.is_old) {
                        serving.reset_on_close();
                    }
                    *this.broken = Some(failure.into());
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                other => other.map_err(Into::into),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_end = match &self.kind {
            Kind::Text { text } => text.is_end_stream(),
            Kind::Page { page } => page.is_end_stream(),
            Kind::Scrape { scrape } => scrape.is_end_stream(),
            Kind::Query { query } => query.is_end_stream(),
        };
        self.broken.is_none() && is_end
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Text { text } => text.size_hint(),
            Kind::Page { page } => page.size_hint(),
            Kind::Scrape { scrape } => scrape.size_hint(),
            Kind::Query { query } => query.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;
    use crate::clock::Clock;
    use crate::config::Limits;

    /// What a body that broke off is for a peer of this version: its bytes, then an error.
    async fn breaks(version: Version) -> Clock {
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"half"))),
            Err(crate::query::Failure::Truncated("it broke off".into())),
        ];
        let query: QueryBody = StreamBody::new(stream::iter(frames)).boxed();
        let clock = Clock::start(&Limits::default());
        let body = AnswerBody::from(query).serving(clock.serve(), version);
        let mut body = Box::pin(body);
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "half");
        assert!(!clock.resets() && !body.is_end_stream());
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "it broke off");
        clock
    }

    #[tokio::test]
    async fn a_query_that_broke_off_never_looks_whole() {
        assert!(!breaks(Version::HTTP_11).await.resets());
        // To whom the close of the connection is the end of the body.
        assert!(breaks(Version::HTTP_10).await.resets());
    }
}
