//! A Kubernetes API server and a Marathon with its login, scripted, that say what real ones say.
//!
//! The proxy's own tests have them in by path, to hold its discovery against them without a proxy around
//! it; so nothing of `adit-tests` is used in here.

mod serving;
mod selector;
mod objects;
pub mod kubernetes;
pub mod marathon;

pub use serving::{Asked, certificate};
