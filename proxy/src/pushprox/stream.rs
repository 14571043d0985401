//! A pushed body that is too large to be held: passed on as it comes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use tokio::sync::oneshot;

use super::wire::body::{Body, BodyError};
use crate::carrier::Break;

/// What has come and what is to come. Dropping it tells the push that nobody wants the rest.
#[derive(Debug)]
pub(super) struct Stream {
    /// Held back so far.
    held: Option<Bytes>,
    input: Bytes,
    /// Gone when all is out.
    decoder: Option<Body>,
    push: Incoming,
    _passed: oneshot::Sender<()>,
}

impl Stream {
    /// The receiver resolves when the stream is dropped.
    pub(super) fn new(held: Bytes, decoder: Body, push: Incoming) -> (Self, oneshot::Receiver<()>) {
        let (sender, passed) = oneshot::channel();
        let stream = Self {
            held: Some(held),
            input: Bytes::new(),
            decoder: Some(decoder),
            push,
            _passed: sender,
        };
        (stream, passed)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Break>> {
        if let Some(held) = self.held.take() {
            return Poll::Ready(Ok(Some(held)));
        }
        loop {
            let Some(decoder) = &mut self.decoder else {
                return Poll::Ready(Ok(None));
            };
            if let Some(piece) = decoder.next(&mut self.input).map_err(broken)? {
                return Poll::Ready(Ok(Some(piece)));
            }
            match ready!(Pin::new(&mut self.push).poll_frame(cx)) {
                Some(Ok(frame)) => self.input = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    return Poll::Ready(Err(Break::Carrier(format!(
                        "its push broke off: {error}"
                    ))));
                }
                None => {
                    let last = self.decoder.take().map(Body::finish).transpose();
                    return Poll::Ready(last.map(Option::flatten).map_err(broken));
                }
            }
        }
    }
}

fn broken(error: BodyError) -> Break {
    Break::Target(error.to_string())
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = Break;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Break>>> {
        self.poll_piece(cx)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)).transpose())
    }
}
