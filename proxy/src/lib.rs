//! The public end of Adit.
//!
//! A request comes in by [`listener`], which knows what each address is for. A scrape goes through
//! [`scrape`], a client's tunnel through [`session`]; they meet in [`registry`], which says who
//! holds a name. [`admin`] has our own pages.
//!
//! [`run`] is the whole program less its flags and signals: tests and examples run it as it is.

pub mod config;
pub mod flags;
pub mod metrics;

pub(crate) mod clock;
pub(crate) mod listener;

pub(crate) mod scrape;

pub(crate) mod session;

#[cfg_attr(not(test), expect(dead_code, reason = "its handlers come next"))]
pub(crate) mod pushprox;

pub(crate) mod registry;

pub(crate) mod admin;

use std::sync::Arc;
use std::time::Duration;

use adit_common::shutdown::Stop;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use config::{Bound, Config, Roles};

use crate::config::Limits;
use crate::metrics::Metrics;
use crate::registry::Registry;

/// What every step of every journey may look at.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) config: Config,
    pub(crate) limits: Limits,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Metrics,
    /// A permit for each scrape that is under way.
    pub(crate) scrapes: Arc<Semaphore>,
    pub(crate) stop: Stop,
}

/// The program could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Two metrics of one name: our fault.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Serves on `listeners` until `shutdown` is cancelled, then drains for at most
/// `--shutdown.grace` and returns. Dropping the future ends everything at once.
///
/// # Errors
/// Only before anything is served.
pub async fn run(
    config: Config,
    listeners: Vec<Bound>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let grace = config.shutdown_grace;
    let stop = Stop::default();
    // Also when this future is dropped.
    let _end = stop.end_on_drop();
    let metrics = Metrics::new()?;
    let limits = Limits::default();
    let proxy = Arc::new(Proxy {
        scrapes: Arc::new(Semaphore::new(limits.scrapes)),
        limits,
        registry: Arc::new(Registry::new(config.registration_timeout)),
        metrics,
        stop: stop.clone(),
        config,
    });
    listener::serve(&proxy, listeners);
    stop.spawn_until_draining(sweep(Arc::clone(&proxy)));
    shutdown.cancelled().await;
    stop.drain(grace).await;
    Ok(())
}

/// Forgets names that have been away for long, now and then; a search never waits for it.
async fn sweep(proxy: Arc<Proxy>) {
    const EVERY: Duration = Duration::from_secs(30);
    loop {
        tokio::time::sleep(EVERY).await;
        proxy.registry.sweep();
    }
}
