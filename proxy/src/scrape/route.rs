//! Who carries a scrape, now or in a moment.

use adit_common::deadline::Deadline;
use adit_common::name::Name;
use tokio::time::{Instant, sleep_until};

use super::reply::Refusal;
use crate::Proxy;
use crate::registry::{Found, Full, Lease};

/// The carrier of the next scrape of `name`. One that is away is waited for: it may be dialling
/// again. Keeps nothing of a name that nobody has.
pub(super) async fn route(
    proxy: &Proxy,
    name: &Name,
    deadline: Deadline,
) -> Result<Lease, Refusal> {
    let registry = &proxy.registry;
    let found = registry.find(name);
    if let Found::Here(carrier) = found {
        return Ok(Lease::new(carrier, registry));
    }
    let draining = proxy.stop.draining();
    if draining.is_cancelled() {
        // Whoever dials now dials somebody else.
        return Err(Refusal::Draining);
    }
    let arrived = Instant::now();
    let until = |found: &Found| registry.patience(found, arrived).min(deadline.instant());
    if until(&found) <= arrived {
        return Err(absent(name, &found));
    }
    let waiter = match registry.waiting().wait(name) {
        Ok(waiter) => waiter,
        Err(Full::InAll(limit)) => return Err(Refusal::Waiting(limit)),
        Err(Full::OfName(limit)) => return Err(Refusal::WaitingFor(name.clone(), limit)),
    };
    loop {
        let arrival = waiter.arrival();
        tokio::pin!(arrival);
        // Before looking: who comes from now on is noticed.
        arrival.as_mut().enable();
        let found = registry.find(name);
        if let Found::Here(carrier) = found {
            return Ok(Lease::new(carrier, registry));
        }
        let until = until(&found);
        if until <= Instant::now() {
            return Err(absent(name, &found));
        }
        tokio::select! {
            () = arrival => {}
            () = sleep_until(until) => {}
            () = draining.cancelled() => return Err(Refusal::Draining),
        }
    }
}

fn absent(name: &Name, found: &Found) -> Refusal {
    match found {
        Found::Away(seen) => Refusal::Away(name.clone(), seen.elapsed()),
        Found::Here(_) | Found::Unknown => Refusal::Unknown(name.clone()),
    }
}
