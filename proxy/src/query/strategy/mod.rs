//! Which backend is best, and which is next: always a whole order.

use std::sync::Arc;
use std::time::Duration;

use super::standing::{Data, Tier};

/// A backend, as strategies see it.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) name: Arc<str>,
    pub(crate) tier: Tier,
    pub(crate) priority: u32,
    pub(crate) weight: u32,
    pub(crate) data: Data,
    pub(crate) under_way: usize,
    pub(crate) latency: Option<Duration>,
}
