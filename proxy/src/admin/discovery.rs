//! Who is here, for Prometheus' service discovery.

use std::sync::Arc;

use adit_common::name::Name;
use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use crate::Proxy;
use crate::auth::Caller;

/// As PushProx writes it: names without ports, labels always null. Ports are relabelled.
#[derive(Serialize)]
struct Group {
    targets: [Name; 1],
    labels: Option<()>,
}

pub(super) async fn clients(
    State(proxy): State<Arc<Proxy>>,
    Extension(caller): Extension<Caller>,
) -> impl IntoResponse {
    let groups: Vec<Group> = proxy
        .registry
        .names()
        .into_iter()
        .filter(|name| caller.may_know(name))
        .map(|name| Group {
            targets: [name],
            labels: None,
        })
        .collect();
    // Names and null: serialising them cannot fail.
    let mut page = serde_json::to_vec(&groups).unwrap_or_default();
    page.push(b'\n');
    // Prometheus takes exactly this type, or one with charset=utf-8.
    ([(CONTENT_TYPE, "application/json")], page)
}
