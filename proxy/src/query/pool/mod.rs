//! The backends among which one is chosen.
//!
//! 1. [`members`] follows `discovery`: who is found becomes a member and is watched from then on, who is
//!    found no longer leaves. What is under way there goes on.
//! 2. [`watched`] tells of every change of one member: in the log, and to whoever selects.
//! 3. [`selection`] asks the strategy who is best, now and then and whenever that may have changed.
//! 4. [`choice`] makes an order of the members for one request.
//!
//! [`table`] has the pools there are, each found by host and path.

mod members;
mod watched;

mod selection;
mod choice;

mod table;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use self::choice::Choice;
pub(crate) use self::members::Member;
pub(crate) use self::table::{Below, Pools};

use self::members::Members;
use super::affinity::Affinities;
use super::asked::Memory;
use super::attempt::Attempts;
use super::standing::{Peers, Tier};
use super::strategy::{Candidate, Chooser};
use crate::config::query::Pool as Config;
use crate::discovery::{Discovery, SourceView};
use crate::metrics::QueryMetrics;
use crate::registry::Registry;

/// What pools have in common.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: QueryMetrics,
    /// For what is held of requests and answers.
    pub(crate) memory: Memory,
}

/// One pool, with all that is known of it. Its tasks end when it is dropped.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Arc<State>,
    discovery: Discovery,
    _tasks: JoinSet<()>,
}

/// What its tasks share with it.
#[derive(Debug)]
struct State {
    config: Arc<Config>,
    metrics: QueryMetrics,
    registry: Arc<Registry>,
    members: Members,
    peers: Arc<Peers>,
    chooser: Chooser,
    affinities: Affinities,
    attempts: Attempts,
    started: Instant,
    /// Told when another one may be best.
    changed: Notify,
}

impl Pool {
    /// Starts looking for backends, and watches them.
    pub(crate) fn start(config: &Arc<Config>, common: &Common) -> Self {
        let (metrics, name) = (common.metrics.clone(), Arc::clone(&config.name));
        let (sources, registry) = (&config.sources, &common.registry);
        let discovery = Discovery::start(sources, config.grace, registry, metrics, name);
        Self::with(config, common, discovery)
    }

    /// The same pool, as it is written now: it need not find its backends anew.
    pub(crate) fn again(&self, config: &Arc<Config>, common: &Common) -> Self {
        let discovery = self.discovery.again(&config.sources, config.grace);
        Self::with(config, common, discovery)
    }

    fn with(config: &Arc<Config>, common: &Common, discovery: Discovery) -> Self {
        let metrics = common.metrics.clone();
        let state = Arc::new(State {
            members: Members::default(),
            peers: Arc::new(Peers::default()),
            chooser: Chooser::new(&config.strategy),
            affinities: Affinities::new(&config.affinity),
            attempts: Attempts::new(config, &metrics, common.memory.clone()),
            registry: Arc::clone(&common.registry),
            metrics,
            config: Arc::clone(config),
            started: Instant::now(),
            changed: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(members::follow(Arc::clone(&state), discovery.listed()));
        tasks.spawn(selection::follow(Arc::clone(&state)));
        Self {
            state,
            discovery,
            _tasks: tasks,
        }
    }

    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.state.config
    }

    pub(crate) fn attempts(&self) -> &Attempts {
        &self.state.attempts
    }

    pub(crate) fn affinities(&self) -> &Affinities {
        &self.state.affinities
    }

    pub(crate) fn chooser(&self) -> &Chooser {
        &self.state.chooser
    }

    pub(crate) fn members(&self) -> Arc<Vec<Member>> {
        self.state.members.current()
    }

    /// Who is first for everybody, if anybody is.
    pub(crate) fn primary(&self) -> Option<Arc<str>> {
        self.state.primary()
    }

    /// Where its backends come from.
    pub(crate) fn sources(&self) -> Vec<SourceView> {
        self.discovery.sources()
    }

    /// Its members as strategies see them, in the same order.
    pub(crate) fn candidates(&self, members: &[Member]) -> Vec<Candidate> {
        let now = Instant::now();
        members.iter().map(|member| member.candidate(now)).collect()
    }

    /// Whether somebody can be asked.
    pub(crate) fn is_ready(&self) -> bool {
        let now = Instant::now();
        let members = self.members();
        members
            .iter()
            .any(|member| member.backend.tier(now) <= Tier::Poor)
    }
}

impl State {
    fn primary(&self) -> Option<Arc<str>> {
        let kept = || self.affinities.primary();
        self.chooser.primary().or_else(kept)
    }
}
