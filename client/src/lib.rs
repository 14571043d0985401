//! The inner end of Adit, beside the targets.
//!
//! [`connect`] dials every proxy and keeps a tunnel to each; [`session`] answers what comes in by
//! one; [`policy`] says whether a target is offered; [`fetch`] asks what is behind it, by a
//! connection of [`upstream`].
//! [`settings`] is what is in force, with the [`identity`] that proxies are shown and the
//! [`routes`] to them; [`reload`] replaces
//! it; [`admin`] has our own pages.
//!
//! [`check`] says whether all of it would work, without doing it.
//!
//! [`run`] is the whole program less its flags and signals: tests and examples run it as it is.

pub mod check;
pub mod config;
pub mod flags;
pub mod metrics;

pub(crate) mod identity;
pub(crate) mod routes;
pub(crate) mod settings;
pub(crate) mod reload;

pub(crate) mod connect;

pub(crate) mod session;

pub(crate) mod policy;

pub(crate) mod fetch;

pub(crate) mod upstream;
pub(crate) mod tls;

pub(crate) mod admin;

use std::sync::Arc;
use std::time::Duration;

use adit_common::net::listen::Listener;
use adit_common::registration::Instance;
use adit_common::shutdown::{Orders, Stop};
use adit_common::tunnel::watchdog::Liveness;
use adit_common::web_config::{Passwords, Web};
use tokio::sync::{mpsc, watch};

pub use config::{Config, SettingsError};

use crate::config::Source;
use crate::connect::{Keepers, Troubles};
use crate::metrics::Metrics;
use crate::reload::Asked;
use crate::settings::Settings;

/// What every step may look at.
#[derive(Debug)]
pub(crate) struct Client {
    /// What is in force; replaced by a reload.
    pub(crate) settings: watch::Sender<Arc<Settings>>,
    /// Of every tunnel.
    pub(crate) liveness: Liveness,
    /// How long what is under way may take to finish in a tunnel that is to end.
    pub(crate) grace: Duration,
    pub(crate) source: Source,
    /// Who may see our pages, and by which TLS.
    pub(crate) web: Arc<Web>,
    pub(crate) passwords: Passwords,
    /// To whoever reloads.
    pub(crate) reloads: mpsc::Sender<Asked>,
    pub(crate) instance: Instance,
    pub(crate) metrics: Metrics,
    /// Why a proxy has no session with us.
    pub(crate) troubles: Troubles,
    pub(crate) stop: Stop,
}

impl Client {
    /// With everything read that `config` names, and whoever is to obey its reloads.
    fn new(config: Config) -> Result<(Arc<Self>, mpsc::Receiver<Asked>), RunError> {
        let settings = Settings::new(&config, None)?;
        let (reloads, asked) = mpsc::channel(reload::QUEUE);
        let client = Self {
            settings: watch::Sender::new(Arc::new(settings)),
            liveness: config.liveness,
            grace: config.shutdown_grace,
            source: config.source,
            web: config.web,
            passwords: Passwords::new(),
            reloads,
            instance: Instance::now(),
            metrics: Metrics::new()?,
            troubles: Troubles::default(),
            stop: Stop::default(),
        };
        Ok((Arc::new(client), asked))
    }

    /// What is in force now. Whoever holds it goes on with it over a reload.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }
}

/// The program could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Two metrics of one name: our fault.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Settings that cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Keeps a tunnel to every proxy and answers scrapes until it is ordered to stop, then lets those
/// under way finish within the grace and returns. Reads its configuration again when ordered to.
/// Dropping the future ends everything.
///
/// # Errors
/// Only before anything is dialled.
pub async fn run(config: Config, listeners: Vec<Listener>, orders: Orders) -> Result<(), RunError> {
    let (client, asked) = Client::new(config)?;
    // Also when this future is dropped.
    let _end = client.stop.end_on_drop();
    admin::serve(&client, listeners);
    let keepers = Keepers::default();
    keepers.follow(&client);
    let obeying = reload::obey(Arc::clone(&client), keepers, orders.reload, asked);
    client.stop.spawn_until_draining(obeying);
    orders.shutdown.cancelled().await;
    client.stop.drain(client.grace).await;
    Ok(())
}
