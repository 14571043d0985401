//! mpp's users: its flags and variables, its pages, its own load test, and none of its mistakes.
//!
//! * [`load`] is the load test that mpp has in its own repository.
//! * [`flags`] is what somebody types who comes with mpp's command line in hand.
//! * [`pages`] are `/mpp/health`, `/mpp/metrics`, `/mpp/status`.
//! * [`faults`] holds that each fault of mpp's has a test that shows we do not have it.

mod faults;
mod flags;
mod load;
mod pages;

use std::net::SocketAddr;
use std::path::PathBuf;

use adit_tests::binaries;
use adit_tests::log;
use tempfile::TempDir;

/// Instead of mpp's port on every interface.
const LISTEN: &str = "--query.listen-address=127.0.0.1:0";

/// mpp's endpoints file.
struct Endpoints {
    folder: TempDir,
}

impl Endpoints {
    fn new(urls: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let endpoints = Self { folder };
        endpoints.swap(urls);
        endpoints
    }

    /// Another one in its place, as who swaps files in earnest does it.
    fn swap(&self, urls: &[&str]) {
        let new = self.folder.path().join("new");
        let lines: String = urls.iter().map(|url| format!("{url}\n")).collect();
        std::fs::write(&new, lines).unwrap();
        std::fs::rename(&new, self.path()).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("endpoints")
    }

    fn flag(&self) -> String {
        format!("--endpoints-file={}", self.path().display())
    }
}

/// The real program in mpp's place, and where it takes queries.
async fn started(flags: &[&str]) -> (binaries::Proxy, SocketAddr) {
    let all: Vec<&str> = ["--compat.mpp", LISTEN]
        .into_iter()
        .chain(flags.iter().copied())
        .collect();
    let proxy = binaries::Proxy::start(&all).await;
    let line = log::line(&proxy.program.line("roles=query").await).unwrap();
    let query = line["address"].parse().unwrap();
    (proxy, query)
}
