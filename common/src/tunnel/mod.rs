//! The tunnel: one WebSocket that carries one HTTP/2 connection, turned round.
//!
//! The client dials; after the upgrade the *proxy* speaks HTTP/2 as the client does elsewhere, and
//! our client answers it. In the order a byte meets them:
//!
//! 1. [`traffic`] counts what the socket below the WebSocket carries; any byte received is a sign
//!    of life.
//! 2. [`stream`] makes the WebSocket's binary messages a byte stream, one message a flush.
//! 3. [`watchdog`] lives inside that stream: a ping after some silence, the end after more, also
//!    while a write is blocked.
//! 4. [`settings`] holds every number of the HTTP/2 ends and of the WebSocket, with its reason.
//! 5. [`tasks`] runs what hyper spawns for a connection, so that ending a tunnel ends all of it.
//! 6. [`coalesce`] keeps small and empty DATA frames from ending a tunnel, and [`relay`] carries
//!    the raw bytes of a CONNECT under the same rule.
//! 7. [`goodbye`] is why an end closed, in words the other end acts on.
//!
//! A request inside the tunnel whose URI has an authority is for a target; one without is for the
//! client itself. It is the rule by which the proxy tells `GET http://pi/metrics` from its own page.

pub mod traffic;

pub mod goodbye;
pub mod stream;
pub mod watchdog;

pub mod settings;
pub mod tasks;

pub mod coalesce;
pub mod relay;

/// The sub-protocol of the WebSocket; its last part is the version.
pub const SUBPROTOCOL: &str = "adit.h2.v1";

/// Where clients dial, below the proxy's route prefix.
pub const PATH: &str = "/tunnel";

#[cfg(test)]
mod rows;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod message_tests;
