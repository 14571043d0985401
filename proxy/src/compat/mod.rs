//! What users of programs before us have in their hands: their flags, their variables, their pages.
//!
//! * [`mpp`] is the proxy for several Prometheis that ended with Prometheus 1 (`--compat.mpp`).
//!
//! PushProx's way is a journey of its own, `pushprox`.

pub(crate) mod mpp;
