//! A backend, as sources find it.

use std::num::NonZero;

use crate::config::query::url::BackendUrl;
use crate::config::query::{Manner, StaticBackend};

/// Most backends of one source. A list with more of them is a mistake, or meant to cost us.
pub(super) const MOST_FOUND: usize = 1024;

/// A backend that a source has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) url: BackendUrl,
    /// For metrics and people; nothing: its address.
    pub(crate) name: Option<String>,
    pub(crate) manner: Manner,
}

/// A backend of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) found: Found,
    /// Who found it first: `static`, `file`, …
    pub(crate) source: &'static str,
}

impl Found {
    /// Spoken to as the source says.
    pub(crate) fn new(url: BackendUrl, manner: &Manner) -> Self {
        Self {
            url,
            name: None,
            manner: manner.clone(),
        }
    }

    /// With the source's own word on how often it is asked.
    pub(crate) fn weighing(mut self, priority: u32, weight: NonZero<u32>) -> Self {
        self.manner.priority = priority;
        self.manner.weight = weight;
        self
    }
}

impl From<&StaticBackend> for Found {
    fn from(backend: &StaticBackend) -> Self {
        Self {
            url: backend.url.clone(),
            name: backend.name.clone(),
            manner: backend.manner.clone(),
        }
    }
}

impl Listed {
    /// Whether nothing has changed: the same place, asked there as the same user and by the same `Host`.
    /// `==` is less: it tells places apart, and does not see who asks there.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (one, two) = (&self.found.url, &other.found.url);
        self == other && one.user == two.user && one.authority == two.authority
    }
}
