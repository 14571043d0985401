//! Who stays with whom: one caller's order, with the backend they had before in front.
//!
//! 1. [`Affinities::read`] takes from a request what tells its caller from others: a [`cookie`] of ours, the
//!    [`network`] they come from, or a field of the head.
//! 2. [`Affinities::apply`] moves a backend to the front of the order a strategy has made: the one of the
//!    cookie, the [`nearest`] to what was read, or the [`primary`], which is everybody's.
//! 3. [`Affinities::cookie`] is what the answer carries, so that the caller comes back to who served them.
//!
//! Kinds are tried in the order in which they are written, until one finds a backend. Only those at the
//! front may be had that the strategy holds to be as good as each other: nobody stays with the dead, with
//! who is in a worse state, or with who has much less data than another. A caller whose backend is none of
//! them any more has another one at once, and from then on.
//!
//! Addresses and fields are not remembered, they are hashed: there is no table that fills up, and several
//! proxies and a restarted one send a caller to the same backend. Cookies are of one process: their secret
//! is made at its start and never written down, so that a restart costs each browser one change, and
//! where there are several proxies a browser has to come back to the same one, or an address or a field
//! is the better choice.

mod cookie;
mod nearest;
mod network;
mod primary;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use ring::digest::{SHA256, digest};

use self::cookie::Cookies;
use self::network::Prefixes;
use self::primary::Kept;
use super::strategy::{Candidate, Order};
use crate::config::query::Affinity;

/// One pool's kinds of affinity, and what they remember.
#[derive(Debug)]
pub(crate) struct Affinities(Vec<Way>);

#[derive(Debug)]
enum Way {
    Primary(Kept),
    Cookie(Box<Cookies>),
    SourceAddress(Prefixes),
    Header(HeaderName),
}

/// What a caller shows.
#[derive(Default)]
pub(crate) struct Wish {
    /// What they have in common with others who are to see the same backend. It is hashed at once: a
    /// field may be long, and it may be the one with the password.
    pub(crate) key: Option<Vec<u8>>,
    /// Which way the key is of.
    keyed_by: Option<usize>,
    /// The backend of their cookie: its place in the candidates.
    pin: Option<usize>,
    /// The name of the cookie's backend.
    shown: Option<Arc<str>>,
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// `primary`, `cookie`, `source-address`, `header`.
    pub(crate) kind: &'static str,
    pub(crate) became: Became,
}

/// Whether somebody stays where they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Became {
    /// They do.
    Hit,
    /// They show nothing, or are the first.
    Miss,
    /// Their backend is not among the best any more: they have another.
    Broken,
}

impl Became {
    /// The word in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Broken => "broken",
        }
    }
}

impl Affinities {
    pub(crate) fn new(config: &[Affinity]) -> Self {
        let way = |affinity: &Affinity| match affinity {
            Affinity::Primary => Way::Primary(Kept::default()),
            Affinity::Cookie(cookie) => Way::Cookie(Box::new(Cookies::new(cookie))),
            Affinity::SourceAddress {
                ipv4_prefix,
                ipv6_prefix,
            } => Way::SourceAddress(Prefixes {
                ipv4: *ipv4_prefix,
                ipv6: *ipv6_prefix,
            }),
            Affinity::Header(name) => Way::Header(name.clone()),
        };
        Self(config.iter().map(way).collect())
    }

    /// What this caller shows. The address is the visitor's, not a trusted proxy's.
    pub(crate) fn read(
        &self,
        headers: &HeaderMap,
        address: Option<IpAddr>,
        candidates: &[Candidate],
    ) -> Wish {
        let mut wish = Wish::default();
        for (i, way) in self.0.iter().enumerate() {
            let key = match way {
                Way::Primary(_) => None,
                Way::Cookie(cookies) => {
                    wish.pin = wish.pin.or_else(|| cookies.read(headers, candidates));
                    None
                }
                Way::SourceAddress(prefixes) => address.map(|address| prefixes.network(address)),
                Way::Header(name) => field(headers, name),
            };
            if let (Some(key), None) = (key, &wish.key) {
                wish.key = Some(digest(&SHA256, &key).as_ref().to_vec());
                wish.keyed_by = Some(i);
            }
        }
        wish.shown = wish.pin.map(|i| Arc::clone(&candidates[i].name));
        wish
    }

    /// Moves the caller's backend to the front, of the same candidates, and says of each kind that was
    /// looked at what became of it.
    pub(crate) fn apply(
        &self,
        wish: &Wish,
        order: &mut Order,
        candidates: &[Candidate],
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(self.0.len());
        for (i, way) in self.0.iter().enumerate() {
            let kind = way.kind();
            let became = match way {
                Way::Primary(kept) => kept.apply(order, candidates),
                Way::Cookie(_) => match wish.pin {
                    Some(pin) if order.prefer(pin, kind) => Became::Hit,
                    Some(_) => Became::Broken,
                    None => Became::Miss,
                },
                Way::SourceAddress(_) | Way::Header(_) => match &wish.key {
                    Some(key) if wish.keyed_by == Some(i) => {
                        nearest::apply(key, order, candidates, kind)
                    }
                    _ => Became::Miss,
                },
            };
            outcomes.push(Outcome { kind, became });
            let found = match way {
                Way::Primary(_) => true,
                Way::Cookie(_) => became == Became::Hit,
                // Whose backend is gone has the next one by the same hash.
                Way::SourceAddress(_) | Way::Header(_) => became != Became::Miss,
            };
            if found {
                break;
            }
        }
        outcomes
    }

    /// `Set-Cookie`, when the caller's cookie is missing or of another backend than has served them.
    pub(crate) fn cookie(&self, wish: &Wish, served_by: &str, https: bool) -> Option<HeaderValue> {
        if wish.shown.as_deref() == Some(served_by) {
            return None;
        }
        self.cookies().next()?.set(served_by, https)
    }

    /// Takes our cookie out of what a backend is sent, and nothing else.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        for cookies in self.cookies() {
            cookies.strip(headers);
        }
    }

    /// The backend that everybody stays with, where the strategy has none of its own.
    pub(crate) fn primary(&self) -> Option<Arc<str>> {
        self.0.iter().find_map(|way| match way {
            Way::Primary(kept) => kept.name(),
            _ => None,
        })
    }

    fn cookies(&self) -> impl Iterator<Item = &Cookies> {
        self.0.iter().filter_map(|way| match way {
            Way::Cookie(cookies) => Some(&**cookies),
            _ => None,
        })
    }
}

impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wish")
            .field("backend", &self.shown)
            .field("way", &self.keyed_by)
            .finish_non_exhaustive()
    }
}

impl Way {
    /// The word in metrics.
    fn kind(&self) -> &'static str {
        match self {
            Self::Primary(_) => "primary",
            Self::Cookie(_) => "cookie",
            Self::SourceAddress(_) => "source-address",
            Self::Header(_) => "header",
        }
    }
}

/// All a head says in this field; nothing is nothing.
fn field(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    // As HTTP joins them (RFC 9110, 5.3): it is the same whether a proxy before us has done so or not.
    let joined = values.join(&b", "[..]);
    (!joined.is_empty()).then_some(joined)
}
