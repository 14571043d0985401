//! Requests to the API server.

use std::time::Duration;

use adit_common::fault::one_line;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::cluster::Cluster;
use super::lines::Lines;
use super::object::{self, Event, Page, Status};
use super::resource::Resource;
use super::store::Store;
use crate::config::query::KubernetesSource;
use crate::outbound::Outbound;

/// For a request until its answer is whole; for a watch until it begins.
const TIME: Duration = Duration::from_secs(30);
/// Objects in a page.
const PAGE: usize = 500;
/// Most bytes of one. A pod rarely has over 30 KB.
const PAGE_BYTES: usize = 32 << 20;
/// Most bytes of what an error says.
const ERROR_BYTES: usize = 64 << 10;
const AGENT: &str = concat!("adit-proxy/", env!("CARGO_PKG_VERSION"));

/// An API server, asked as who we are there.
#[derive(Debug, Clone)]
pub(super) struct Api {
    cluster: Cluster,
    outbound: Outbound,
}

/// Why there is no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ApiError {
    /// What is asked for was forgotten: 410.
    Expired,
    /// It is not for us: 403. Something else that tells the same may be.
    Forbidden(String),
    /// It is not there: 404. Likewise.
    Absent(String),
    /// We are nobody there: 401.
    Unknown(String),
    /// It cannot be reached, or is in trouble.
    Failed(String),
}

/// A watch that is open. Dropping it closes its connection.
#[derive(Debug)]
pub(super) struct Watch {
    resource: Resource,
    body: Incoming,
    lines: Lines,
    until: Instant,
}

impl Api {
    /// With this cluster. It blocks: the system's roots may be read.
    ///
    /// # Errors
    /// What in it cannot be used.
    pub(super) fn new(cluster: Cluster) -> Result<Self, String> {
        let outbound = Outbound::new(&cluster.tls).map_err(|error| error.to_string())?;
        Ok(Self { cluster, outbound })
    }

    /// What it was made of.
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// All objects there are, page by page.
    pub(super) async fn list(
        &self,
        resource: Resource,
        source: &KubernetesSource,
    ) -> Result<Store, ApiError> {
        let question = resource.question(source);
        let mut store = Store::default();
        let mut next = None::<String>;
        loop {
            let mut address = format!("{question}&limit={PAGE}");
            if let Some(next) = &next {
                // A token of the server's own alphabet, which need not be a URL's.
                let pair = form_urlencoded::byte_serialize(next.as_bytes());
                address.extend(["&continue="].into_iter().chain(pair));
            }
            let page = self.page(resource, &address).await?;
            // A server that has more and gives none would have us ask for ever.
            let is_last = page.next.is_none() || page.objects.is_empty();
            next.clone_from(&page.next);
            store
                .add(page)
                .map_err(|stop| ApiError::Failed(format!("{resource}: {stop}")))?;
            if is_last {
                return Ok(store);
            }
        }
    }

    async fn page(&self, resource: Resource, address: &str) -> Result<Page, ApiError> {
        let failed = |why: String| ApiError::Failed(format!("{resource}: {why}"));
        let deadline = Instant::now() + TIME;
        let answer = self.get(resource, address, deadline).await?;
        let body = Limited::new(answer.into_body(), PAGE_BYTES).collect();
        let text = match timeout_at(deadline, body).await {
            Err(_) => return Err(failed("no whole answer in time".to_owned())),
            Ok(Err(error)) => return Err(failed(one_line(&error.to_string()))),
            Ok(Ok(body)) => body.to_bytes(),
        };
        object::page(resource, &text).map_err(|error| {
            failed(format!(
                "not what an API server says: {}",
                one_line(&error.to_string())
            ))
        })
    }

    /// What happens from this version on. The server ends it after `time`.
    pub(super) async fn watch(
        &self,
        resource: Resource,
        source: &KubernetesSource,
        version: &str,
        time: Duration,
        margin: Duration,
    ) -> Result<Watch, ApiError> {
        let version: String = form_urlencoded::byte_serialize(version.as_bytes()).collect();
        let address = format!(
            "{}&watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={}",
            resource.question(source),
            time.as_secs(),
        );
        let now = Instant::now();
        let answer = self.get(resource, &address, now + TIME).await?;
        Ok(Watch {
            resource,
            body: answer.into_body(),
            lines: Lines::default(),
            until: now + time + margin,
        })
    }

    /// Asks, and asks again with a new token where there is one.
    async fn get(
        &self,
        resource: Resource,
        address: &str,
        deadline: Instant,
    ) -> Result<Response<Incoming>, ApiError> {
        let shown = self.shown(deadline).await?;
        let mut answer = self.ask(address, shown.clone(), deadline).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            // It was put there between our reading and the server's.
            let newer = self.shown(deadline).await?;
            if newer != shown {
                answer = self.ask(address, newer, deadline).await?;
            }
        }
        match answer.status() {
            StatusCode::OK => Ok(answer),
            StatusCode::GONE => Err(ApiError::Expired),
            status => {
                let said = said(answer, deadline).await;
                let why = format!("{resource}: {status}: {said}");
                Err(match status {
                    StatusCode::UNAUTHORIZED => {
                        ApiError::Unknown(format!("{why}; is the token or certificate still good?"))
                    }
                    StatusCode::FORBIDDEN => ApiError::Forbidden(format!(
                        "{why}; a role has to allow get, list and watch"
                    )),
                    StatusCode::NOT_FOUND => ApiError::Absent(why),
                    _ => ApiError::Failed(why),
                })
            }
        }
    }

    async fn shown(&self, deadline: Instant) -> Result<Option<HeaderValue>, ApiError> {
        let identity = self.cluster.identity.clone();
        let shown = tokio::task::spawn_blocking(move || identity.shown());
        let shown = match timeout_at(deadline, shown).await {
            // It neither panics nor is aborted.
            Ok(shown) => shown.unwrap_or_else(|error| Err(error.to_string())),
            Err(_) => Err("the token cannot be read in time".to_owned()),
        };
        shown.map_err(ApiError::Failed)
    }

    async fn ask(
        &self,
        address: &str,
        shown: Option<HeaderValue>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, ApiError> {
        let server = &self.cluster.server;
        let mut request = Request::get(format!("{server}{address}"))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT);
        if let Some(shown) = shown {
            request = request.header(AUTHORIZATION, shown);
        }
        let failed = |why: String| ApiError::Failed(format!("{server}: {why}"));
        let request = request
            .body(Full::<Bytes>::default())
            .map_err(|error| failed(error.to_string()))?;
        let answer = self.outbound.send(request, deadline).await;
        answer.map_err(|error| failed(error.to_string()))
    }
}

/// What an answer that is no success says: an API server's words, or nothing of a stranger's.
async fn said(answer: Response<Incoming>, deadline: Instant) -> String {
    let body = Limited::new(answer.into_body(), ERROR_BYTES).collect();
    let text = match timeout_at(deadline, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => Bytes::new(),
    };
    match serde_json::from_slice::<Status>(&text) {
        Ok(status) if !status.message.is_empty() => one_line(&status.message),
        _ => "and no word of an API server's".to_owned(),
    }
}

impl Watch {
    /// What has happened since; `None` at the end of the watch.
    ///
    /// # Errors
    /// It broke, or says what no API server says.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Event>>, String> {
        loop {
            let mut events = Vec::new();
            while let Some(line) = self.lines.next().map_err(|error| error.to_string())? {
                let event = object::event(self.resource, &line);
                let event = event.map_err(|error| one_line(&error.to_string()))?;
                events.push(event);
            }
            if !events.is_empty() {
                return Ok(Some(events));
            }
            match timeout_at(self.until, self.body.frame()).await {
                Err(_) => return Err("silent for longer than it may last".to_owned()),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(one_line(&error.to_string())),
                Ok(Some(Ok(frame))) => {
                    if let Some(piece) = frame.data_ref() {
                        self.lines.push(piece);
                    }
                }
            }
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Expired => f.write_str("410 Gone: the list was forgotten while it was read"),
            Self::Forbidden(why) | Self::Absent(why) | Self::Unknown(why) | Self::Failed(why) => {
                f.write_str(why)
            }
        }
    }
}
