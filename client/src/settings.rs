//! What is in force: made of a [`Config`] and replaced as a whole by a reload.

use crate::config::{Config, ProxyUrl, SettingsError};
use crate::identity::Identities;
use crate::policy::Offer;
use crate::routes::Routes;

/// Everything a reload may change, with its files read.
#[derive(Debug)]
pub(crate) struct Settings {
    /// A tunnel is kept to each.
    pub(crate) proxies: Vec<ProxyUrl>,
    /// What they are shown, and how they are known.
    pub(crate) identities: Identities,
    /// By which way each is reached.
    pub(crate) routes: Routes,
    /// What may be scraped.
    pub(crate) offer: Offer,
}

impl Settings {
    /// What `config` says. Connections to targets that stay as they are in `before` are taken over
    /// from it. It blocks on the files it names.
    ///
    /// # Errors
    /// Then nothing has changed.
    pub(crate) fn new(config: &Config, before: Option<&Self>) -> Result<Self, SettingsError> {
        let identities = Identities::new(config)?;
        if identities.last().has_secret() {
            warn_of_open_ways(&config.proxies);
        }
        Ok(Self {
            proxies: config.proxies.clone(),
            identities,
            routes: Routes::new(config)?,
            offer: Offer::new(config, before.map(|before| &before.offer))?,
        })
    }
}

/// A secret in clear text is everybody's on the way. It may be a private network: it is not refused.
fn warn_of_open_ways(proxies: &[ProxyUrl]) {
    for proxy in proxies.iter().filter(|proxy| proxy.is_open()) {
        tracing::warn!(%proxy, "our secrets go to this proxy unencrypted: use https");
    }
}
