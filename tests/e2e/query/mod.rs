//! The query side: one Prometheus out of many.

mod asking;
mod affinity;
mod asks;
mod attempts;
mod bodies;
mod front;
mod health;
mod hedging;
mod limits;
mod pool;
mod real;
mod selection;
mod grafana;
mod homes;
mod kills;
mod promtool;
mod remote_read;
mod tunnel;
mod mpp;
mod users;
mod series;
mod refused;
mod selection;
mod streaming;
