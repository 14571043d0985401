//! `/mpp/health`, `/mpp/metrics`, `/mpp/status`: exact paths, at the query address.

use adit_common::telemetry::{EXPOSITION_TYPE, exposition};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::page::status as status_page;
use super::series;
use crate::Proxy;
use crate::auth::{Caller, Way};
use crate::config::access::scrapers::Page;
use crate::query;

/// Which backend has answered, as `scheme://host`.
pub(crate) const SERVED_BY: HeaderName = HeaderName::from_static("mpp.servedby");

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Whether a path is one of them.
pub(crate) fn is_page(path: &str) -> bool {
    matches!(path, "/mpp/health" | "/mpp/metrics" | "/mpp/status")
}

/// Answers one of them; the rights are those of our own pages.
pub(crate) fn page(proxy: &Proxy, caller: &Caller, path: &str) -> Response<String> {
    let right = match path {
        "/mpp/metrics" => Some(Page::Metrics),
        "/mpp/status" => Some(Page::Status),
        _ => None,
    };
    if let Some(right) = right
        && let Err(denied) = caller.may_see(right)
    {
        proxy.auth.note_forbidden(caller, &denied.to_string());
        let mut response = Response::new(format!("{denied}\n"));
        *response.status_mut() = denied.status(Way::Origin);
        return response;
    }
    answer(proxy, caller, path)
}

fn answer(proxy: &Proxy, caller: &Caller, path: &str) -> Response<String> {
    let (status, kind, text) = match path {
        // mpp's own was always OK, whether or not anybody could answer.
        "/mpp/health" => match query::is_ready(proxy) {
            Ok(()) => (StatusCode::OK, TEXT, "OK".to_owned()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        "/mpp/metrics" => {
            let ours = exposition(&proxy.metrics.registry);
            let ours = String::from_utf8_lossy(&ours);
            let pools = query::view(proxy, caller);
            let theirs = series::exposition(&proxy.metrics.registry.gather(), &pools);
            let kind = HeaderValue::from_static(EXPOSITION_TYPE);
            (StatusCode::OK, kind, format!("{theirs}{ours}"))
        }
        _ => {
            let pools = query::view(proxy, caller);
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            let page = status_page(&pools, proxy.started.elapsed());
            (StatusCode::OK, html, page)
        }
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
