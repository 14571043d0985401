//! The query side: one Prometheus out of many.

mod affinity;
mod asks;
mod attempts;
mod bodies;
mod front;
mod health;
mod hedging;
mod limits;
mod pool;
mod refused;
mod selection;
mod streaming;
