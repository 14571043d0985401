//! What is behind a target: where it is, how it is spoken to, and the connections to it.
//!
//! 1. [`Upstream`] is all that the settings say of one.
//! 2. [`idle`] lends a connection that the target has kept open.
//! 3. [`connection`] opens one otherwise, and never before it is needed.

mod connection;
mod idle;

use std::path::PathBuf;
use std::sync::Arc;

use adit_common::name::Name;
use adit_common::target::{Scheme, Target};
use http::HeaderValue;
use tokio_util::sync::CancellationToken;

pub(crate) use self::connection::{Connection, UpstreamBody};

use self::idle::Idle;
use crate::config::{TargetConfig, UpstreamUrl};
use crate::tls::Tls;

/// Where a target really is. Clones share the connections kept for reuse.
#[derive(Debug, Clone)]
pub(crate) struct Upstream(Arc<Place>);

/// All that is known of an upstream.
#[derive(Debug)]
pub(crate) struct Place {
    /// What is dialled.
    pub(crate) address: Address,
    /// How it is spoken to; nothing: as the scrape says.
    pub(crate) scheme: Option<Scheme>,
    /// Put before every path; empty, or with a slash in front and none behind.
    pub(crate) prefix: String,
    /// The `Host` it is sent; nothing: what the scraper wrote.
    pub(crate) host: Option<HeaderValue>,
    /// For TLS with it.
    pub(crate) tls: Tls,
    lasting: Arc<Lasting>,
}

/// What outlives a reload that leaves the place as it is.
#[derive(Debug, Default)]
struct Lasting {
    idle: Idle,
    withdrawn: CancellationToken,
}

/// What is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// All addresses of a name, or an IP address.
    Tcp(Target),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl std::ops::Deref for Upstream {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
}

impl Upstream {
    /// As a target's settings say.
    pub(crate) fn of(config: &TargetConfig, tls: Tls) -> Self {
        let (address, scheme, prefix, own_host) = match &config.url {
            None => (
                Address::Tcp(localhost(config.target.port)),
                None,
                String::new(),
                None,
            ),
            Some(UpstreamUrl::Unix(path)) => (
                Address::Unix(path.clone()),
                Some(Scheme::Http),
                String::new(),
                None,
            ),
            Some(UpstreamUrl::Http {
                scheme,
                authority,
                address,
                prefix,
            }) => (
                Address::Tcp(address.clone()),
                Some(*scheme),
                prefix.clone(),
                // An authority that was parsed is always a value.
                HeaderValue::from_str(authority.as_str()).ok(),
            ),
        };
        Self(Arc::new(Place {
            address,
            scheme,
            prefix,
            host: config.host.clone().or(own_host),
            tls,
            lasting: Arc::default(),
        }))
    }

    /// A port of this machine, spoken to as the scrape says; withdrawn with `withdrawn`.
    pub(crate) fn localhost(port: u16, tls: Tls, withdrawn: CancellationToken) -> Self {
        Self(Arc::new(Place {
            address: Address::Tcp(localhost(port)),
            scheme: None,
            prefix: String::new(),
            host: None,
            tls,
            lasting: Arc::new(Lasting {
                idle: Idle::default(),
                withdrawn,
            }),
        }))
    }

    /// With the connections of `before`, when they lead where this one's would.
    pub(crate) fn continuing(self, before: &Self) -> Self {
        if self.address != before.address || !self.tls.is_same(&before.tls) {
            return self;
        }
        let place = &*self;
        Self(Arc::new(Place {
            address: place.address.clone(),
            scheme: place.scheme,
            prefix: place.prefix.clone(),
            host: place.host.clone(),
            tls: place.tls.clone(),
            lasting: Arc::clone(&before.lasting),
        }))
    }

    /// Whether connections of one are the other's as well.
    pub(crate) fn continues(&self, before: &Self) -> bool {
        Arc::ptr_eq(&self.lasting, &before.lasting)
    }

    /// It is offered no longer.
    pub(crate) fn withdraw(&self) {
        self.lasting.withdrawn.cancel();
    }

    /// Cancelled when it is offered no longer, or is somewhere else now.
    pub(crate) fn withdrawn(&self) -> &CancellationToken {
        &self.lasting.withdrawn
    }
}

fn localhost(port: u16) -> Target {
    Target {
        // A literal that is a name.
        name: Name::parse("localhost").expect("localhost is a name"),
        port,
    }
}
