//! A client's tunnel, from its upgrade to its end.
//!
//! 1. [`accept`] checks the upgrade and answers it.
//! 2. [`tunnel`] turns the WebSocket into HTTP/2, us being its client.
//! 3. [`registration`] reads what the client offers, line by line, as long as it lives.
//! 4. [`life`] puts those together: registered, serving, ended; and says why at each turn.
//! 5. [`carrier`] is what the registry holds of it: scrapes go out by it.

mod accept;
mod carrier;
mod life;
mod registration;
mod tunnel;

pub(crate) use self::accept::accept;
pub(crate) use self::carrier::{SendError, Session, TunnelBody};
