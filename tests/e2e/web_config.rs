//! The web configuration file, beside the programs that know it: Debian's node_exporter, which has
//! exporter-toolkit in it, openssl and curl.

mod real_clients;
mod same_verdict;

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use tempfile::TempDir;

const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
const TLS: &str = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n";

/// A folder with a CA (`ca.pem`), a server for `localhost` (`cert.pem`, `key.pem`) and a client of
/// the CA's (`client.pem`, `client.key`).
struct Folder(TempDir);

fn called(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let mut params = called("CA", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        folder.write("ca.pem", &params.self_signed(&key).unwrap().pem());
        let ca = Issuer::new(params, key);
        for (name, cert_file, key_file) in [
            ("localhost", "cert.pem", "key.pem"),
            ("pi", "client.pem", "client.key"),
        ] {
            let key = KeyPair::generate().unwrap();
            let cert = called(name, &[name]).signed_by(&key, &ca).unwrap();
            folder.write(cert_file, &cert.pem());
            folder.write(key_file, &key.serialize_pem());
        }
        folder
    }

    fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path(file);
        fs::write(&path, text).unwrap();
        path
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }
}
