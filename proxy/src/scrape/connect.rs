//! CONNECT: the scraper speaks TLS with the target itself, we carry the bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use adit_common::deadline::Deadline;
use adit_common::fault::Report;
use adit_common::headers;
use adit_common::target::Target;
use adit_common::tunnel::relay::relay;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout_at;

use super::course::Event;
use super::flight::InFlight;
use super::forward;
use super::relay::ScrapeBody;
use super::reply::Refusal;
use super::request::{self, Form};
use super::route::route;
use crate::Proxy;
use crate::auth::Caller;
use crate::carrier::{Carrier, RequestBody};
use crate::clock::Clock;

/// Opens a raw stream to a target. Only the opening has a deadline, the default one: a CONNECT
/// says no timeout, and lives as long as the scraper keeps its TLS connection.
pub(crate) async fn connect(
    proxy: Arc<Proxy>,
    caller: Caller,
    clock: Clock,
    mut request: Request<Incoming>,
) -> Response<ScrapeBody> {
    let mut flight = InFlight::start(Arc::clone(&proxy), Form::Connect);
    let deadline = Deadline::after(proxy.config.timeouts.timeout(None));
    clock.extend(deadline.instant());
    let opened = match request::connect(request.uri()) {
        Ok(target) => {
            flight.of(&target);
            match forward::allow(&proxy, &caller, &target) {
                Ok(()) => open(&proxy, &mut flight, target, deadline).await,
                Err(refusal) => Err(refusal),
            }
        }
        Err(refusal) => Err(refusal),
    };
    match opened {
        Ok((tunnel, permit)) => {
            // The opening is what is counted; what is said in it is between its ends.
            flight.on(Event::Head);
            flight.on(Event::End);
            flight.answered(StatusCode::OK.as_u16());
            clock.upgraded();
            let outside = hyper::upgrade::on(&mut request);
            let tunnel = Heard {
                inner: TokioIo::new(tunnel),
                clock,
            };
            let carrying = carry(Arc::clone(&proxy), outside, tunnel, permit);
            proxy.stop.spawn_work(carrying);
            Response::new(Either::Left(Full::default()))
        }
        Err(refusal) => {
            let response = refusal.answer();
            flight.refused(&refusal);
            flight.answered(response.status().as_u16());
            let peer = caller.visitor().peer();
            tracing::debug!(%peer, ?refusal, "CONNECT refused");
            response.map(Either::Left)
        }
    }
}

async fn open(
    proxy: &Proxy,
    flight: &mut InFlight,
    target: Target,
    deadline: Deadline,
) -> Result<(Upgraded, OwnedSemaphorePermit), Refusal> {
    let carrier = route(proxy, &target.name, deadline).await?;
    flight.on(Event::Sent);
    let Carrier::Session(session) = &*carrier else {
        let why = "PushProx's clients have no CONNECT; scrape it with params: {_scheme: [https]}";
        return Err(Refusal::Unable(target, why.into()));
    };
    let permit = Arc::clone(session.connects())
        .try_acquire_owned()
        .map_err(|_| {
            Refusal::ConnectsBusy(target.name.clone(), proxy.limits.connects_per_client)
        })?;
    let lost = |why: String| Refusal::CarrierLost(target.clone(), why);
    let request = tunnel_request(&target, deadline).map_err(|error| lost(error.to_string()))?;
    let mut response = match timeout_at(deadline.instant(), session.send(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(forward::failed(&target, error)),
        Err(_) => return Err(Refusal::Deadline(target, deadline.granted())),
    };
    if let Some(report) = Report::read_from(response.headers()) {
        return Err(Refusal::Reported(report));
    }
    match timeout_at(deadline.instant(), hyper::upgrade::on(&mut response)).await {
        Ok(Ok(tunnel)) => Ok((tunnel, permit)),
        Ok(Err(error)) => Err(lost(error.to_string())),
        Err(_) => Err(Refusal::Deadline(target, deadline.granted())),
    }
}

/// Made anew, with none of the scraper's fields: a `Content-Length` on a CONNECT would end the
/// whole tunnel (row e), and the others are for us.
fn tunnel_request(target: &Target, deadline: Deadline) -> http::Result<Request<RequestBody>> {
    let uri = Uri::builder().authority(target.to_string()).build()?;
    Request::builder()
        .method(Method::CONNECT)
        .uri(uri)
        .header(headers::TIMEOUT, deadline.to_header())
        .body(Either::Left(Full::default()))
}

async fn carry(
    proxy: Arc<Proxy>,
    outside: hyper::upgrade::OnUpgrade,
    tunnel: Heard,
    _permit: OwnedSemaphorePermit,
) {
    // Resolves when our 200 is written, fails when the scraper left first.
    let Ok(outside) = outside.await else {
        return;
    };
    proxy.metrics.connects_open.inc();
    // The scraper may take the end of its connection for the end of a body, which it is only when
    // the tunnel has said so.
    tunnel.clock.reset_on_close();
    let relaying = relay(
        TokioIo::new(outside),
        tunnel,
        proxy.limits.connect_idle_time,
        proxy.stop.draining().clone(),
    );
    let result = relaying.await;
    proxy.metrics.connects_open.dec();
    match result {
        Ok((sent, received)) => tracing::debug!(sent, received, "CONNECT ended"),
        Err(error) => {
            // While we drain there is less time, which is no limit of anybody's.
            let drains = proxy.stop.draining().is_cancelled();
            if error.kind() == io::ErrorKind::TimedOut && !drains {
                proxy.metrics.limit("connect_idle_time");
            }
            tracing::debug!(err = %error, "CONNECT broke off");
        }
    }
}

/// The tunnel's side, up to its end: once that has been heard the scraper's connection closes in good
/// order, and before it by a reset.
struct Heard {
    inner: TokioIo<Upgraded>,
    clock: Clock,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        if read.is_ok() && buf.filled().len() == before {
            self.clock.close_well();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
