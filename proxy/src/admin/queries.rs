//! The query side, for people and programs: in the shape of Prometheus' own API.

use std::sync::Arc;

use adit_common::fault::one_line;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};

use crate::Proxy;
use crate::auth::Caller;
use crate::query;

/// Whether queries can be answered.
pub(super) async fn ready(State(proxy): State<Arc<Proxy>>) -> (StatusCode, String) {
    let unready = |why: &str| {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{}\n", one_line(why)),
        )
    };
    if proxy.stop.draining().is_cancelled() {
        return unready("adit-proxy is stopping.");
    }
    match query::is_ready(&proxy) {
        Ok(()) => (StatusCode::OK, "adit-proxy is ready.\n".to_owned()),
        Err(why) => unready(&why),
    }
}

/// Every backend that the caller may ask, and how it is.
pub(super) async fn backends(
    State(proxy): State<Arc<Proxy>>,
    Extension(caller): Extension<Caller>,
) -> Response {
    let data = query::backends(&proxy, &caller);
    answer(StatusCode::OK, &json!({"status": "success", "data": data}))
}

/// Whom this query would go to, and why; it is not sent.
pub(super) async fn explain(
    State(proxy): State<Arc<Proxy>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match query::explain(&proxy, &caller, &headers, host, uri.query()) {
        Ok(data) => answer(StatusCode::OK, &json!({"status": "success", "data": data})),
        Err(why) => {
            let body = json!({"status": "error", "errorType": "bad_data", "error": one_line(&why)});
            answer(StatusCode::BAD_REQUEST, &body)
        }
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let kind = [(CONTENT_TYPE, "application/json")];
    (status, kind, body.to_string()).into_response()
}
