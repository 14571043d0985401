//! Tests that measure take turns, and say what they measured.

use std::fmt;
use std::io::Write as _;

use tokio::sync::{Mutex, MutexGuard};

static TURN: Mutex<()> = Mutex::const_new(());

/// Held by tests that measure time or memory, and by those that use a whole core: two of them at
/// once would measure each other.
pub async fn alone() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// Says a figure on stderr, past the capturing of the test runner: figures are for the log of every
/// run, not only of one that failed.
pub fn measured(what: &str, value: impl fmt::Debug) {
    // A closed stderr is no reason to fail a test.
    let _ = writeln!(std::io::stderr(), "measured: {what}: {value:?}");
}
