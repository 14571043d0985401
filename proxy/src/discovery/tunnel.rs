//! Backends among what clients offer through their tunnels.
//!
//! Labels are what clients say of their own targets: whoever may register a name can make any of its
//! targets a backend of a pool that asks for no more than a label. Which names a client may register is
//! said where clients are let in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adit_common::name::Name;
use adit_common::registration::{Offered, Registration};
use tokio::time::{sleep, timeout};

use super::{Found, Report};
use crate::config::query::TunnelSource;
use crate::registry::Registry;

/// However many clients come and go: a look costs as much as there are.
const PAUSE: Duration = Duration::from_millis(100);
/// A name that left is listed no longer after a while, without another word.
const LATEST: Duration = Duration::from_secs(5);

/// Looks whenever something has changed, and now and then. It never ends.
pub(super) async fn follow(source: TunnelSource, registry: Arc<Registry>, report: Report) {
    let mut changes = registry.changes();
    let mut last = None;
    loop {
        changes.mark_unchanged();
        let found = found(&source, &registry.offers());
        if last.as_ref() != Some(&found) {
            last = Some(found.clone());
            report.found(found).await;
        }
        sleep(PAUSE).await;
        // We hold the registry, so there is somebody to tell.
        let _ = timeout(LATEST, changes.changed()).await;
    }
}

/// Each target under its own name: a client lists all of its targets under each of its names.
fn found(source: &TunnelSource, offers: &[(Name, Arc<Registration>)]) -> Vec<Found> {
    let mut all = Vec::new();
    for (name, offer) in offers {
        let targets = offer.targets.iter();
        let own = targets.filter(|offered| offered.target.name == *name);
        for offered in own.filter(|offered| is_meant(&source.labels, offer, offered)) {
            // A name that no URL can have is nobody else's loss.
            if let Ok(url) = format!("tunnel://{}", offered.target).parse() {
                all.push(Found::new(url, &source.manner));
            }
        }
    }
    all
}

fn is_meant(wanted: &BTreeMap<String, String>, offer: &Registration, offered: &Offered) -> bool {
    wanted.iter().all(|(label, value)| {
        let said = offered
            .labels
            .get(label)
            .or_else(|| offer.labels.get(label));
        said == Some(value)
    })
}

#[cfg(test)]
#[path = "tunnel_tests.rs"]
mod tests;
