//! Whether a target is offered, and where it really is. Nobody is trusted with more: the proxy
//! and whoever scrapes through it reach what is written here and nothing else.
//!
//! 1. [`Offer::admit`] looks the target up: by its host and port, as they were written by whoever
//!    runs this client, or among the ports of its names.
//! 2. [`rules`] says whether it may be asked that: the method, the path, or raw bytes.
//! 3. What it may cost, and what a name may lead to, is [`crate::upstream`]'s.

mod offer;
mod rules;

pub(crate) use self::offer::{Asked, Offer};
