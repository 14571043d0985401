//! The public end of Adit.
//!
//! A request comes in by [`listener`], which knows what each address is for, and [`auth`] who may
//! come in. A scrape goes through
//! [`scrape`], a client's tunnel through [`session`], a PushProx client's polls and pushes through
//! [`pushprox`]; they meet in [`registry`], which says what [`carrier`] has a name. [`admin`] has our
//! own pages, [`reload`] reads the configuration again.
//!
//! [`run`] is the whole program less its flags and signals: tests and examples run it as it is.

pub mod config;
pub mod flags;
pub mod metrics;
pub mod token;

pub(crate) mod clock;
pub(crate) mod compat;
pub(crate) mod listener;
pub(crate) mod auth;

pub(crate) mod scrape;

pub(crate) mod session;
pub(crate) mod pushprox;

pub(crate) mod registry;
pub(crate) mod carrier;

pub(crate) mod outbound;
pub(crate) mod discovery;
pub(crate) mod query;

pub(crate) mod admin;
pub(crate) mod reload;

#[cfg(fuzzing)]
pub mod fuzzing;

use std::sync::Arc;
use std::time::Duration;

use adit_common::shutdown::{Orders, Stop};
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use config::{Bound, Config, Roles};

use crate::auth::Auth;
use crate::carrier::Pushes;
use crate::config::Limits;
use crate::metrics::Metrics;
use crate::query::Pools;
use crate::registry::{Memory, Registry, Waiting};
use crate::reload::Current;

/// What every step of every journey may look at.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) config: Config,
    pub(crate) limits: Limits,
    pub(crate) rules: Current,
    pub(crate) auth: Auth,
    pub(crate) registry: Arc<Registry>,
    /// Pushes of PushProx's clients that are waited for.
    pub(crate) pushes: Arc<Pushes>,
    pub(crate) metrics: Metrics,
    /// The pools of the query side.
    pub(crate) queries: Pools,
    /// A permit for each query that is under way.
    pub(crate) query_permits: Arc<Semaphore>,
    /// A permit for each scrape that is under way.
    pub(crate) scrapes: Arc<Semaphore>,
    /// For a while after it, names may have yet to return.
    pub(crate) started: Instant,
    pub(crate) stop: Stop,
}

/// The program could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Two metrics of one name: our fault.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Serves on `listeners` until `orders` say to stop, then drains for at most `--shutdown.grace` and
/// returns. Dropping the future ends everything at once.
///
/// # Errors
/// Only before anything is served.
pub async fn run(config: Config, listeners: Vec<Bound>, orders: Orders) -> Result<(), RunError> {
    let grace = config.shutdown_grace;
    let stop = Stop::default();
    // Also when this future is dropped.
    let _end = stop.end_on_drop();
    let proxy = Arc::new(Proxy::new(config, stop.clone())?);
    reload::succeeded(&proxy);
    listener::serve(&proxy, listeners);
    stop.spawn_until_draining(sweep(Arc::clone(&proxy)));
    stop.spawn_until_draining(reload::follow(Arc::clone(&proxy)));
    stop.spawn_until_draining(reload::obey(Arc::clone(&proxy), orders.reload));
    orders.shutdown.cancelled().await;
    stop.drain(grace).await;
    Ok(())
}

impl Proxy {
    /// Resolves when nobody has to dial us any more: at the drain, or as soon as the pushes that
    /// are waited for have come, each of which may need a connection of its own.
    pub(crate) async fn is_heard_out(&self) {
        self.stop.draining().cancelled().await;
        self.pushes.all_came().await;
    }

    fn new(config: Config, stop: Stop) -> Result<Self, RunError> {
        let metrics = Metrics::new()?;
        scrape::prepare(&metrics);
        metrics.prepare_limits();
        let limits = config.settings.limits;
        let waiting = Waiting::new(
            limits.waiting,
            limits.waiting_per_name,
            metrics.scrapes_waiting.clone(),
        );
        let memory = Memory {
            remember: config.registration_timeout,
            grace: config.reconnect_wait,
            startup: config.startup_wait,
            list: config.liveness.dead_after,
        };
        let registry = Arc::new(Registry::new(memory, Arc::new(waiting)));
        let common = query::Common {
            registry: Arc::clone(&registry),
            metrics: metrics.query.clone(),
            memory: query::Memory::new(limits.query_memory, metrics.query.buffered.clone()),
        };
        Ok(Self {
            queries: Pools::start(&config.settings.query, common),
            query_permits: Arc::new(Semaphore::new(limits.queries)),
            scrapes: Arc::new(Semaphore::new(limits.scrapes)),
            limits,
            rules: Current::new(&config.settings),
            auth: Auth::new(
                config.settings.access.clone(),
                Arc::clone(&config.web),
                limits.sessions_per_credential,
                &metrics,
            ),
            registry,
            pushes: Arc::default(),
            metrics,
            started: Instant::now(),
            stop,
            config,
        })
    }
}

/// Forgets names that have been away for long, now and then; a search never waits for it.
async fn sweep(proxy: Arc<Proxy>) {
    const EVERY: Duration = Duration::from_secs(30);
    loop {
        tokio::time::sleep(EVERY).await;
        proxy.registry.sweep();
    }
}
