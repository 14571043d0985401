//! What both ends of an Adit tunnel agree on, and nothing else.
//!
//! The words (`name`, `target`, `deadline`, `headers`, `registration`, `fault`), who says it
//! (`credentials`, `secret`), the way bytes cross
//! (`tunnel`), and what any program of ours needs at its edges (`net`, `config_file`, `http_config`, `web_config`,
//! `telemetry`, `shutdown`).

pub mod name;
pub mod target;

pub mod deadline;
pub mod headers;

pub mod fault;
pub mod registration;

pub mod credentials;
pub mod secret;

pub mod tunnel;

pub mod net;

pub mod config_file;
pub mod http_config;
pub mod web_config;

pub mod backoff;
pub mod shutdown;
pub mod telemetry;
