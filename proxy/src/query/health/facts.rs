//! What strategies compare, asked more seldom than a probe: how far back it goes, how much there is.

use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use super::ask::{ask, get, send};
use super::exposition::{Exposition, Found};
use super::probe::{Habits, REMEMBERED, started};
use crate::query::backend::{Backend, BackendBody, Failure};
use crate::query::standing::Facts;

/// The longest page of metrics: a million lines.
const MOST_METRICS: usize = 32 << 20;
/// The longest list of blocks: some ten thousand.
const MOST_BLOCKS: usize = 4 << 20;

/// What one server does not have.
#[derive(Debug, Default)]
pub(super) struct Lacks {
    habits: Habits,
    /// No list of its blocks, as of then: that is of 3.6.
    no_blocks: Option<Instant>,
}

/// Asks for all of it until `deadline`. Nothing when it cannot be asked now, which says nothing of its
/// data; what a server does not show is unknown.
pub(super) async fn facts(
    backend: &Backend,
    lacks: &mut Lacks,
    deadline: Instant,
) -> Option<Facts> {
    let found = metrics(backend, deadline).await.ok()?;
    let (stored_samples, oldest_block) = blocks(backend, lacks, deadline).await.unzip();
    // The same source each time: the two differ by a second or so.
    let told = started(backend, &mut lacks.habits, deadline).await;
    Some(Facts {
        oldest: found.oldest().or(oldest_block.flatten()),
        started: told.or(found.started()),
        stored_samples,
        head_series: found.head_series,
        ingested_samples: found.ingested_samples(),
        version: found.version.map(Into::into),
    })
}

/// Read as it comes, never held whole.
async fn metrics(backend: &Backend, deadline: Instant) -> Result<Found, Failure> {
    let answer = send(backend, get("/metrics"), deadline).await?;
    if answer.status() != StatusCode::OK || is_encoded(answer.headers()) {
        return Ok(Found::default());
    }
    let late = || Failure::Deadline("its metrics did not come in time".to_owned());
    timeout_at(deadline, read(answer))
        .await
        .map_err(|_| late())?
}

async fn read(answer: Response<BackendBody>) -> Result<Found, Failure> {
    let mut body = answer.into_body();
    let mut page = Exposition::default();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        length += data.len();
        if length > MOST_METRICS {
            // Half of the samples would be worse than none.
            return Ok(Found::default());
        }
        page.feed(&data);
    }
    Ok(page.finish())
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let encoding = headers.get(CONTENT_ENCODING);
    encoding.is_some_and(|encoding| encoding != "identity")
}

async fn blocks(
    backend: &Backend,
    lacks: &mut Lacks,
    deadline: Instant,
) -> Option<(f64, Option<f64>)> {
    if lacks.no_blocks.is_some_and(|at| at.elapsed() < REMEMBERED) {
        return None;
    }
    let path = get("/api/v1/status/tsdb/blocks");
    let said = ask(backend, path, MOST_BLOCKS, deadline).await.ok()?;
    let refused = said.status.is_client_error();
    lacks.no_blocks = refused.then(Instant::now);
    said.blocks()
}
