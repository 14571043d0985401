//! What is asked: its kind, and what it says.
//!
//! 1. [`class`] knows every path of Prometheus and what may be done with it, from the head alone,
//!    in whatever [`spelling`].
//! 2. [`read`] takes the body in, up to a bound, and the parameters out of it and the URL.
//!
//! [`memory`] is the bound on what is held by all of them together.

mod spelling;
mod class;
mod moment;
mod params;
mod read;

mod memory;

use bytes::Bytes;
use http::{HeaderMap, Method};

pub(crate) use self::class::{Class, Kind, classify};
pub(crate) use self::memory::{Held, Memory};
pub(crate) use self::params::Params;
pub(crate) use self::read::read;

/// A request for a backend, whole. What a strategy sees: a later one may look at the times it asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) class: Class,
    pub(crate) method: Method,
    /// Below the pool's prefix, with its slash, as it was sent.
    pub(crate) path: String,
    /// Behind the question mark, as it was sent.
    pub(crate) query: Option<String>,
    /// What passes: nothing between two hops, nor what a backend's own head has. Credentials that were
    /// for us are taken off by whoever looked at them.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) params: Params,
    /// The room that body and parameters take.
    #[allow(dead_code, reason = "it is given back when this is dropped")]
    pub(crate) held: Held,
}
