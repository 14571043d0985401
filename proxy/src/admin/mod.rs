//! Our own pages, on listeners that have the role.
//!
//! * `GET /metrics` — for Prometheus, text format 0.0.4.
//! * `GET /-/healthy` — 200 while the process runs.
//! * `GET /-/ready` — 200, and 503 once we drain.
//! * `POST /-/reload` — reads the configuration again; 500 and why when it cannot be used.
//! * `GET /sd/targets?style=proxy|path` — every target that is offered, with its labels, as service
//!   discovery (`http_sd_configs`).
//! * `GET /clients` — every name that is here, as service discovery (`http_sd_configs`); PushProx'
//!   path and shape.

mod discovery;
mod health;
mod targets;

#[cfg(fuzzing)]
pub(crate) use self::targets::page as targets_page;

use std::sync::Arc;

use adit_common::telemetry::{EXPOSITION_TYPE, exposition};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tower_service::Service;

use crate::Proxy;
use crate::auth::{Caller, Way};
use crate::config::access::scrapers::Page;

/// Answers a request for `path`, which is below the route prefix already.
pub(crate) async fn page(
    proxy: &Arc<Proxy>,
    caller: Caller,
    path: &str,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let query = request.uri().query().map(str::to_owned);
    let below = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    if let Some(page) = page_of(path)
        && let Err(denied) = caller.may_see(page)
    {
        proxy.auth.note_forbidden(&caller, &denied.to_string());
        return denied.answer(Way::Origin).map(Body::new);
    }
    request.extensions_mut().insert(caller);
    // A part of a URI that was parsed, from a slash on, parses.
    *request.uri_mut() = below.parse().unwrap_or_else(|_| Uri::from_static("/"));
    let response = router(Arc::clone(proxy)).call(request).await;
    match response {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// What right a path needs; health is for whoever was let in.
fn page_of(path: &str) -> Option<Page> {
    match path {
        "/metrics" => Some(Page::Metrics),
        "/clients" => Some(Page::Clients),
        "/-/reload" => Some(Page::Reload),
        path if path.starts_with("/sd/") => Some(Page::Sd),
        "/-/healthy" | "/-/ready" => None,
        _ => Some(Page::Status),
    }
}

fn router(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(health::healthy))
        .route("/-/ready", get(health::ready))
        .route("/-/reload", post(reload).put(reload))
        .route("/clients", get(discovery::clients))
        .route("/sd/targets", get(targets::targets))
        .with_state(proxy)
}

async fn reload(State(proxy): State<Arc<Proxy>>) -> (StatusCode, String) {
    match crate::reload::reload(&proxy).await {
        Ok(done) => (StatusCode::OK, format!("{done}\n")),
        Err(error) => {
            let text = format!("failed to reload config: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text)
        }
    }
}

async fn metrics(State(proxy): State<Arc<Proxy>>) -> impl IntoResponse {
    let (here, away) = proxy.registry.sizes();
    for (state, size) in [("here", here), ("away", away)] {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        proxy.metrics.names.with_label_values(&[state]).set(size);
    }
    let tasks = Handle::current().metrics().num_alive_tasks();
    let tasks = i64::try_from(tasks).unwrap_or(i64::MAX);
    proxy.metrics.tasks.set(tasks);
    let page = exposition(&proxy.metrics.registry);
    ([(CONTENT_TYPE, EXPOSITION_TYPE)], page)
}
