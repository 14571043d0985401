//! The inner end of Adit, beside the targets.
//!
//! [`connect`] dials every proxy and keeps a tunnel to each; [`session`] answers what comes in by
//! one; [`policy`] says whether a target is offered; [`fetch`] asks what is behind it, by a
//! connection of [`upstream`].
//! [`admin`] has our own pages.
//!
//! [`run`] is the whole program less its flags and signals: tests and examples run it as it is.

pub mod config;
pub mod flags;
pub mod metrics;

pub(crate) mod connect;

pub(crate) mod session;

pub(crate) mod policy;

pub(crate) mod fetch;

pub(crate) mod upstream;

pub(crate) mod admin;

use std::sync::Arc;

use adit_common::net::listen::Listener;
use adit_common::net::tls::TlsError;
use adit_common::registration::Instance;
use adit_common::shutdown::Stop;
use tokio_util::sync::CancellationToken;

pub use config::Config;

use crate::metrics::Metrics;
use crate::policy::Offer;

/// What every step may look at.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) config: Config,
    pub(crate) offer: Offer,
    pub(crate) instance: Instance,
    pub(crate) metrics: Metrics,
    pub(crate) stop: Stop,
}

/// The program could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Two metrics of one name: our fault.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Settings for TLS that cannot be used.
    #[error("{what}: {error}")]
    Tls {
        /// Of which connection.
        what: String,
        /// Why not.
        error: TlsError,
    },
}

/// Keeps a tunnel to every proxy and answers scrapes until `shutdown` is cancelled, then lets
/// those under way finish within the grace and returns. Dropping the future ends everything.
///
/// # Errors
/// Only before anything is dialled.
pub async fn run(
    config: Config,
    listeners: Vec<Listener>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let stop = Stop::default();
    // Also when this future is dropped.
    let _end = stop.end_on_drop();
    let offer = Offer::new(&config).map_err(|(what, error)| RunError::Tls { what, error })?;
    let dialer = connect::Dialer::new(&config)?;
    let grace = config.shutdown_grace;
    let client = Arc::new(Client {
        metrics: Metrics::new(&config.proxies)?,
        offer,
        instance: Instance::now(),
        stop: stop.clone(),
        config,
    });
    admin::serve(&client, listeners);
    connect::keep(&client, &dialer);
    shutdown.cancelled().await;
    stop.drain(grace).await;
    Ok(())
}
