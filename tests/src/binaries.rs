//! The real programs, built once a run and started as an operator would.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::log;
use crate::pair;
use crate::program::Program;

static BUILT: OnceLock<PathBuf> = OnceLock::new();

/// `adit-proxy`, running.
#[derive(Debug)]
pub struct Proxy {
    /// The process.
    pub program: Program,
    /// The first address it listens on.
    pub address: SocketAddr,
}

/// `adit-client`, running.
#[derive(Debug)]
pub struct Client {
    /// The process.
    pub program: Program,
    /// Where its own pages are.
    pub web: SocketAddr,
}

impl Proxy {
    /// On a free port of 127.0.0.1, with more flags.
    ///
    /// # Panics
    /// When it does not start, with what it said.
    pub async fn start(flags: &[&str]) -> Self {
        let mut command = Command::new(path("adit-proxy"));
        let program = Program::start(command.args(pair::flags_of_a_proxy(flags)));
        let address = listening(&program).await;
        Self { program, address }
    }

    /// What `--proxy-url` and `proxy_url` want.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Client {
    /// Of `proxy`, with more flags; returns when its session is accepted.
    ///
    /// # Panics
    /// When it does not start, with what it said.
    pub async fn start(proxy_url: &str, flags: &[&str]) -> Self {
        let client = Self::launch(proxy_url, flags).await;
        pair::ready(client.web).await;
        client
    }

    /// The same, and returns as soon as it listens.
    ///
    /// # Panics
    /// When it does not start, with what it said.
    pub async fn launch(proxy_url: &str, flags: &[&str]) -> Self {
        Self::launch_in(&[], proxy_url, flags).await
    }

    /// The same, with these variables in its environment.
    ///
    /// # Panics
    /// When it does not start, with what it said.
    pub async fn launch_in(environment: &[(&str, &str)], proxy_url: &str, flags: &[&str]) -> Self {
        let mut command = Command::new(path("adit-client"));
        command.envs(environment.iter().copied());
        command.arg(format!("--proxy-url={proxy_url}"));
        let program = Program::start(command.arg("--web.listen-address=127.0.0.1:0").args(flags));
        let web = listening(&program).await;
        Self { program, web }
    }
}

/// Where the program `name` is; builds both the first time.
///
/// # Panics
/// When they do not build.
pub fn path(name: &str) -> PathBuf {
    BUILT.get_or_init(build).join(name)
}

/// The address in the first line that says where the program listens.
async fn listening(program: &Program) -> SocketAddr {
    let line = program.line("listening").await;
    let fields = log::line(&line).unwrap_or_default();
    let address = fields.get("address").and_then(|text| text.parse().ok());
    address.unwrap_or_else(|| panic!("no address in {line:?}"))
}

fn build() -> PathBuf {
    // TARGET/PROFILE/deps/e2e-HASH
    let test = std::env::current_exe().expect("a running test has a path");
    let profile = test.ancestors().nth(2).expect("cargo's folders");
    let target = profile.parent().expect("cargo's folders");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    cargo
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            // As `make test` has just done: with another choice of packages the dependencies would
            // have other features, and be built once more.
            "--workspace",
            "--all-targets",
            "--target-dir",
        ])
        .arg(target);
    // What cargo told us about this crate would make dependencies build anew that look at it, here
    // and again in the next run.
    for (name, _) in std::env::vars_os() {
        let ours = |prefix| name.to_string_lossy().starts_with(prefix);
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"]
            .into_iter()
            .any(ours)
        {
            cargo.env_remove(&name);
        }
    }
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "{cargo:?}: {status}");
    profile.to_owned()
}
