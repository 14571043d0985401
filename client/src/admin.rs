//! Our own pages.
//!
//! * `GET /metrics` — for Prometheus, text format 0.0.4.
//! * `GET /-/healthy` — 200 while the process runs.
//! * `GET /-/ready` — 200 while a proxy has accepted us; 503 while none has, with what each said last.
//! * `POST` or `PUT /-/reload` — reads the configuration again; 500 when nothing came of it.

use std::sync::Arc;
use std::time::Duration;

use adit_common::net::listen::Listener;
use adit_common::net::socket::Socket;
use adit_common::telemetry::{EXPOSITION_TYPE, exposition};
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

use crate::{Client, reload};

/// Connections at once: a Prometheus, a probe, and somebody who looks.
const CONNECTIONS: usize = 64;
/// For a request's head, and between requests.
const IDLE: Duration = Duration::from_secs(360);
/// Between two attempts to accept after a failure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Starts answering on every address.
pub(crate) fn serve(client: &Arc<Client>, listeners: Vec<Listener>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload).put(reload))
        .with_state(Arc::clone(client));
    for listener in listeners {
        let accepting = accept(
            Arc::clone(client),
            listener,
            router.clone(),
            Arc::clone(&permits),
        );
        client.stop.spawn_until_draining(accepting);
    }
}

async fn accept(client: Arc<Client>, listener: Listener, router: Router, permits: Arc<Semaphore>) {
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((socket, _)) => {
                let answering = answer(socket, router.clone(), permit);
                client.stop.spawn_until_draining(answering);
            }
            Err(error) => {
                tracing::warn!(address = %listener.local(), err = %error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(socket: Socket, router: Router, _permit: OwnedSemaphorePermit) {
    let service = service_fn(|request| router.clone().call(request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(socket), service);
    if let Err(error) = connection.await {
        tracing::debug!(err = %error, "connection ended");
    }
}

async fn metrics(State(client): State<Arc<Client>>) -> impl IntoResponse {
    let tasks = Handle::current().metrics().num_alive_tasks();
    let tasks = i64::try_from(tasks).unwrap_or(i64::MAX);
    client.metrics.tasks.set(tasks);
    let page = exposition(&client.metrics.registry);
    ([(CONTENT_TYPE, EXPOSITION_TYPE)], page)
}

async fn healthy() -> &'static str {
    "adit-client is healthy.\n"
}

async fn ready(State(client): State<Arc<Client>>) -> (StatusCode, String) {
    let no = |words: String| (StatusCode::SERVICE_UNAVAILABLE, words);
    if client.stop.draining().is_cancelled() {
        return no("adit-client is stopping.\n".to_owned());
    }
    let sessions = &client.metrics.sessions;
    let accepted = client.settings().proxies.iter().any(|proxy| {
        let proxy = proxy.to_string();
        sessions.with_label_values(&[&*proxy]).get() > 0
    });
    match accepted {
        true => (StatusCode::OK, "adit-client is ready.\n".to_owned()),
        false => no(format!(
            "No proxy has accepted this client yet.\n{}",
            client.troubles
        )),
    }
}

async fn reload(State(client): State<Arc<Client>>) -> (StatusCode, String) {
    match reload::ask(&client).await {
        Ok(words) => (StatusCode::OK, format!("{words}\n")),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("not reloaded, the configuration before stays: {error}\n"),
        ),
    }
}
