//! The way of PushProx's released clients, which go on working: they poll for a scrape, and push
//! its answer.
//!
//! 1. [`poll`] parks a request to `/poll` until a scrape is handed to it, and keeps it alive.
//! 2. [`push`] finds the scrape that a request to `/push` answers, and passes the body on as it
//!    comes; [`stream`] is one that is too large to be held back until it is whole.
//! 3. [`wire`] is both in bytes.
//!
//! Nothing of it outlives its connection: a poll leaves the registry when its connection closes, a
//! push that nobody waits for is refused before its body is read.

mod poll;
mod push;
mod stream;

pub(crate) mod wire;

pub(crate) use self::poll::{POLL_PATH, poll};
pub(crate) use self::push::{PUSH_PATH, push};
