//! The query side: one Prometheus out of many.

mod asking;
mod front;
mod health;
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
