//! Who holds a name.

use std::sync::Arc;

use adit_common::name::Name;

use super::reply::Refusal;
use crate::Proxy;
use crate::registry::Found;
use crate::session::Session;

/// The session a scrape of `name` goes to, or why there is none. Keeps nothing of the name.
pub(super) fn route(proxy: &Proxy, name: &Name) -> Result<Arc<Session>, Refusal> {
    match proxy.registry.find(name) {
        Found::Here(session) => Ok(session),
        _ if proxy.stop.draining().is_cancelled() => Err(Refusal::Draining),
        Found::Away(since) => Err(Refusal::Away(name.clone(), since.elapsed())),
        Found::Unknown => Err(Refusal::Unknown(name.clone())),
    }
}
