//! A backend behind TLS.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use adit_common::net::tls::ClientTls;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::lab::{Peer, Server, failed, get, open_with, send, text};
use crate::query::backend::Failure;

/// Two CAs, and a server's certificate of the first, for localhost.
struct Lab {
    folder: TempDir,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    roots: Arc<RootCertStore>,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (issuer, certificate) = Self::ca(&folder, "ca.pem");
        Self::ca(&folder, "other.pem");
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let issued = params.signed_by(&key, &issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        Self {
            folder,
            chain: vec![issued.der().clone()],
            key: key.serialize_der(),
            roots: Arc::new(roots),
        }
    }

    fn ca(folder: &TempDir, file: &str) -> (Issuer<'static, KeyPair>, CertificateDer<'static>) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, file);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join(file), certificate.pem()).unwrap();
        (Issuer::new(params, key), certificate.der().clone())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn trusting(&self, file: &str) -> ClientTls {
        ClientTls {
            ca_file: Some(self.path(file)),
            ..ClientTls::default()
        }
    }

    /// Answers everybody it shakes hands with.
    async fn serve(&self, asks: bool) -> Server {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match asks {
            false => builder.with_no_client_auth(),
            true => {
                let roots = Arc::clone(&self.roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::Pkcs8(self.key.clone().into());
        let config = builder.with_single_cert(self.chain.clone(), key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Server::start(move |_, peer| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(peer.0).await {
                    let mut peer = Peer(stream);
                    peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await;
                    peer.closed().await;
                }
            }
        })
        .await
    }
}

/// Case 23, of TLS.
#[tokio::test]
async fn tls_that_fails_says_how_and_whose_it_is() {
    let lab = Lab::new();
    let server = lab.serve(false).await;
    let asking = lab.serve(true).await;
    let plain = Server::start(|_, mut peer| async move {
        peer.say("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        peer.closed().await;
    })
    .await;
    let (port, asks, plain) = (
        server.address.port(),
        asking.address.port(),
        plain.address.port(),
    );
    for (url, ca, words) in [
        (format!("https://localhost:{port}"), "ca.pem", None),
        (
            format!("https://localhost:{port}"),
            "other.pem",
            Some("issuer unknown"),
        ),
        (
            format!("https://127.0.0.1:{port}"),
            "ca.pem",
            Some("not valid for this name"),
        ),
        (
            format!("https://localhost:{asks}"),
            "ca.pem",
            Some("certificate"),
        ),
        (
            format!("https://localhost:{plain}"),
            "ca.pem",
            Some("does not speak tls"),
        ),
    ] {
        let backend = open_with(&url, lab.trusting(ca), None);
        let Some(words) = words else {
            assert_eq!(text(&backend, get("/")).await, "ok");
            continue;
        };
        let failure = failed(send(&backend, get("/")).await.map(|_| ()));
        assert!(matches!(failure, Failure::Tls(_)), "{url}: {failure:?}");
        assert!(failure.to_string().contains(words), "{url}: {failure}");
    }
    // And the other way round.
    let backend = open_with(
        &format!("http://localhost:{port}"),
        ClientTls::default(),
        None,
    );
    let failure = failed(send(&backend, get("/")).await.map(|_| ()));
    assert!(matches!(failure, Failure::Reset(_)), "{failure:?}");
}
