//! What is behind a target: where it is, how it is spoken to, and the connections to it.
//!
//! 1. [`Upstream`] is all that the settings say of one.
//! 2. [`turns`] says whether it may be asked just now, or makes wait for it.
//! 3. [`idle`] lends a connection that the target has kept open.
//! 4. [`connection`] opens one otherwise, and never before it is needed. What a name leads to is
//!    checked then, and a kept connection is one that was checked.

mod connection;
mod idle;
mod turns;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_common::fault::{Fault, Report};
use adit_common::name::Name;
use adit_common::target::{Scheme, Target};
use http::HeaderValue;
use prometheus::IntGauge;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::connection::{Connection, UpstreamBody};
pub(crate) use self::turns::Turn;

use self::idle::Idle;
use self::turns::{Limit, NoTurn, Turns};
use crate::config::{Cost, TargetConfig, UpstreamUrl};
use crate::tls::Tls;

/// Where a target really is. Clones share the connections kept for reuse.
#[derive(Debug, Clone)]
pub(crate) struct Upstream(Arc<Place>);

/// All that is known of an upstream.
#[derive(Debug, Clone)]
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
    /// What it is sent as `Authorization`; nothing: what the scraper sends.
    pub(crate) authorization: Option<HeaderValue>,
    /// The longest a scrape may take, whatever its deadline.
    pub(crate) timeout: Option<Duration>,
    /// Most bytes of an answer's body.
    pub(crate) response_bytes: Option<u64>,
    scrapes: Arc<Turns>,
    connects: Arc<Turns>,
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
    /// As a target's settings say, with what was read of its files.
    pub(crate) fn of(config: &TargetConfig, tls: Tls, authorization: Option<HeaderValue>) -> Self {
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
            scheme,
            prefix,
            host: config.host.clone().or(own_host),
            authorization,
            ..Place::new(address, tls, &config.cost)
        }))
    }

    /// A port of this machine, spoken to as the scrape says; withdrawn with `withdrawn`.
    pub(crate) fn localhost(port: u16, tls: Tls, withdrawn: CancellationToken) -> Self {
        let address = Address::Tcp(localhost(port));
        Self(Arc::new(Place {
            lasting: Arc::new(Lasting {
                idle: Idle::default(),
                withdrawn,
            }),
            ..Place::new(address, tls, &Cost::default())
        }))
    }

    /// With the connections of `before`, when they lead where this one's would, and with the turns
    /// that are taken of it, when there are as many.
    pub(crate) fn continuing(self, before: &Self) -> Self {
        if self.address != before.address || !self.tls.is_same(&before.tls) {
            return self;
        }
        let mut place = (*self.0).clone();
        place.lasting = Arc::clone(&before.lasting);
        for (now, before) in [
            (&mut place.scrapes, &before.scrapes),
            (&mut place.connects, &before.connects),
        ] {
            if now.limit() == before.limit() {
                *now = Arc::clone(before);
            }
        }
        Self(Arc::new(place))
    }

    /// A turn for a scrape; at a serial target it may be waited for until `deadline`.
    pub(crate) async fn turn(
        &self,
        target: &Target,
        deadline: Instant,
        waiting: &IntGauge,
    ) -> Result<Turn, Report> {
        let turn = self.scrapes.take(deadline, waiting).await;
        turn.map_err(|why| refused(target, "scrapes", &why))
    }

    /// A turn for a CONNECT, which nobody waits for.
    pub(crate) fn connect_turn(&self, target: &Target) -> Result<Turn, Report> {
        let turn = self.connects.try_take();
        turn.map_err(|why| refused(target, "CONNECTs", &why))
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

impl Place {
    fn new(address: Address, tls: Tls, cost: &Cost) -> Self {
        let scrapes = match cost.serial {
            true => Limit::Serial,
            false => Limit::AtOnce(cost.scrapes),
        };
        Self {
            address,
            scheme: None,
            prefix: String::new(),
            host: None,
            tls,
            authorization: None,
            timeout: cost.timeout,
            response_bytes: cost.response_bytes,
            scrapes: Arc::new(Turns::new(scrapes)),
            connects: Arc::new(Turns::new(Limit::AtOnce(cost.connects))),
            lasting: Arc::default(),
        }
    }
}

fn refused(target: &Target, what: &str, why: &NoTurn) -> Report {
    let fault = match why {
        NoTurn::Taken(_) | NoTurn::Queue => Fault::Busy,
        NoTurn::TooLate => Fault::Deadline,
    };
    Report::new(fault, format!("{target} is busy with {what}: {why}"))
}

fn localhost(port: u16) -> Target {
    Target {
        // A literal that is a name.
        name: Name::parse("localhost").expect("localhost is a name"),
        port,
    }
}
