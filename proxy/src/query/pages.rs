//! What people ask of us about pools.

use std::time::Duration;

use futures_util::FutureExt as _;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::Empty;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::asked::Asked;
use super::refusal::Refusal;
use super::view::PoolView;
use super::{asked, view as seen};
use crate::Proxy;
use crate::auth::Caller;
use crate::config::query::{Allow, Pool as Config};

/// For a body that is not there.
const READ: Duration = Duration::from_secs(1);

/// Whether every pool has somebody who can be asked.
///
/// # Errors
/// Which has nobody.
pub(crate) fn is_ready(proxy: &Proxy) -> Result<(), String> {
    let pools = proxy.queries.current();
    let empty = pools.iter().find(|pool| !pool.is_ready());
    empty.map_or(Ok(()), |pool| {
        Err(format!(
            "pool {} has no backend that can be asked",
            pool.config().name
        ))
    })
}

/// Every pool that the caller may ask, with its backends.
pub(crate) fn view(proxy: &Proxy, caller: &Caller) -> Vec<PoolView> {
    let pools = proxy.queries.current();
    let pools = pools.iter().filter(|pool| may(caller, pool.config()));
    pools.map(|pool| seen::pool(pool)).collect()
}

/// The same as JSON.
pub(crate) fn backends(proxy: &Proxy, caller: &Caller) -> Value {
    json!({"pools": view(proxy, caller)})
}

/// Whom a query would be sent to: `?query=…` with the parameters of `/api/v1/query_range`. Of several pools
/// it is the one that answers to this host, or the one that `pool=` names.
///
/// # Errors
/// There is no such pool.
pub(crate) fn explain(
    proxy: &Proxy,
    caller: &Caller,
    headers: &HeaderMap,
    host: Option<&str>,
    query: Option<&str>,
) -> Result<Value, String> {
    let wanted = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(key, _)| key == "pool")
        .map(|(_, value)| value.into_owned());
    let pools = proxy.queries.current();
    let mut found = pools.iter().filter(|pool| may(caller, pool.config()));
    let answering = proxy.queries.find(host, "/").map(|below| below.pool);
    let answering = answering.filter(|pool| may(caller, pool.config()));
    let pool = match &wanted {
        None => answering.or_else(|| found.next().cloned()),
        Some(name) => found.find(|pool| *pool.config().name == **name).cloned(),
    };
    let pool = pool.ok_or_else(|| match wanted {
        Some(name) => format!("there is no pool {name:?}"),
        None => "there is no pool".to_owned(),
    })?;
    let asked = example(proxy, headers, query)?;
    let explanation = seen::explain(&pool, &asked, headers);
    serde_json::to_value(explanation).map_err(|error| error.to_string())
}

/// As if it had come: a range where there is a start, else an instant.
fn example(proxy: &Proxy, headers: &HeaderMap, query: Option<&str>) -> Result<Asked, String> {
    let query = query.unwrap_or_default();
    let pairs = form_urlencoded::parse(query.as_bytes());
    let path = match pairs.into_iter().any(|(key, _)| key == "start") {
        true => "/api/v1/query_range",
        false => "/api/v1/query",
    };
    let class = asked::classify(&Method::GET, path, &Allow::default());
    let class = class.map_err(|refusal| refusal.to_string())?;
    let mut request = Request::new(());
    // What came as a query string is one here as well.
    let uri = format!("{path}?{query}").parse::<Uri>();
    *request.uri_mut() = uri.map_err(|error| error.to_string())?;
    *request.headers_mut() = headers.clone();
    let (parts, ()) = request.into_parts();
    let (until, memory) = (Instant::now() + READ, proxy.queries.memory());
    let reading = asked::read(
        parts,
        Empty::new(),
        path.to_owned(),
        class,
        0,
        until,
        memory,
    );
    // There is no body to wait for.
    let read = reading.now_or_never().unwrap_or(Err(Refusal::BadBody));
    read.map_err(|refusal| refusal.to_string())
}

fn may(caller: &Caller, pool: &Config) -> bool {
    caller.may_query(&pool.name).is_ok()
}
