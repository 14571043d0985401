//! Who is meant: a target, or ourselves.

use std::convert::Infallible;
use std::sync::Arc;

use adit_common::net::socket::Peer;
use adit_common::tunnel;
use http::header::HOST;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;

use super::answer::AnswerBody;
use crate::Proxy;
use crate::clock::Clock;
use crate::config::Roles;
use crate::{admin, pushprox, scrape, session};

/// Answers one request. `GET http://pi/metrics` is a scrape and `GET /metrics` our own page: the
/// form of the request target decides (RFC 9112 §3.2), before anything looks at a path.
pub(super) async fn dispatch(
    proxy: Arc<Proxy>,
    roles: Roles,
    peer: Peer,
    clock: Clock,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let serving = clock.serve();
    let answer = match check_host(&request) {
        Err(reason) => scrape::bad_request(reason).map(AnswerBody::from),
        Ok(()) => answer(proxy, roles, peer, clock, request).await,
    };
    Ok(answer.map(|body| body.serving(serving)))
}

async fn answer(
    proxy: Arc<Proxy>,
    roles: Roles,
    peer: Peer,
    clock: Clock,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let uri = request.uri();
    if request.method() == Method::CONNECT {
        return match roles.scrape {
            true => scrape::connect(proxy, peer, clock, request)
                .await
                .map(AnswerBody::from),
            false => not_here(),
        };
    }
    if uri.scheme().is_some() {
        return match roles.scrape {
            true => scrape::absolute(proxy, peer, clock, request)
                .await
                .map(AnswerBody::from),
            false => not_here(),
        };
    }
    if uri.authority().is_some() {
        let reason = "the request target is neither a URI nor a path";
        return scrape::bad_request(reason).map(AnswerBody::from);
    }
    let Some(path) = below(&proxy.config.route_prefix, uri.path()) else {
        return not_here();
    };
    if roles.tunnel && path == tunnel::PATH {
        session::accept(&proxy, peer, clock, request).map(AnswerBody::from)
    } else if roles.tunnel && proxy.config.pushprox && path == pushprox::POLL_PATH {
        pushprox::poll(proxy, peer, clock, request)
            .await
            .map(AnswerBody::from)
    } else if roles.tunnel && proxy.config.pushprox && path == pushprox::PUSH_PATH {
        pushprox::push(proxy, peer, clock, request)
            .await
            .map(AnswerBody::from)
    } else if roles.scrape && path.starts_with(scrape::PATH_STYLE) {
        scrape::path_style(proxy, peer, clock, request)
            .await
            .map(AnswerBody::from)
    } else if roles.web {
        let path = path.to_owned();
        admin::page(&proxy, &path, request)
            .await
            .map(AnswerBody::from)
    } else {
        not_here()
    }
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

/// The path below the prefix, with its slash; `None` outside.
fn below<'a>(prefix: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    rest.starts_with('/').then_some(rest)
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
}
