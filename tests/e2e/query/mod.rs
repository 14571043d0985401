//! The query side: one Prometheus out of many.

mod affinity;
mod asking;
mod asks;
mod attempts;
mod bodies;
mod front;
mod health;
mod hedging;
mod limits;
mod pool;
mod real;
mod refused;
mod selection;
mod streaming;
mod grafana;
mod homes;
mod kills;
mod promtool;
mod remote_read;
mod tunnel;
mod mpp;
mod users;
