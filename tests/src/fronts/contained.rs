//! A front and all it starts, so that they end together.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use crate::program::{Program, debian};

/// Most of them start processes that outlive a master that was killed. In a PID namespace of their
/// own nobody does.
pub(super) fn contained(command: &Command) -> Program {
    let mut contained = Command::new(debian("unshare", "util-linux"));
    contained.args(["--pid", "--fork", "--kill-child"]);
    // A namespace is root's to make, or one's own user namespace's.
    if !is_root() {
        contained.args(["--user", "--map-current-user"]);
    }
    contained.arg("--").arg(command.get_program());
    contained.args(command.get_args());
    for (name, value) in command.get_envs() {
        contained.env(name, value.unwrap_or_default());
    }
    Program::start(&contained)
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
