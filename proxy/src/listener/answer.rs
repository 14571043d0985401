//! What leaves by a listener: the one type of an answer's body.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::clock::Serving;
use crate::scrape::{Broken, ScrapeBody};

pin_project! {
    /// A body, and the knowledge of the connection that it is still being sent.
    pub(super) struct AnswerBody {
        #[pin]
        kind: Kind,
        serving: Option<Serving>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind {
        Text { #[pin] text: Full<Bytes> },
        Page { #[pin] page: axum::body::Body },
        Scrape { #[pin] scrape: ScrapeBody },
    }
}

impl AnswerBody {
    /// Whether it is a scrape's: what stands in its head is for the target to say.
    pub(super) fn is_scrape(&self) -> bool {
        matches!(self.kind, Kind::Scrape { .. })
    }

    /// Until this body is dropped the connection counts as serving.
    pub(super) fn serving(mut self, serving: Serving) -> Self {
        self.serving = Some(serving);
        self
    }
}

impl From<Kind> for AnswerBody {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            serving: None,
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

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.project().kind.project() {
            KindProjection::Text { text } => text.poll_frame(cx).map_err(|never| match never {}),
            KindProjection::Page { page } => page.poll_frame(cx).map_err(Into::into),
            KindProjection::Scrape { scrape } => scrape.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Text { text } => text.is_end_stream(),
            Kind::Page { page } => page.is_end_stream(),
            Kind::Scrape { scrape } => scrape.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Text { text } => text.size_hint(),
            Kind::Page { page } => page.size_hint(),
            Kind::Scrape { scrape } => scrape.size_hint(),
        }
    }
}
