//! A test in namespaces of its own: addresses, routes and files there are nobody else's.

use std::io::Write as _;
use std::process::Command;

use crate::program::Program;

/// Names the test that is inside.
const INSIDE: &str = "ADIT_TEST_NAMESPACE";

/// Whether this is the inside of `test`, which is its full name. Where it is not, that very test is run
/// again in new namespaces, each of `kinds` a flag of unshare(1), after the shell's `setup` has
/// succeeded in there; then there is nothing more to do.
///
/// Where namespaces cannot be made and set up like that it says so, past the test's captured output.
///
/// # Panics
/// When the test fails inside.
pub async fn inside(test: &str, kinds: &[&str], setup: &str) -> bool {
    if std::env::var_os(INSIDE).is_some_and(|inside| inside == test) {
        return true;
    }
    let prepared = Command::new("unshare")
        .args(kinds)
        .args(["sh", "-c", setup])
        .output();
    let missing = match prepared {
        Ok(prepared) if prepared.status.success() => None,
        Ok(prepared) => Some(String::from_utf8_lossy(&prepared.stderr).into_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = missing {
        let needs = "needs root, unshare(1) and ip(8) of iproute2";
        let skipped = format!("SKIPPED {test}: {needs}: {}\n", why.trim());
        let _ = std::io::stderr().write_all(skipped.as_bytes());
        return false;
    }
    let this = std::env::current_exe().expect("the path of a running program");
    let script = format!("{setup} && exec \"$0\" --exact {test}");
    let mut command = Command::new("unshare");
    command.args(kinds).args(["sh", "-c", &script]).arg(this);
    command.env(INSIDE, test);
    let run = Program::start(&command).finished().await;
    assert!(run.stdout.contains("1 passed; 0 failed"), "{run:?}");
    false
}
