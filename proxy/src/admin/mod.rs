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
//! * `GET /api/v1/backends`, `GET /api/v1/explain?query=…` — of the query side: who could be asked, and
//!   who would be. On its own addresses there are these two, `/metrics`, `/-/healthy`, and `/-/ready`,
//!   which is 200 when queries can be answered; everything else there is a query.

mod discovery;
mod health;
mod queries;
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
    request: Request<Incoming>,
) -> Response<Body> {
    routed(proxy, caller, router(), path, request).await
}

/// Whether a path on a query address is ours.
pub(crate) fn is_beside_queries(path: &str) -> bool {
    BESIDE_QUERIES.contains(&path)
}

/// Answers such a request.
pub(crate) async fn beside_queries(
    proxy: &Arc<Proxy>,
    caller: Caller,
    request: Request<Incoming>,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let router = about_queries()
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(health::healthy))
        .route("/-/ready", get(queries::ready));
    routed(proxy, caller, router, &path, request).await
}

async fn routed(
    proxy: &Arc<Proxy>,
    caller: Caller,
    router: Router<Arc<Proxy>>,
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
    let mut router: Router = router.with_state(Arc::clone(proxy));
    let response = router.call(request).await;
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

/// On an address of the query side.
const BESIDE_QUERIES: [&str; 5] = [
    "/metrics",
    "/-/healthy",
    "/-/ready",
    "/api/v1/backends",
    "/api/v1/explain",
];

fn about_queries() -> Router<Arc<Proxy>> {
    Router::new()
        .route("/api/v1/backends", get(queries::backends))
        .route("/api/v1/explain", get(queries::explain))
}

fn router() -> Router<Arc<Proxy>> {
    about_queries()
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(health::healthy))
        .route("/-/ready", get(health::ready))
        .route("/-/reload", post(reload).put(reload))
        .route("/clients", get(discovery::clients))
        .route("/sd/targets", get(targets::targets))
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
