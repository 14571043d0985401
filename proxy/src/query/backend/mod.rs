//! A Prometheus that answers: direct, or a target that some client offers. Above this nobody asks which.
//!
//! * [`direct`] dials it, with TLS and credentials where they are wanted, and keeps connections.
//! * [`tunnel`] is a client's session, which ends the moment it is lost.
//! * Either sends a [`question`], with the [`credentials`] there are for it, and lets pass of the
//!   [`answer`] what may.
//! * [`failure`] is why there was no answer, [`body`] the answer's body, [`load`] how much is under way.
//! * [`passive`] is what requests tell of it.

mod question;
mod credentials;

mod direct;
mod tunnel;

mod answer;
mod body;

mod failure;
mod load;
mod passive;

use std::sync::{Arc, OnceLock};

use http::Response;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub(crate) use self::body::BackendBody;
pub(crate) use self::failure::Failure;
pub(crate) use self::load::{Load, UnderWay};
pub(crate) use self::question::Question;

use self::credentials::Shown;
use self::direct::Direct;
use self::tunnel::Tunnel;
use super::standing::{Member, Peers, Standing, Tier};
use crate::config::query::Health;
use crate::config::query::url::{BackendUrl, Way};
use crate::discovery::Found;
use crate::metrics::Series;
use crate::registry::Registry;

/// One backend of a pool.
#[derive(Debug)]
pub(crate) struct Backend {
    reach: Reach,
    /// Unique in its pool, for metrics and people.
    pub(crate) name: Arc<str>,
    pub(crate) url: BackendUrl,
    pub(crate) priority: u32,
    pub(crate) weight: u32,
    /// Who found it first: `static`, `file`, …
    pub(crate) source: &'static str,
    pub(crate) load: Load,
    /// How it is, and whoever wants to know when that changes.
    pub(crate) standing: watch::Sender<Standing>,
    /// How it is watched: the pool's `health`.
    pub(crate) rules: Arc<Health>,
    /// Its place among its peers.
    pub(crate) member: Member,
    /// A probe is wanted at once.
    pub(crate) wanted: Notify,
    /// Those of whoever counts something of it: whoever has it may.
    pub(crate) series: OnceLock<Series>,
}

/// The way to it.
#[derive(Debug)]
enum Reach {
    Direct(Box<Direct>),
    Tunnel(Tunnel),
}

impl Backend {
    /// The backend that was found, named and first found by whom `source` says, among its `peers` and
    /// watched by the pool's `rules`. It blocks: what TLS and its credentials need is read.
    ///
    /// # Errors
    /// Which file, and what is wrong with it.
    pub(crate) fn open(
        found: &Found,
        name: Arc<str>,
        source: &'static str,
        registry: &Arc<Registry>,
        rules: &Arc<Health>,
        peers: &Arc<Peers>,
    ) -> Result<Arc<Self>, String> {
        let Found { url, manner, .. } = found;
        let of_it = |why: String| format!("backend {url}: {why}");
        let shown = Shown::of(found).map_err(of_it)?;
        let reach = match url.way {
            Way::Direct(scheme) => {
                let direct = Direct::new(scheme, &manner.tls, shown);
                Reach::Direct(Box::new(direct.map_err(of_it)?))
            }
            Way::Tunnel => Reach::Tunnel(Tunnel::new(registry, &url.address, shown)),
        };
        Ok(Arc::new(Self {
            reach,
            name,
            url: url.clone(),
            priority: manner.priority,
            weight: manner.weight.get(),
            source,
            load: Load::default(),
            standing: watch::Sender::new(Standing::new(Instant::now())),
            rules: Arc::clone(rules),
            member: peers.join(),
            wanted: Notify::new(),
            series: OnceLock::new(),
        }))
    }

    /// One that is dialled, with defaults.
    #[cfg(test)]
    pub(crate) fn for_tests(
        name: &str,
        address: std::net::SocketAddr,
        rules: &Arc<Health>,
        peers: &Arc<Peers>,
    ) -> Arc<Self> {
        let url: BackendUrl = format!("http://{address}").parse().unwrap();
        let found = Found::new(url.clone(), &crate::config::query::Manner::default());
        let shown = Shown::of(&found).unwrap();
        let scheme = adit_common::target::Scheme::Http;
        Arc::new(Self {
            reach: Reach::Direct(Box::new(
                Direct::new(scheme, &found.manner.tls, shown).unwrap(),
            )),
            name: name.into(),
            url,
            priority: 0,
            weight: 1,
            source: "static",
            load: Load::default(),
            standing: watch::Sender::new(Standing::new(Instant::now())),
            rules: Arc::clone(rules),
            member: peers.join(),
            wanted: Notify::new(),
            series: OnceLock::new(),
        })
    }

    /// Sends it and waits for the head of the answer. Dropping the future, or the answer's body before
    /// its end, cancels what the backend does. Neither the load nor the standing changes by it: whoever
    /// sends knows what it means.
    ///
    /// `deadline` is that of the whole answer: a client at the far end of a tunnel ends a body there,
    /// and every one after an hour. Who wants the head sooner drops the future.
    pub(crate) async fn send(
        &self,
        question: Question,
        deadline: Instant,
    ) -> Result<Response<BackendBody>, Failure> {
        match &self.reach {
            Reach::Direct(direct) => direct.send(&self.url, question, deadline).await,
            Reach::Tunnel(tunnel) => tunnel.send(&self.url, question, deadline).await,
        }
    }

    /// Somebody has ordered a reload: certificates and keys that were renewed count from now on. It
    /// blocks.
    pub(crate) fn read_again(&self) {
        let Reach::Direct(direct) = &self.reach else {
            return;
        };
        if let Err(why) = direct.read_again() {
            let backend = &*self.name;
            tracing::warn!(backend, %why, "files of a backend: what was read before still counts");
        }
    }

    /// Whether there is a way to it: of a tunnelled one, whether somebody holds its tunnel.
    pub(crate) fn is_linked(&self) -> bool {
        match &self.reach {
            Reach::Direct(_) => true,
            Reach::Tunnel(tunnel) => tunnel.is_linked(),
        }
    }

    /// Who is asked before whom. Whoever has no way to it now cannot be asked, though its own watch may have
    /// yet to hear of it.
    pub(crate) fn tier(&self, now: Instant) -> Tier {
        self.tier_of(&self.standing.borrow(), now)
    }

    /// The same when its standing was that.
    pub(crate) fn tier_of(&self, standing: &Standing, now: Instant) -> Tier {
        match self.is_linked() {
            true => standing.tier(now),
            false => Tier::Out,
        }
    }

    /// Why there is no way to it, if so.
    pub(crate) fn unlinked(&self) -> Option<String> {
        match &self.reach {
            Reach::Direct(_) => None,
            Reach::Tunnel(tunnel) => tunnel.unlinked(),
        }
    }

    /// Waits for a link that was lost, as long as a scrape waits for a client; whether it is back. Whoever
    /// is dialled for each request has none.
    pub(crate) async fn returned(&self) -> bool {
        match &self.reach {
            Reach::Direct(_) => false,
            Reach::Tunnel(tunnel) => tunnel.returned().await,
        }
    }

    /// Resolves when [`Self::is_linked`] says something else than `was`: at once when it does so now,
    /// and of one that is dialled never. A tunnel that was replaced by another meanwhile is no change.
    pub(crate) async fn link_other_than(&self, was: bool) {
        match &self.reach {
            Reach::Direct(_) if was => std::future::pending().await,
            Reach::Direct(_) => {}
            Reach::Tunnel(tunnel) => tunnel.link_other_than(was).await,
        }
    }
}

#[cfg(test)]
mod tests;
