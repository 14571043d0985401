//! Which session holds which name.
//!
//! [`memory`] is what this process knows by itself, and for a single proxy all there is.

mod memory;

pub(crate) use self::memory::{Found, Registry};
