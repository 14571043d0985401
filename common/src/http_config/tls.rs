//! How the file writes TLS.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::net::tls::{ClientTls, Pem};

/// TLS towards a proxy or a target. Files are relative to the configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileTls {
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    server_name: Option<String>,
    insecure_skip_verify: bool,
}

impl FileTls {
    /// With its files found.
    pub fn resolve(self, directory: &Path) -> ClientTls {
        let at = |file: Option<PathBuf>| file.map(|file| directory.join(file));
        ClientTls {
            ca_file: at(self.ca_file),
            cert_file: at(self.cert_file),
            key_file: at(self.key_file),
            pem: Pem::default(),
            server_name: self.server_name,
            insecure_skip_verify: self.insecure_skip_verify,
        }
    }
}
