//! The network between two ends, and what can go wrong in it.
//!
//! * [`relay`] is the network to one address: a listener that makes a link of every connection. It
//!   may close its door, or have none.
//! * [`link`] is one connection: two ways, and what ends it. It runs over sockets, and over pipes
//!   in memory with a paused clock: all its time is tokio's.
//! * [`lane`] is what a way does to the bytes on it; it may change at any moment.
//! * [`carry`] does it.
//!
//! Two faults look alike at first. A way that is *stalled* reads nothing: the sender's buffers fill,
//! its writes block, and when it resumes nothing is lost. A way that *swallows* takes everything and
//! hands on nothing, not even an end; what it took is gone, so that it is for good.

pub mod relay;

pub mod link;
pub mod lane;
mod carry;

#[cfg(test)]
mod tests;

pub use lane::Lane;
pub use link::{Cut, Ended, Link, Plan};
pub use relay::Relay;

/// A direction of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From who dialled to who listened: from a client to its proxy.
    Up,
    /// Back.
    Down,
}

impl Way {
    fn index(self) -> usize {
        match self {
            Self::Up => 0,
            Self::Down => 1,
        }
    }
}

/// One way only.
pub const UP: &[Way] = &[Way::Up];
/// The other.
pub const DOWN: &[Way] = &[Way::Down];
/// Both ways.
pub const BOTH: &[Way] = &[Way::Up, Way::Down];
