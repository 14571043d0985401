//! One caller after the other, at a pool that changes.

mod cookie;
mod staying;

use tokio::time::Instant;

use super::super::standing::Tier;
use super::super::strategy::Chooser;
use super::super::strategy::lab::candidates;
use super::*;
use crate::config::query::{Cookie, Strategy};

const COOKIE_NAME: &str = "adit";

fn cookie() -> Affinity {
    Affinity::Cookie(Cookie {
        name: COOKIE_NAME.to_owned(),
        path: "/".to_owned(),
        max_age: None,
    })
}

fn source_address() -> Affinity {
    Affinity::SourceAddress {
        ipv4_prefix: 32,
        ipv6_prefix: 64,
    }
}

fn header(name: &'static str) -> Affinity {
    Affinity::Header(HeaderName::from_static(name))
}

fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_static(name);
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// A pool as one caller after the other sees it.
struct Pool {
    affinities: Affinities,
    chooser: Chooser,
    candidates: Vec<Candidate>,
}

/// What one caller got.
#[derive(Debug)]
struct Got {
    first: String,
    order: Order,
    outcomes: Vec<(&'static str, Became)>,
    wish: Wish,
}

impl Pool {
    fn new(affinities: &[Affinity], strategy: &Strategy, names: &[&str]) -> Self {
        let mut pool = candidates(["", "", "", ""]);
        pool.truncate(names.len());
        for (candidate, name) in pool.iter_mut().zip(names) {
            candidate.name = (*name).into();
        }
        Self {
            affinities: Affinities::new(affinities),
            chooser: Chooser::seeded(strategy, 5),
            candidates: pool,
        }
    }

    fn ask(&self, headers: &HeaderMap, address: Option<&str>) -> Got {
        let address = address.map(|text| text.parse().unwrap());
        let wish = self.affinities.read(headers, address, &self.candidates);
        let now = Instant::now();
        let key = wish.key.as_deref();
        let mut order = self.chooser.order_for(key, &self.candidates, now);
        let outcomes = self.affinities.apply(&wish, &mut order, &self.candidates);
        Got {
            first: String::from(&*self.candidates[order.indices[0]].name),
            order,
            outcomes: outcomes.iter().map(|o| (o.kind, o.became)).collect(),
            wish,
        }
    }

    /// With the cookie that an answer of this backend carries.
    fn cookie_of(&self, backend: &str) -> String {
        let set = self.affinities.cookie(&Wish::default(), backend, false);
        let set = set.unwrap();
        let pair = set.to_str().unwrap().split(';').next().unwrap();
        pair.to_owned()
    }

    fn tier(&mut self, name: &str, tier: Tier) {
        let found = self.candidates.iter_mut().find(|c| &*c.name == name);
        found.unwrap().tier = tier;
    }
}
