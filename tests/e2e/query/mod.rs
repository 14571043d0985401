//! The query side: one Prometheus out of many.

mod affinity;
mod asking;
mod asks;
mod attempts;
mod bodies;
mod discovery;
mod front;
mod grafana;
mod health;
mod hedging;
mod homes;
mod kills;
mod limits;
mod mpp;
mod pool;
mod promtool;
mod real;
mod refused;
mod reloads;
mod remote_read;
mod secrets;
mod selection;
mod series;
mod streaming;
mod tunnel;
mod users;
