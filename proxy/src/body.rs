//! What leaves by a listener: the one type of an answer's body.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::listener::Serving;
use crate::scrape::Relayed;

/// Whatever broke a body off; the scraper's connection is cut for it.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// A body, and the knowledge of the connection that it is still being sent.
    pub(crate) struct AnswerBody {
        #[pin]
        kind: Kind,
        serving: Option<Serving>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind {
        Empty,
        Text { #[pin] text: Full<Bytes> },
        Page { #[pin] page: axum::body::Body },
        Relayed { #[pin] relayed: Relayed },
    }
}

impl AnswerBody {
    pub(crate) fn empty() -> Self {
        Self::of(Kind::Empty)
    }

    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        let text = Full::new(text.into());
        Self::of(Kind::Text { text })
    }

    pub(crate) fn page(page: axum::body::Body) -> Self {
        Self::of(Kind::Page { page })
    }

    pub(crate) fn relayed(relayed: Relayed) -> Self {
        Self::of(Kind::Relayed { relayed })
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            serving: None,
        }
    }

    /// Until this body is dropped the connection counts as serving.
    pub(crate) fn serving(mut self, serving: Serving) -> Self {
        self.serving = Some(serving);
        self
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
            KindProjection::Empty => Poll::Ready(None),
            KindProjection::Text { text } => text.poll_frame(cx).map_err(|never| match never {}),
            KindProjection::Page { page } => page.poll_frame(cx).map_err(Into::into),
            KindProjection::Relayed { relayed } => relayed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Text { text } => text.is_end_stream(),
            Kind::Page { page } => page.is_end_stream(),
            Kind::Relayed { relayed } => relayed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Text { text } => text.size_hint(),
            Kind::Page { page } => page.size_hint(),
            Kind::Relayed { relayed } => relayed.size_hint(),
        }
    }
}
