//! One request, all the way.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::asked::{self, Asked, Kind};
use super::attempt::{Answered, QueryBody};
use super::backend::Backend;
use super::pool::{Below, Choice, Pool};
use super::refusal::Refusal;
use super::under_way::UnderWay;
use crate::Proxy;
use crate::auth::Caller;
use crate::clock::Clock;
use crate::compat::mpp;

/// Which backend has answered.
const SERVED_BY: HeaderName = HeaderName::from_static("adit-served-by");
/// How many were asked.
const ATTEMPTS: HeaderName = HeaderName::from_static("adit-attempts");
/// Why this one.
const REASON: HeaderName = HeaderName::from_static("adit-reason");

/// Answers whatever came to `--query.listen-address`, from a caller who was let in. Dropped when the
/// caller leaves: then the backend is told, and nothing is held against it.
pub(crate) async fn answer(
    proxy: Arc<Proxy>,
    caller: Caller,
    clock: Clock,
    request: Request<Incoming>,
) -> Response<QueryBody> {
    let host = host(request.headers());
    let Some(Below { pool, path }) = proxy.queries.find(host.as_deref(), request.uri().path())
    else {
        let place = format!("{}{}", host.unwrap_or_default(), request.uri().path());
        return refused(&Refusal::NoPool(place));
    };
    let mut passage = Passage {
        proxy: &proxy,
        caller: &caller,
        pool: &pool,
        kind: "none",
        attempts: 0,
        last: None,
    };
    let answered = passage.make(clock, path, request).await;
    let response = match answered {
        Ok(response) => response,
        Err(refusal) => {
            let pool = &*pool.config().name;
            let peer = caller.visitor().peer();
            let asked = passage.last.as_deref().unwrap_or("nobody");
            tracing::debug!(%peer, pool, last_asked = asked, reason = %refusal, "query refused");
            if let Some(limit) = refusal.limit() {
                proxy.metrics.limit(limit);
            }
            let mut response = refused(&refusal);
            let attempts = HeaderValue::from(passage.attempts);
            response.headers_mut().insert(ATTEMPTS, attempts);
            response
        }
    };
    let code = response.status();
    let labels = [&*pool.config().name, passage.kind, code.as_str()];
    let requests = &proxy.metrics.query.requests;
    requests.with_label_values(&labels).inc();
    response
}

fn refused(refusal: &Refusal) -> Response<QueryBody> {
    let response = refusal.answer();
    response.map(|words| words.map_err(|never| match never {}).boxed())
}

/// Without it a pool that names hosts does not answer.
fn host(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(HOST)?.to_str().ok()?.to_owned())
}

/// One request on its way, as far as it has come.
struct Passage<'a> {
    proxy: &'a Arc<Proxy>,
    caller: &'a Caller,
    pool: &'a Pool,
    kind: &'static str,
    attempts: usize,
    /// Who was asked last, when nobody answered.
    last: Option<Arc<str>>,
}

impl Passage<'_> {
    async fn make(
        &mut self,
        clock: Clock,
        path: String,
        request: Request<Incoming>,
    ) -> Result<Response<QueryBody>, Refusal> {
        let config = self.pool.config();
        self.caller.may_query(&config.name).map_err(|words| {
            self.proxy.auth.note_forbidden(self.caller, &words);
            Refusal::Forbidden(words)
        })?;
        let class = asked::classify(request.method(), &path, &config.allow)?;
        self.kind = class.kind.as_str();
        if self.proxy.stop.draining().is_cancelled() && class.kind == Kind::Stream {
            return Err(Refusal::Draining);
        }
        let permit = Arc::clone(&self.proxy.query_permits).try_acquire_owned();
        let Ok(permit) = permit else {
            let most = self.proxy.limits.queries;
            let words = format!("{most} queries are under way, which is the most (queries)");
            return Err(Refusal::Busy {
                limit: "queries",
                words,
            });
        };
        let arrived = Instant::now();
        let latest = arrived + config.timeout;
        clock.extend(latest);
        let (parts, body) = request.into_parts();
        let most = config.request_body;
        let memory = self.proxy.queries.memory();
        let mut asked = asked::read(parts, body, path, class, most, latest, memory).await?;
        let granted = asked.time_allowed(config.timeout);
        let until = arrived + granted;
        match class.deadline {
            true => clock.extend(until),
            false => clock.stream(),
        }
        let address = self.caller.visitor().address();
        let choice = self.pool.choose(&mut asked, address).await;
        self.ask(asked, choice, (until, granted), permit).await
    }

    async fn ask(
        &mut self,
        asked: Asked,
        mut choice: Choice,
        (until, granted): (Instant, Duration),
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<Response<QueryBody>, Refusal> {
        if choice.order.is_empty() {
            return Err(Refusal::Nobody(self.pool.config().name.to_string()));
        }
        let attempts = self.pool.attempts();
        let order = std::mem::take(&mut choice.order);
        let endless = asked.class.kind == Kind::Stream;
        let made = attempts.make(asked, order, until, granted).await;
        let answered = made.map_err(|refused| {
            self.attempts = refused.attempts;
            self.last = refused.last;
            refused.refusal
        })?;
        let Answered {
            mut response,
            by,
            attempts,
            reason,
        } = answered;
        self.attempts = attempts;
        let why = match reason {
            "first" => choice.reason.to_owned(),
            reason => format!("{}, {reason}", choice.reason),
        };
        self.sign(response.headers_mut(), &by, &why);
        let https = self.proxy.auth.web().current().tls.is_some();
        if let Some(cookie) = self.pool.cookie(&choice, &by.name, https) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        let draining = endless.then(|| self.proxy.stop.draining());
        Ok(response.map(|body| UnderWay::new(body, permit, draining).boxed()))
    }

    /// Who has answered, and why they.
    fn sign(&self, headers: &mut HeaderMap, by: &Backend, why: &str) {
        // A name is what an operator or a source wrote: it may be no header's value.
        let name = HeaderValue::from_bytes(by.name.as_bytes());
        headers.insert(SERVED_BY, name.unwrap_or(HeaderValue::from_static("?")));
        headers.insert(ATTEMPTS, HeaderValue::from(self.attempts));
        if let Ok(why) = HeaderValue::from_str(why) {
            headers.insert(REASON, why);
        }
        if self.proxy.config.mpp
            && let Ok(place) = HeaderValue::from_str(&by.url.origin())
        {
            headers.insert(mpp::SERVED_BY, place);
        }
    }
}
