//! The real programs, beside this one where cargo has put them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::Program;

/// Starts `name` and waits until it listens; gives its first address.
///
/// # Panics
/// When it does not, with what it said.
pub(super) async fn start(name: &str, flags: &[String]) -> (Program, SocketAddr) {
    let program = Program::start(Command::new(path(name)).args(flags));
    let line = program.line("msg=listening").await;
    let address = line.split("address=").nth(1);
    let address = address.and_then(|rest| rest.split(' ').next());
    let address = address.and_then(|text| text.trim_matches('"').parse().ok());
    let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
    (program, address)
}

/// TARGET/PROFILE/NAME; this is TARGET/PROFILE/examples/soak.
fn path(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a running program has a path");
    let profile = this.ancestors().nth(2).expect("cargo's folders");
    let path = profile.join(name);
    assert!(
        path.is_file(),
        "{} is missing: cargo build --workspace --bins",
        path.display()
    );
    path
}

/// What in a log must not be there.
pub(super) fn panics(log: &str) -> Vec<&str> {
    let said = |line: &&str| line.contains("panicked at");
    log.lines().filter(said).collect()
}

/// Puts what a program said behind what it had said before it was restarted.
pub(super) fn append(path: &Path, log: &str) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{log}\n--- ended"));
    written.expect("a folder of our own");
}
