//! The query side: one Prometheus out of many.

mod front;
mod mpp;
