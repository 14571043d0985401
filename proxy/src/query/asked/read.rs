//! Taking a request in, whole.

use std::pin::pin;
use std::time::Duration;

use adit_common::headers::strip_hop_by_hop;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HOST};
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::time::{Instant, timeout_at};

use super::Asked;
use super::class::{Class, Kind};
use super::memory::{Held, Memory};
use super::params::{MOST_READ, Params, is_form};
use crate::config::limits::size;
use crate::query::refusal::Refusal;

/// What a body is first given, when nobody says how long it is: most are shorter.
const FIRST: usize = 4 << 10;

/// The request with its body, which is held until the [`Asked`] is dropped. A body of more than `most`
/// bytes is not taken, and one that says so is not waited for. `path` is below the pool's prefix.
///
/// # Errors
/// The body is too large, too slow, not whole, or there is no memory for it.
pub(crate) async fn read<B: Body<Data = Bytes>>(
    head: Parts,
    body: B,
    path: String,
    class: Class,
    most: usize,
    until: Instant,
    memory: &Memory,
) -> Result<Asked, Refusal> {
    let given = until.saturating_duration_since(Instant::now());
    let mut held = memory.take(0).ok_or_else(|| no_room(memory))?;
    let body = match timeout_at(until, collect(body, most, &mut held, memory)).await {
        Ok(body) => body?,
        Err(_) => return Err(Refusal::BodyTooSlow(given)),
    };
    let Parts {
        method,
        uri,
        mut headers,
        ..
    } = head;
    let query = uri.query().map(str::to_owned);
    let length = query.as_ref().map_or(0, String::len) + body.len();
    let looked_at = matches!(class.kind, Kind::Read | Kind::Federate) && length <= MOST_READ;
    let params = match looked_at {
        true => {
            // Of what they are read from there is a second, decoded copy.
            if !held.grow(length) {
                return Err(no_room(memory));
            }
            let form = is_form(&method, &headers).then_some(&*body);
            Params::read(query.as_deref(), form)
        }
        false => Params::default(),
    };
    strip_hop_by_hop(&mut headers);
    // The backend has a name of its own, the body is at hand, and nobody is kept waiting for it.
    for name in [HOST, CONTENT_LENGTH, EXPECT] {
        headers.remove(name);
    }
    Ok(Asked {
        class,
        method,
        path,
        query,
        headers,
        body,
        params,
        held,
    })
}

async fn collect<B: Body<Data = Bytes>>(
    body: B,
    most: usize,
    held: &mut Held,
    memory: &Memory,
) -> Result<Bytes, Refusal> {
    let hint = body.size_hint();
    if hint.lower() > most as u64 {
        return Err(Refusal::BodyTooLarge(most));
    }
    // Room grows with what has come, up to what was said to come.
    let announced = hint.exact().and_then(|length| usize::try_from(length).ok());
    let mut whole = Vec::new();
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::BadBody)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = whole.len() + data.len();
        if length > most {
            return Err(Refusal::BodyTooLarge(most));
        }
        let capacity = whole.capacity();
        if length > capacity {
            let next = (2 * capacity).max(FIRST).min(announced.unwrap_or(most));
            let next = next.max(length);
            if !held.grow(next - capacity) {
                return Err(no_room(memory));
            }
            whole.reserve_exact(next - whole.len());
        }
        whole.extend_from_slice(&data);
    }
    Ok(Bytes::from(whole))
}

fn no_room(memory: &Memory) -> Refusal {
    let most = size(memory.most());
    Refusal::Busy {
        limit: "query_memory",
        words: format!(
            "{most} of requests and answers are held, and there is no room for this one \
             (query_memory)"
        ),
    }
}

impl Asked {
    /// How long its answer may take: as long as it says, and no longer than `longest`.
    pub(crate) fn time_allowed(&self, longest: Duration) -> Duration {
        self.params
            .timeout
            .map_or(longest, |timeout| timeout.min(longest))
    }

    /// For tests of what comes after: what is asked by `line`, such as `GET /api/v1/query?query=up`.
    #[cfg(test)]
    pub(crate) fn of(line: &str) -> Self {
        let (method, target) = line.split_once(' ').expect("a method and a path");
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let method = method.parse().expect("a method");
        let allow = crate::config::query::Allow {
            write: true,
            admin: true,
            lifecycle: true,
            debug: true,
            unknown: true,
        };
        let gauge = prometheus::IntGauge::new("held", "Bytes.").expect("a gauge");
        Self {
            class: super::classify(&method, path, &allow).expect("a path that may be asked for"),
            method,
            path: path.to_owned(),
            params: Params::read(query.as_deref(), None),
            query,
            headers: http::HeaderMap::new(),
            body: Bytes::new(),
            held: Memory::new(0, gauge).take(0).expect("room for nothing"),
        }
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
