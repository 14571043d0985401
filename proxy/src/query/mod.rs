//! One Prometheus out of many, from a query's head to the last byte of its answer.
//!
//! 1. [`asked`] is the request: what kind of thing is asked for, which decides what may be repeated and
//!    what is refused; and, read whole, what it asks.
//! 2. [`pool`] has the backends among which one is chosen, as `discovery` finds them. It looks at how
//!    they are, and asks [`strategy`] for an order of them, which [`affinity`] may change for one caller.
//! 3. [`attempt`] asks one after the other until one has answered, and holds the answer back until it is
//!    sure of it.
//! 4. [`answer`] goes this way with one request; [`under_way`] is its answer until the last byte. [`refusal`] has every answer of our own.
//!
//! [`backend`] is a Prometheus that answers, whatever the way to it; [`standing`] is what is known of how
//! it is, [`health`] finds that out. [`view`] tells why, and [`pages`] tell people.

mod asked;

mod standing;
mod backend;

mod health;
mod strategy;
mod affinity;

mod attempt;

mod pool;
pub(crate) mod view;

#[cfg(fuzzing)]
pub(crate) mod fuzzing;

mod refusal;
mod under_way;
mod answer;
mod pages;

pub(crate) use self::answer::answer;
pub(crate) use self::asked::Memory;
pub(crate) use self::attempt::QueryBody;
#[cfg(test)]
pub(crate) use self::backend::Failure;
pub(crate) use self::pages::{backends, explain, is_ready, view};
pub(crate) use self::pool::{Common, Pools};
