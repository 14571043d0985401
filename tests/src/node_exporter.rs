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
        let path = debian("prometheus-node-exporter", "prometheus-node-exporter");
        let program = Program::start(Command::new(path).arg("--web.listen-address=127.0.0.1:0"));
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
