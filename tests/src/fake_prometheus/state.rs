//! All that can be set of a fake Prometheus.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::fixed::Fixed;
use super::journal::Seen;
use crate::target::Feed;

/// What it is. Tests set the fields, and the answers by [`State::always`] and [`State::once`].
#[derive(Debug, Clone)]
pub struct State {
    pub(super) id: String,
    /// What it says of itself, and whether it answers the API at all.
    pub ready: Ready,
    /// What it takes in and never answers.
    pub hangs: Hangs,
    /// Before every answer that is none to a probe.
    pub delay: Duration,
    /// Before every answer to a probe.
    pub probe_delay: Duration,
    /// Below what path it answers; empty: below none.
    pub prefix: String,
    /// What it must be shown in `Authorization`, to the byte.
    pub authorization: Option<String>,
    /// Seconds since its newest scrape; nothing: it has never scraped.
    pub age: Option<f64>,
    /// How many targets it scrapes.
    pub targets: u32,
    /// By how many seconds its clock is ahead.
    pub clock_skew: f64,
    /// When it was started, in Unix seconds.
    pub started: f64,
    /// As it calls itself.
    pub version: String,
    /// It is a Prometheus 1: it has no `/-/ready`, no POST for a query, and knows no `timestamp`.
    pub first: bool,
    /// `prometheus_tsdb_lowest_timestamp_seconds`
    pub lowest_timestamp: Option<f64>,
    /// `prometheus_tsdb_head_min_time_seconds`
    pub head_min: Option<f64>,
    /// `prometheus_tsdb_head_max_time_seconds`
    pub head_max: Option<f64>,
    /// `prometheus_tsdb_head_series`
    pub head_series: Option<f64>,
    /// `prometheus_tsdb_head_samples_appended_total`, by its label `type`; an empty one is none.
    pub appended: Vec<(&'static str, f64)>,
    /// `prometheus_local_storage_ingested_samples_total`: that of Prometheus 1.
    pub ingested: Option<f64>,
    /// Lines of `/metrics` besides.
    pub more_metrics: String,
    /// Its blocks; nothing: it does not tell (before 3.6).
    pub blocks: Option<Vec<Block>>,
    pub(super) live: Feed,
    pub(super) probe_answer: Option<ProbeAnswer>,
    pub(super) hook: Option<Hook>,
    always: HashMap<String, Fixed>,
    once: HashMap<String, VecDeque<Fixed>>,
    probes: HashMap<String, Fixed>,
    once_to_probes: HashMap<String, VecDeque<Fixed>>,
}

/// What it says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// That it is.
    Yes,
    /// That it is not, and reads so many segments of so many.
    Replaying(u64, u64),
    /// That it stops.
    Stopping,
    /// That it is not, with no reason: before 3.0.
    No,
}

/// What it takes in and never answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangs {
    /// Nothing.
    Never,
    /// Queries, those of probes too; its pages are there.
    OnQueries,
    /// Everything.
    Always,
}

/// One of its blocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// In Unix seconds.
    pub from: f64,
    /// In Unix seconds.
    pub to: f64,
    /// How many.
    pub samples: u64,
}

/// What a probe's query is answered with.
#[derive(Clone)]
pub(super) struct ProbeAnswer(pub(super) Arc<dyn Fn(&str) -> Value + Send + Sync>);

/// Decides by the request.
#[derive(Clone)]
pub(super) struct Hook(pub(super) Arc<Decide>);

type Decide = dyn Fn(&Seen<'_>) -> Option<Fixed> + Send + Sync;

impl State {
    /// Healthy: started a day ago, with a day's data, three targets, the newest of them seconds old.
    pub(super) fn new(id: &str) -> Self {
        let now = unix_now();
        let day = 24.0 * 3600.0;
        Self {
            id: id.to_owned(),
            ready: Ready::Yes,
            hangs: Hangs::Never,
            delay: Duration::ZERO,
            probe_delay: Duration::ZERO,
            prefix: String::new(),
            authorization: None,
            age: Some(3.0),
            targets: 3,
            clock_skew: 0.0,
            started: now - day,
            version: "3.5.0".to_owned(),
            first: false,
            lowest_timestamp: Some(now - day),
            head_min: Some(now - 2.0 * 3600.0),
            head_max: Some(now - 3.0),
            head_series: Some(1000.0),
            appended: vec![("float", 1e6), ("histogram", 0.0)],
            ingested: None,
            more_metrics: String::new(),
            blocks: None,
            live: Feed::new(),
            probe_answer: None,
            hook: None,
            always: HashMap::new(),
            once: HashMap::new(),
            probes: HashMap::new(),
            once_to_probes: HashMap::new(),
        }
    }

    /// Goes back so many seconds, by its metrics.
    pub fn history(&mut self, seconds: f64) {
        self.lowest_timestamp = Some(self.now() - seconds);
    }

    /// A Prometheus 1 that has ingested so many samples.
    pub fn prometheus_1(&mut self, ingested: f64) {
        self.first = true;
        self.version = "1.8.2".to_owned();
        self.ingested = Some(ingested);
        self.lowest_timestamp = None;
        self.head_min = None;
        self.head_max = None;
        self.head_series = None;
        self.appended.clear();
    }

    /// A storage with nothing in it, as 2 and 3 show it: sentinels.
    pub fn empty(&mut self) {
        self.age = None;
        self.targets = 0;
        self.lowest_timestamp = Some(9.223_372_036_854_776e15);
        self.head_min = Some(9.223_372_036_854_776e15);
        self.head_max = Some(-9.223_372_036_854_776e15);
        self.head_series = Some(0.0);
        self.appended = vec![("float", 0.0), ("histogram", 0.0)];
    }

    /// From now on this is the answer to that path, but not to probes.
    pub fn always(&mut self, path: &str, answer: Fixed) {
        self.always.insert(path.to_owned(), answer);
    }

    /// This is the answer to the next request for that path, but not to a probe; several come in
    /// order, and before what [`State::always`] says.
    pub fn once(&mut self, path: &str, answer: Fixed) {
        let queue = self.once.entry(path.to_owned()).or_default();
        queue.push_back(answer);
    }

    /// From now on this is the answer to probes of that path.
    pub fn to_probes(&mut self, path: &str, answer: Fixed) {
        self.probes.insert(path.to_owned(), answer);
    }

    /// This is the answer to the next probe of that path; several come in order, and before what
    /// [`State::to_probes`] says.
    pub fn once_to_probes(&mut self, path: &str, answer: Fixed) {
        let queue = self.once_to_probes.entry(path.to_owned()).or_default();
        queue.push_back(answer);
    }

    /// `decide` is asked first about every request that is no probe. It runs while the state is
    /// locked: it cannot change it.
    pub fn decide(&mut self, decide: impl Fn(&Seen<'_>) -> Option<Fixed> + Send + Sync + 'static) {
        self.hook = Some(Hook(Arc::new(decide)));
    }

    /// What a query that asks for `timestamp(up)` is answered with: a whole body, made of the query.
    pub fn answer_age(&mut self, answer: impl Fn(&str) -> Value + Send + Sync + 'static) {
        self.probe_answer = Some(ProbeAnswer(Arc::new(answer)));
    }

    /// Nothing of [`State::always`], [`State::once`], [`State::to_probes`],
    /// [`State::once_to_probes`], [`State::decide`] and [`State::answer_age`] is left.
    pub fn as_usual(&mut self) {
        self.always.clear();
        self.once.clear();
        self.probes.clear();
        self.once_to_probes.clear();
        self.hook = None;
        self.probe_answer = None;
    }

    /// Unix seconds by its clock.
    pub fn now(&self) -> f64 {
        unix_now() + self.clock_skew
    }

    pub(super) fn event(&self, data: &str) {
        let event = format!("data: {data}\n\n");
        self.live.give(crate::target::answers::chunk(&event));
    }

    /// What was set for it, if anything was.
    pub(super) fn set_for(&mut self, path: &str, request: &Seen<'_>) -> Option<Fixed> {
        if request.is_probe() {
            let queue = self.once_to_probes.get_mut(path);
            let once = queue.and_then(VecDeque::pop_front);
            return once.or_else(|| self.probes.get(path).cloned());
        }
        let decided = self.hook.as_ref().and_then(|hook| (hook.0)(request));
        decided
            .or_else(|| self.once.get_mut(path)?.pop_front())
            .or_else(|| self.always.get(path).cloned())
    }
}

fn unix_now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

impl fmt::Debug for ProbeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProbeAnswer")
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}
