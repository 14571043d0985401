//! What a test wants of a front.

use std::net::SocketAddr;
use std::time::Duration;

use super::Kind;
use crate::ports;

/// Where a front has us, unless it is told otherwise.
const PREFIX: &str = "/adit";

/// Where a front will be, and what a test wants other than the example has it. Who stands behind it
/// may want to know before it runs.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Where it serves tunnels, pages and path-style scrapes, or everything.
    pub address: SocketAddr,
    /// Where it is a `proxy_url`; of HAProxy's alone is that elsewhere.
    pub proxy_address: SocketAddr,
    /// Where Caddy is told to reload.
    pub(super) admin: u16,
    pub(super) prefix: &'static str,
    idle: Option<Duration>,
}

impl Setup {
    /// As the example has it, on free ports of 127.0.0.1.
    pub fn of(kind: Kind) -> Self {
        let free = || SocketAddr::from(([127, 0, 0, 1], ports::unused()));
        let address = free();
        Self {
            address,
            proxy_address: match kind {
                Kind::Haproxy => free(),
                _ => address,
            },
            admin: ports::unused(),
            prefix: match kind {
                Kind::NginxStream | Kind::HaproxyTcp => "",
                _ => PREFIX,
            },
            idle: None,
        }
    }

    /// Cuts what was silent for so long.
    pub fn idle(self, idle: Duration) -> Self {
        Self {
            idle: Some(idle),
            ..self
        }
    }

    /// All of the front is ours.
    pub fn without_prefix(self) -> Self {
        Self { prefix: "", ..self }
    }

    /// Where clients and scrapers find us.
    pub fn url(&self) -> String {
        format!("https://localhost:{}{}", self.address.port(), self.prefix)
    }

    /// `--web.route-prefix` and `--web.external-url`, as we are told them.
    pub fn flags(&self) -> [String; 2] {
        [
            format!("--web.route-prefix={}/", self.prefix),
            format!("--web.external-url={}", self.url()),
        ]
    }

    /// In whole seconds, as every front reads it.
    pub(super) fn idle_seconds(&self) -> Option<u64> {
        self.idle.map(|idle| idle.as_secs())
    }
}
