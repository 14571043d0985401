//! All that a configuration is made of.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Kind, Setup, apache, caddy, haproxy, nginx};

/// Whatever the program, and for one generation of its configuration.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) folder: &'a Path,
    /// Where it finds us.
    pub(super) backend: SocketAddr,
    pub(super) setup: &'a Setup,
    /// In whose name it asks for passwords: another for each generation.
    pub(super) realm: String,
}

impl Plan<'_> {
    pub(super) fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    pub(super) fn write(&self, kind: Kind) {
        match kind {
            Kind::Nginx => nginx::write(self),
            Kind::NginxStream => nginx::write_stream(self),
            Kind::Caddy => caddy::write(self),
            Kind::Haproxy => haproxy::write(self),
            Kind::HaproxyTcp => haproxy::write_tcp(self),
            Kind::Apache => apache::write(self),
        }
    }

    pub(super) fn command(&self, kind: Kind) -> Command {
        match kind {
            Kind::Nginx | Kind::NginxStream => nginx::command(self),
            Kind::Caddy => caddy::command(self),
            Kind::Haproxy | Kind::HaproxyTcp => haproxy::command(self),
            Kind::Apache => apache::command(self),
        }
    }
}
