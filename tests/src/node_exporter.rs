//! Debian's node_exporter.

use std::net::SocketAddr;
use std::process::Command;

use crate::program::{Program, debian};

/// A running one.
#[derive(Debug)]
pub struct NodeExporter {
    /// Where it listens.
    pub address: SocketAddr,
    _program: Program,
}

impl NodeExporter {
    /// On a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same, with `node_uname_info` and nothing else: all that it knows takes a busy machine longer
    /// than a scrape may.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn of_uname() -> Self {
        Self::with(&["--collector.disable-defaults", "--collector.uname"]).await
    }

    async fn with(flags: &[&str]) -> Self {
        let path = debian("prometheus-node-exporter", "prometheus-node-exporter");
        let mut command = Command::new(path);
        command.arg("--web.listen-address=127.0.0.1:0").args(flags);
        let program = Program::start(&command);
        let line = program.line("Listening on").await;
        let address = line
            .split("address=")
            .nth(1)
            .and_then(|text| text.trim().parse().ok());
        Self {
            address: address.unwrap_or_else(|| panic!("no address in {line:?}")),
            _program: program,
        }
    }
}
