//! Prometheus' HTTP service discovery: <https://prometheus.io/docs/prometheus/latest/http_sd/>.

use std::time::Duration;

use ::http::header::{ACCEPT, AUTHORIZATION, HeaderName, USER_AGENT};
use ::http::{HeaderValue, Request, StatusCode, Uri};
use adit_common::fault::one_line;
use adit_common::telemetry::version;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use tokio::time::{Instant, timeout_at};

use super::turns::{self, blocking};
use super::{Found, Report, groups};
use crate::config::query::HttpSource;
use crate::outbound::Outbound;

/// For a whole look.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of a list, in bytes.
const MOST_BYTES: usize = 8 << 20;
const REFRESH: HeaderName = HeaderName::from_static("x-prometheus-refresh-interval-seconds");

/// Asks again and again. It never ends.
pub(super) async fn follow(source: HttpSource, report: Report) {
    loop {
        report.say(look(&source, &report).await).await;
        turns::next(source.refresh, 0.1).await;
    }
}

async fn look(source: &HttpSource, report: &Report) -> Result<Vec<Found>, String> {
    // Read each time: certificates and tokens are renewed.
    let files = {
        let source = source.clone();
        move || files(&source)
    };
    let (outbound, authorization) = blocking(report, files).await??;
    let groups = asked(source, &outbound, authorization).await?;
    let found = groups::json(&groups).and_then(|groups| groups::found(groups, &source.manner));
    found.map_err(|why| format!("its list{why}"))
}

fn files(source: &HttpSource) -> Result<(Outbound, Option<HeaderValue>), String> {
    let outbound = Outbound::new(&source.tls).map_err(|error| error.to_string())?;
    let authorization = source.credentials.as_ref().map(|file| file.read());
    let authorization = authorization
        .transpose()
        .map_err(|error| error.to_string())?;
    Ok((outbound, authorization))
}

async fn asked(
    source: &HttpSource,
    outbound: &Outbound,
    authorization: Option<HeaderValue>,
) -> Result<Bytes, String> {
    let deadline = Instant::now() + PATIENCE;
    let request = request(source, authorization)?;
    let answer = outbound.send(request, deadline).await;
    let answer = answer.map_err(|error| one_line(&error.to_string()))?;
    match answer.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => {
            return Err(format!(
                "it answered {status}: redirects are not followed, name the place itself"
            ));
        }
        status => return Err(format!("it answered {status}, 200 is expected")),
    }
    let body = Limited::new(answer.into_body(), MOST_BYTES).collect();
    match timeout_at(deadline, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(format!("its list has over {MOST_BYTES} bytes"))
        }
        Ok(Err(error)) => {
            let why = one_line(&error.to_string());
            Err(format!("its list broke off: {why}"))
        }
        Err(_) => Err(format!("no list within {PATIENCE:?}")),
    }
}

fn request(
    source: &HttpSource,
    authorization: Option<HeaderValue>,
) -> Result<Request<Full<Bytes>>, String> {
    let uri: Uri = source
        .url
        .expose()
        .parse()
        .map_err(|_| "its URL is none: expected http(s)://HOST[:PORT]/PATH".to_owned())?;
    if uri.authority().is_none_or(|at| at.as_str().contains('@')) {
        let words = "its URL has no user in it: expected http(s)://HOST[:PORT]/PATH, with basic_auth beside it";
        return Err(words.to_owned());
    }
    let mut request = Request::new(Full::default());
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(REFRESH, HeaderValue::from(source.refresh.as_secs()));
    if let Ok(agent) = HeaderValue::try_from(format!("adit-proxy/{}", version::VERSION)) {
        headers.insert(USER_AGENT, agent);
    }
    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, authorization);
    }
    Ok(request)
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
