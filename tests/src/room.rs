//! Room for many sockets.

use crate::program::Program;

/// Lets this process, and those it starts, have so many files open.
///
/// # Panics
/// When it may not.
pub async fn room_for(files: u64) {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("a process has limits");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    let soft = soft.and_then(|soft| soft.parse().ok()).unwrap_or(u64::MAX);
    if soft < files {
        let (id, limit) = (std::process::id(), format!("--nofile={files}:"));
        let raised = Program::run("prlimit", &["--pid", &id.to_string(), &limit]).await;
        assert!(raised.status.success(), "{line:?}: {}", raised.stderr);
    }
}
