//! What is in force: made of a [`Config`] and replaced as a whole by a reload.

use crate::config::{Config, ProxyUrl, SettingsError};
use crate::policy::Offer;
use crate::tls::Tls;

/// Everything a reload may change, with its files read.
#[derive(Debug)]
pub(crate) struct Settings {
    /// A tunnel is kept to each.
    pub(crate) proxies: Vec<ProxyUrl>,
    /// Towards them.
    pub(crate) tls: Tls,
    /// What may be scraped.
    pub(crate) offer: Offer,
}

impl Settings {
    /// What `config` says. Connections to targets that stay as they are in `before` are taken over
    /// from it. It blocks on the files of TLS.
    ///
    /// # Errors
    /// Then nothing has changed.
    pub(crate) fn new(config: &Config, before: Option<&Self>) -> Result<Self, SettingsError> {
        let tls = Tls::new(&config.tls).map_err(|error| SettingsError::Tls {
            what: "tls".to_owned(),
            error,
        })?;
        Ok(Self {
            proxies: config.proxies.clone(),
            tls,
            offer: Offer::new(config, before.map(|before| &before.offer))?,
        })
    }
}
