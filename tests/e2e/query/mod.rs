//! The query side: one Prometheus out of many.

mod front;
mod health;
mod pool;
mod real;
mod selection;
mod series;
