//! Reading the configuration again: on SIGHUP and `POST /-/reload`; the web configuration also when
//! its files change. What cannot be used changes nothing.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;

use crate::Proxy;
use crate::config::duplicates::Rules;
use crate::config::trusted::TrustedProxies;
use crate::config::{Limits, Settings};

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Current {
    rules: RwLock<Arc<Rules>>,
    trusted: RwLock<Arc<TrustedProxies>>,
    /// One reload at a time.
    turn: Mutex<()>,
}

impl Current {
    /// Starts with these.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            rules: RwLock::new(Arc::new(settings.rules.clone())),
            trusted: RwLock::new(Arc::new(settings.trusted_proxies.clone())),
            turn: Mutex::default(),
        }
    }

    /// As of now.
    pub(crate) fn current(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whom we believe as of now.
    pub(crate) fn trusted(&self) -> Arc<TrustedProxies> {
        Arc::clone(&self.trusted.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, rules: Rules, trusted: TrustedProxies) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        *self.trusted.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(trusted);
    }
}

/// What is there already was made for those of the start.
fn keep_limits(in_force: &Limits, read: &Limits) {
    if in_force != read {
        tracing::warn!(
            "limits have changed in --config.file: those of the start stay in force until a restart"
        );
    }
}

/// Reads the file again and applies it. Names keep whoever holds them until they are claimed again.
///
/// # Errors
/// What is wrong and where. Of the file that is wrong nothing has changed; the other one counts: who is
/// revoked in it has not to wait for it.
pub(crate) async fn reload(proxy: &Arc<Proxy>) -> Result<&'static str, String> {
    let _turn = proxy.rules.turn.lock().await;
    if proxy.config.source.is_empty() && proxy.auth.web().path().is_none() {
        return Ok("There is no --config.file to read again.");
    }
    let (source, web) = (proxy.config.source.clone(), Arc::clone(proxy.auth.web()));
    // It blocks on the file system.
    let read = tokio::task::spawn_blocking(move || {
        // The second takes effect by itself.
        source.read().map(|settings| (settings, web.reread()))
    });
    let read = read.await.unwrap_or_else(|error| Err(error.to_string()));
    let metrics = &proxy.metrics;
    match read {
        Ok((settings, web)) => {
            keep_limits(&proxy.limits, &settings.limits);
            proxy.rules.set(settings.rules, settings.trusted_proxies);
            proxy.auth.replace(settings.access);
            proxy.queries.replace(&settings.query);
            let again = Arc::clone(proxy);
            // It blocks, and fails in the log alone: the file's own were read a moment ago.
            let _ = tokio::task::spawn_blocking(move || again.queries.read_again()).await;
            if let Err(error) = web {
                metrics.reload_successful.set(0);
                tracing::error!(err = %error, "web configuration not reloaded");
                return Err(format!("--web.config.file: {error}"));
            }
            succeeded(proxy);
            tracing::info!("configuration reloaded");
            Ok("The configuration was reloaded.")
        }
        Err(error) => {
            metrics.reload_successful.set(0);
            tracing::error!(err = %error, "configuration not reloaded");
            Err(error)
        }
    }
}

/// The configuration in force was read just now.
pub(crate) fn succeeded(proxy: &Proxy) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    proxy.metrics.reload_successful.set(1);
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    proxy.metrics.reload_seconds.set(seconds);
}

/// Obeys whoever orders it, one after the other.
pub(crate) async fn obey(proxy: Arc<Proxy>, orders: Arc<tokio::sync::Notify>) {
    loop {
        orders.notified().await;
        // Said in the log.
        let _ = reload(&proxy).await;
    }
}

/// Reads the web configuration again whenever one of its files has changed.
pub(crate) async fn follow(proxy: Arc<Proxy>) {
    let web = Arc::clone(proxy.auth.web());
    web.keep_fresh(move |read| match read {
        Ok(()) => {
            succeeded(&proxy);
            tracing::info!("web configuration reloaded");
        }
        Err(error) => {
            proxy.metrics.reload_successful.set(0);
            tracing::error!(err = %error, "web configuration not reloaded");
        }
    })
    .await;
}
