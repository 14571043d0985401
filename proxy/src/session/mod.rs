//! A client's tunnel, from its upgrade to its end.
//!
//! 1. [`accept`] checks the upgrade and answers it.
//! 2. [`tunnel`] turns the WebSocket into HTTP/2, us being its client.
//! 3. [`registration`] reads what the client offers, line by line, as long as it lives.
//! 4. [`life`] puts those together: registered, serving, ended; and says why at each turn.
//!
//! What the registry holds of it, and scrapes go out by, is [`crate::carrier::Session`].

mod accept;
mod life;
mod registration;
mod tunnel;

pub(crate) use self::accept::accept;
