//! Whether we live, and whether we take work.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use crate::Proxy;

pub(super) async fn healthy() -> &'static str {
    "adit-proxy is healthy.\n"
}

pub(super) async fn ready(State(proxy): State<Arc<Proxy>>) -> (StatusCode, &'static str) {
    if proxy.stop.draining().is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "adit-proxy is stopping.\n")
    } else {
        (StatusCode::OK, "adit-proxy is ready.\n")
    }
}
