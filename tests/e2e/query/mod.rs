//! The query side: one Prometheus out of many.

mod asking;
mod discovery;
mod front;
mod health;
mod pool;
mod reloads;
mod secrets;
mod selection;
mod grafana;
mod homes;
mod kills;
mod promtool;
mod remote_read;
mod tunnel;
mod mpp;
