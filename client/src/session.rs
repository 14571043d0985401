//! One tunnel, from our end: the proxy asks, we answer.
//!
//! A request without an authority is for us (`/registration`, `/accepted`); one with an authority
//! is for a target.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use adit_common::registration::{ACCEPTED_PATH, PATH, Registration};
use adit_common::tunnel::goodbye::{End, Ending, Farewell, Goodbye};
use adit_common::tunnel::settings;
use adit_common::tunnel::stream::TunnelStream;
use adit_common::tunnel::tasks::Tasks;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::Client;
use crate::fetch::{self, Answer};

/// Serves until the tunnel ends, and says why it did. Everything in it ends with it.
pub(crate) async fn serve(
    client: &Arc<Client>,
    proxy: &str,
    stream: TunnelStream<TokioIo<Upgraded>>,
    ending: Ending,
) -> End {
    let tasks = Tasks::default();
    let _end = tasks.end_on_drop();
    let accepted = Arc::new(Accepted::default());
    let proxy: Arc<str> = proxy.into();
    let gauge = client.metrics.sessions.with_label_values(&[&*proxy]);
    let service = service_fn(|request| {
        let (client, tasks) = (Arc::clone(client), tasks.clone());
        let accepted = Arc::clone(&accepted);
        let (gauge, proxy) = (gauge.clone(), Arc::clone(&proxy));
        async move {
            let answer = match request.uri().authority() {
                Some(_) => {
                    let answer = fetch::fetch(client, tasks, request).await;
                    answer.map(|answer| ClientBody::Answer { answer })
                }
                None => ours(&client, &proxy, &accepted, &gauge, &request),
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let connection =
        settings::client_end(tasks.clone()).serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = client.stop.draining().cancelled() => {
            // The registration has ended by the same token: the proxy routes nothing more here.
            ending.say(Goodbye::new(Farewell::GoingAway, "the client is stopping"));
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    tasks.end();
    tasks.ended().await;
    accepted.leave(&gauge);
    let fallback = match result {
        Ok(()) => "closed".to_owned(),
        Err(error) => error.to_string(),
    };
    ending.end().cloned().unwrap_or(End::Lost(fallback))
}

/// Whether the proxy has accepted us; counted once.
#[derive(Debug, Default)]
struct Accepted(std::sync::atomic::AtomicBool);

impl Accepted {
    fn enter(&self, proxy: &str, gauge: &prometheus::IntGauge) {
        if !self.0.swap(true, std::sync::atomic::Ordering::Relaxed) {
            gauge.inc();
            tracing::info!(proxy, "registered");
        }
    }

    fn leave(&self, gauge: &prometheus::IntGauge) {
        if self.0.swap(false, std::sync::atomic::Ordering::Relaxed) {
            gauge.dec();
        }
    }
}

fn ours(
    client: &Client,
    proxy: &str,
    accepted: &Accepted,
    gauge: &prometheus::IntGauge,
    request: &Request<Incoming>,
) -> Response<ClientBody> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, PATH) => {
            let offered = Offering::new(client.offer.registration(), client.stop.draining());
            Response::new(ClientBody::Offering { offered })
        }
        (&Method::POST, ACCEPTED_PATH) => {
            accepted.enter(proxy, gauge);
            Response::new(ClientBody::Empty)
        }
        _ => {
            let mut response = Response::new(ClientBody::Empty);
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

/// Why a body broke off: the stream is reset for it.
type Broken = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// What we answer with.
    #[project = ClientBodyProjection]
    pub(crate) enum ClientBody {
        /// Nothing, or all is in the head.
        Empty,
        /// Our registration.
        Offering { #[pin] offered: Offering },
        /// What a target answered, or why none did.
        Answer { #[pin] answer: Answer },
    }
}

/// The registration: a line, and then an open end until we go.
pub(crate) struct Offering {
    line: Option<Bytes>,
    going: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Offering {
    fn new(registration: &Registration, draining: &CancellationToken) -> Self {
        Self {
            line: Some(registration.to_line().into()),
            going: Box::pin(draining.clone().cancelled_owned()),
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.project() {
            ClientBodyProjection::Empty => Poll::Ready(None),
            ClientBodyProjection::Offering { mut offered } => match offered.line.take() {
                Some(line) => Poll::Ready(Some(Ok(Frame::data(line)))),
                None => offered.going.as_mut().poll(cx).map(|()| None),
            },
            ClientBodyProjection::Answer { answer } => answer.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Offering { .. } => false,
            Self::Answer { answer } => answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Offering { .. } => SizeHint::default(),
            Self::Answer { answer } => answer.size_hint(),
        }
    }
}
