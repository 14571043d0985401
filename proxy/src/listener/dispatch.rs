//! Who is meant: a target, or ourselves.

use std::convert::Infallible;
use std::sync::Arc;

use adit_common::tunnel;
use http::header::{AUTHORIZATION, CONNECTION, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;

use super::answer::AnswerBody;
use super::misdirected::misdirected;
use crate::Proxy;
use crate::auth::{Visitor, Way};
use crate::clock::Clock;
use crate::compat::mpp;
use crate::config::Roles;
use crate::scrape::Refusal;
use crate::{admin, pushprox, query, scrape, session};

/// Answers one request. `GET http://pi/metrics` is a scrape and `GET /metrics` our own page: the
/// form of the request target decides (RFC 9112 §3.2), before anything looks at a path.
pub(super) async fn dispatch(
    proxy: Arc<Proxy>,
    roles: Roles,
    admitted: Result<Visitor, Refusal>,
    clock: Clock,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let serving = clock.serve();
    let version = request.version();
    let is_connect = request.method() == Method::CONNECT;
    let web = proxy.auth.web().current();
    let checked = check_framing(&clock)
        .and_then(|()| check_host(&request))
        .and_then(|()| check_coding(request.headers()));
    let answer = if let Err(reason) = checked {
        malformed(&proxy, reason)
    } else if web.rate_limit.as_ref().is_some_and(|limit| !limit.allow()) {
        too_many(&proxy)
    } else {
        match admitted {
            Ok(visitor) => answer(Arc::clone(&proxy), roles, visitor, clock, request).await,
            Err(refusal) => closing(refusal.answer()).map(AnswerBody::from),
        }
    };
    let answer = match answer.body().is_passed_on() {
        true => answer,
        false => with_headers(answer, &web.headers),
    };
    let answer = match proxy.stop.draining().is_cancelled() && !switches(is_connect, &answer) {
        true => closing(answer),
        false => answer,
    };
    Ok(answer.map(|body| body.serving(serving, version)))
}

async fn answer(
    proxy: Arc<Proxy>,
    roles: Roles,
    visitor: Visitor,
    clock: Clock,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let uri = request.uri();
    let is_connect = request.method() == Method::CONNECT;
    if is_connect || uri.scheme().is_some() {
        if !roles.scrape {
            return not_here();
        }
        let caller = proxy.auth.scraper(&visitor, request.headers(), Way::Proxy);
        let caller = match caller.await {
            Ok(caller) => caller,
            Err(denied) => return denied.answer(Way::Proxy).map(AnswerBody::from),
        };
        return match is_connect {
            true => scrape::connect(proxy, caller, clock, request).await,
            false => scrape::absolute(proxy, caller, clock, request).await,
        }
        .map(AnswerBody::from);
    }
    if uri.authority().is_some() {
        let reason = "the request target is neither a URI nor a path";
        return scrape::bad_request(reason).map(AnswerBody::from);
    }
    if roles.query {
        return queried(proxy, visitor, clock, request).await;
    }
    let Some(path) = below(&proxy.config.route_prefix, uri.path()) else {
        return not_here();
    };
    if roles.tunnel && path == tunnel::PATH {
        session::accept(&proxy, visitor, clock, request)
            .await
            .map(AnswerBody::from)
    } else if roles.tunnel && proxy.config.pushprox && path == pushprox::POLL_PATH {
        pushprox::poll(proxy, visitor, clock, request)
            .await
            .map(AnswerBody::from)
    } else if roles.tunnel && proxy.config.pushprox && path == pushprox::PUSH_PATH {
        pushprox::push(proxy, visitor, clock, request)
            .await
            .map(AnswerBody::from)
    } else if roles.scrape && path.starts_with(scrape::PATH_STYLE) || roles.web {
        let path = path.to_owned();
        origin(proxy, roles, visitor, clock, &path, request).await
    } else {
        not_here()
    }
}

/// What is asked of us as a server by scrapers and people.
async fn origin(
    proxy: Arc<Proxy>,
    roles: Roles,
    visitor: Visitor,
    clock: Clock,
    path: &str,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let caller = proxy.auth.scraper(&visitor, request.headers(), Way::Origin);
    let caller = match caller.await {
        Ok(caller) => caller,
        Err(denied) => return denied.answer(Way::Origin).map(AnswerBody::from),
    };
    if roles.scrape && path.starts_with(scrape::PATH_STYLE) {
        return scrape::path_style(proxy, caller, clock, request)
            .await
            .map(AnswerBody::from);
    }
    // Behind the credentials: what names there are is nothing for strangers.
    if let Some(host) = misdirected(&proxy, request.headers()) {
        return scrape::misdirected(&host).map(AnswerBody::from);
    }
    admin::page(&proxy, caller, path, request)
        .await
        .map(AnswerBody::from)
}

/// What is asked of the query side: its pools have paths of their own, and no prefix is taken off here.
async fn queried(
    proxy: Arc<Proxy>,
    visitor: Visitor,
    clock: Clock,
    mut request: Request<Incoming>,
) -> Response<AnswerBody> {
    let caller = proxy.auth.scraper(&visitor, request.headers(), Way::Origin);
    let caller = match caller.await {
        Ok(caller) => caller,
        Err(denied) => return denied.answer(Way::Origin).map(AnswerBody::from),
    };
    if admin::is_beside_queries(request.uri().path()) {
        return admin::beside_queries(&proxy, caller, request)
            .await
            .map(AnswerBody::from);
    }
    if proxy.config.mpp && mpp::is_page(request.uri().path()) {
        let page = mpp::page(&proxy, &caller, request.uri().path());
        return page.map(|text| AnswerBody::from(Full::from(text)));
    }
    if caller.asked_by_us() {
        request.headers_mut().remove(AUTHORIZATION);
    }
    query::answer(proxy, caller, clock, request)
        .await
        .map(AnswerBody::from)
}

/// One `Host`, as RFC 9112 §3.2 wants it: with two, what stands behind another proxy may have
/// been meant for somebody else.
fn check_host(request: &Request<Incoming>) -> Result<(), &'static str> {
    let hosts = request.headers().get_all(HOST).iter().count();
    match hosts {
        1 => Ok(()),
        0 if request.version() < Version::HTTP_11 => Ok(()),
        0 => Err("the request has no Host field"),
        _ => Err("the request has more than one Host field"),
    }
}

/// One end of the body, said in one way (RFC 9112 §6.1).
fn check_framing(clock: &Clock) -> Result<(), &'static str> {
    match clock.takes_ambiguous() {
        true => Err("the request has a Content-Length beside a Transfer-Encoding"),
        false => Ok(()),
    }
}

/// No transfer coding but chunked, once: hyper takes off the last of several, and whoever is behind us
/// would take what is left for the body itself (RFC 9112 §6.1).
fn check_coding(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err("the request has a Transfer-Encoding other than chunked"),
    }
}

/// Who frames a request against the grammar may mean more than one by it: the connection ends here.
fn malformed(proxy: &Proxy, reason: &str) -> Response<AnswerBody> {
    proxy.metrics.malformed.inc();
    closing(scrape::bad_request(reason).map(AnswerBody::from))
}

/// The path below the prefix, with its slash; `None` outside.
fn below<'a>(prefix: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    rest.starts_with('/').then_some(rest)
}

/// As the web configuration wants it.
fn with_headers(mut answer: Response<AnswerBody>, headers: &HeaderMap) -> Response<AnswerBody> {
    for (name, value) in headers {
        answer.headers_mut().insert(name, value.clone());
    }
    answer
}

/// Whether the connection is another protocol's from here on.
fn switches<B>(is_connect: bool, answer: &Response<B>) -> bool {
    answer.status() == StatusCode::SWITCHING_PROTOCOLS || is_connect && answer.status().is_success()
}

/// Nothing else is asked here: of whoever is one too many, or when we stop.
fn closing<B>(mut answer: Response<B>) -> Response<B> {
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    answer
}

fn too_many(proxy: &Proxy) -> Response<AnswerBody> {
    proxy.metrics.limit("rate_limit");
    let words = "more requests than the rate_limit of the web configuration allows\n";
    let mut response = Response::new(AnswerBody::from(Full::from(words)));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response
}

fn not_here() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::from(Full::from("404 page not found\n")));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_whole_segments() {
        assert_eq!(below("", "/metrics"), Some("/metrics"));
        assert_eq!(below("/adit", "/adit/metrics"), Some("/metrics"));
        assert_eq!(below("/adit", "/aditmetrics"), None);
        assert_eq!(below("/adit", "/metrics"), None);
        assert_eq!(below("", "*"), None);
    }

    #[test]
    fn one_transfer_coding_is_understood() {
        let check = |codings: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for coding in codings {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(coding));
            }
            check_coding(&headers).is_ok()
        };
        assert!(check(&[]) && check(&["chunked"]) && check(&["Chunked"]));
        for codings in [
            &["gzip, chunked"][..],
            &["identity, chunked"],
            &["chunked, chunked"],
            &["identity", "chunked"],
            &["chunked", "chunked"],
            &["xchunked"],
            &[""],
        ] {
            assert!(!check(codings), "{codings:?}");
        }
    }
}
