//! Why there is no tunnel to a proxy, or none it routes by: the last reason of each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By proxy, as metrics name it. A keeper writes its own and takes it out at its end.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<BTreeMap<String, String>>);

impl Troubles {
    /// Whatever was known of that proxy, it is this now.
    pub(super) fn set(&self, proxy: &str, why: impl fmt::Display) {
        self.lock().insert(proxy.to_owned(), why.to_string());
    }

    /// It has accepted us, or is none of ours any longer.
    pub(super) fn clear(&self, proxy: &str) {
        self.lock().remove(proxy);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Troubles {
    /// A line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.lock().clone().into_iter();
        all.try_for_each(|(proxy, why)| writeln!(f, "{proxy}: {why}"))
    }
}
