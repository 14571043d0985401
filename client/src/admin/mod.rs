//! Our own pages. [`listener`] accepts who asks for one, [`visitors`] says whether they may.
//!
//! * `GET /metrics` — for Prometheus, text format 0.0.4.
//! * `GET /-/healthy` — 200 while the process runs.
//! * `GET /-/ready` — 200 while a proxy has accepted us; 503 while none has, with what each said last.
//! * `POST` or `PUT /-/reload` — reads the configuration again; 500 when nothing came of it.

mod listener;
mod visitors;

use std::sync::Arc;

use adit_common::net::listen::Listener;
use adit_common::telemetry::{EXPOSITION_TYPE, exposition};
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::runtime::Handle;

use crate::{Client, reload};

/// Starts answering on every address.
pub(crate) fn serve(client: &Arc<Client>, listeners: Vec<Listener>) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload).put(reload))
        .with_state(Arc::clone(client));
    listener::serve(client, listeners, &router);
    let following = follow(Arc::clone(client));
    client.stop.spawn_until_draining(following);
}

/// The web configuration is read again whenever it changes.
async fn follow(client: Arc<Client>) {
    let web = Arc::clone(&client.web);
    web.keep_fresh(move |read| {
        match read {
            Ok(()) => tracing::info!("web configuration reloaded"),
            Err(error) => tracing::error!(err = %error, "web configuration not reloaded"),
        }
        client.metrics.reloaded(read.is_ok());
    })
    .await;
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
