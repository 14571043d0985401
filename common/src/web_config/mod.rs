//! The file of `--web.config.file`, in the format of Prometheus' exporter-toolkit: TLS, client CAs,
//! users, headers, a rate limit. <https://prometheus.io/docs/prometheus/latest/configuration/https/>
//!
//! `written` is what the file says, read strictly. `sources` reads it and the files it names, and
//! knows them again. [`WebConfig`] is what is meant (`config`), of [`Users`] with their hashes
//! (`users`), `headers`, a [`RateLimit`] (`rate_limit`) and [`ServerTls`] (`server_tls`), which asks
//! for clients' certificates as `client_certificates` says, knows who showed one by its
//! [`PeerNames`] (`peer_names`), and shakes hands (`handshake`); what it then gives is a [`Secured`]
//! (`secured`). [`Passwords`] checks what users say off the runtime, bounded and cached
//! (`passwords`). [`Web`] is the configuration in force: it reads anew what changes, and keeps the
//! last good one (`in_force`).
//!
//! Stricter than exporter-toolkit where a file would work and not do what it says; the list stands
//! in docs/web-config.md. No error, no `Debug` and no log shows a hash, a key or a password.

mod sources;
mod written;

mod headers;
mod rate_limit;
mod users;

mod client_certificates;
mod handshake;
mod peer_names;
mod server_tls;

mod config;

mod in_force;

mod passwords;
mod secured;

pub use config::WebConfig;
pub use handshake::{Accepted, Handshake};
pub use in_force::Web;
pub use passwords::{Passwords, Verdict};
pub use peer_names::{PeerNames, San};
pub use rate_limit::RateLimit;
pub use secured::Secured;
pub use server_tls::ServerTls;
pub use users::{PasswordHash, Users};

#[cfg(test)]
mod lab;
#[cfg(test)]
mod tests;
