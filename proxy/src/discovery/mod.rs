//! Where backends are.
//!
//! Each [`Source`](crate::config::query::Source) is followed by a task of its own, which tells what it has found, or that it failed,
//! to a [`Report`]. [`union`] holds what each said last, and makes one list of all.

mod union;
mod kubernetes;
mod marathon;

use std::num::NonZero;

use crate::config::query::Manner;
use crate::config::query::url::BackendUrl;

pub(crate) use self::union::Report;

/// A backend that a source has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) url: BackendUrl,
    /// For metrics and people; nothing: its address.
    pub(crate) name: Option<String>,
    pub(crate) manner: Manner,
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

#[cfg(test)]
#[path = "../../../tests/src/fake_clusters/mod.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "it is another crate's, and has all that one needs"
)]
mod fake_clusters;
