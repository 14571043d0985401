//! Who carries which name, and who waits for it.
//!
//! * [`memory`] is what this process knows by itself, and for a single proxy all there is.
//! * [`tables`] has the names as they are at one moment.
//! * [`seat`] is one name: its sessions, its polls, and whose turn it is when there are several.
//! * [`lease`] is a carrier on loan to one scrape.
//! * [`waiting`] holds the scrapes of names that are away until they return.

mod memory;
mod seat;
mod tables;

mod lease;

mod waiting;

pub(crate) use self::lease::Lease;
pub(crate) use self::memory::{Found, Memory, Registry, Tunnel};
pub(crate) use self::waiting::{Full, Waiting};
