//! What the backends of one pool have to know of each other.

/// Shared by the backends of one pool.
#[derive(Debug, Default)]
pub(crate) struct Peers {}
