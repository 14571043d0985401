//! Adit from the outside, over real sockets and against real peers. A file per concern.

#![allow(clippy::unwrap_used, reason = "in a test the panic is the finding")]

mod scrapes;
mod federation;
mod https;
mod connect;
mod discovery;
mod access;
mod addresses;

mod truncation;
mod cancellation;
mod streaming;
mod concurrency;
mod localhost;

mod liveness;
mod half_open;
mod idle_cut;

mod exporters;
mod requests;
mod upstreams;

mod limits;
mod forwarded;
mod refusals;
mod policy;
mod bad_requests;
mod bad_tunnels;

mod pages;
mod programs;
mod stopping;
mod drain;
mod secure;
mod several;
mod races;
mod waiting;
mod reloading;
mod pushprox;
mod web_config;

mod client_life;
mod identity;
mod wss;
mod http_proxy;
mod client_pages;
mod check;
mod secrets;
mod client_reload;

mod attacks;
mod leaks;
mod kills;
mod herd;

mod fronts;

mod query;

mod documents;
