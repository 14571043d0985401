//! A Prometheus that answers: direct, or a target that some client offers. Above this nobody asks which.
//!
//! * [`direct`] dials it, with TLS and credentials where they are wanted, and keeps connections.
//! * [`tunnel`] is a client's session, which ends the moment it is lost.
//! * [`failure`] is why there was no answer, [`body`] the answer's body, [`load`] how much is under way.
//! * [`passive`] is what requests tell of it.

mod direct;

mod body;
mod failure;
mod load;
mod passive;

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::{HeaderMap, Method};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub(crate) use self::body::BackendBody;
pub(crate) use self::failure::Failure;
pub(crate) use self::load::{Load, UnderWay};

use self::direct::Direct;
use super::standing::{Member, Standing};
use crate::config::query::Health;
use crate::config::query::url::BackendUrl;

/// One backend of a pool.
#[derive(Debug)]
pub(crate) struct Backend {
    reach: Reach,
    /// Unique in its pool, for metrics and people.
    pub(crate) name: Arc<str>,
    pub(crate) url: BackendUrl,
    pub(crate) priority: u32,
    pub(crate) weight: u32,
    /// Who found it first: `static`, `file`, …
    pub(crate) source: &'static str,
    pub(crate) load: Load,
    /// How it is, and whoever wants to know when that changes.
    pub(crate) standing: watch::Sender<Standing>,
    /// How it is watched: the pool's `health`.
    pub(crate) rules: Arc<Health>,
    /// Its place in its pool: [`Peers::join`](super::standing::Peers::join).
    pub(crate) member: Member,
    /// A probe is wanted at once: `Notify::new()`.
    pub(crate) wanted: Notify,
}

/// What a backend is sent. Path and query are below its own prefix, as they came.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) method: Method,
    pub(crate) path_and_query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The way to it.
#[derive(Debug)]
enum Reach {
    Direct(Direct),
}

impl Backend {
    /// Sends it and waits for the head of the answer, until `deadline` at most. Dropping the future, or
    /// the answer's body before its end, cancels what the backend does. Neither the load nor the standing
    /// changes by it: whoever sends knows what it means.
    pub(crate) async fn send(
        &self,
        question: Question,
        deadline: Instant,
    ) -> Result<Response<BackendBody>, Failure> {
        match &self.reach {
            Reach::Direct(direct) => direct.send(question, deadline).await,
        }
    }
}
