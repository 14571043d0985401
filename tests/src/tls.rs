//! A CA of our own, and a TLS front before a proxy.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A CA nobody knows but those who are given its file.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
    roots: RootCertStore,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When its file cannot be written.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "Adit's tests");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("written");
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).expect("a root");
        Self {
            issuer: Issuer::new(params, key),
            folder,
            roots,
        }
    }

    /// Where its certificate is, in PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Its private key, in PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A folder that lives as long, for files that name the certificate's.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A certificate for these names, with its key, as files in the folder: `{stem}.pem` and
    /// `{stem}-key.pem`. Again with the same stem it replaces them.
    ///
    /// # Panics
    /// When a name is none.
    pub fn issue(&self, stem: &str, names: &[&str]) -> Issued {
        self.issue_for(stem, names, Validity::Now)
    }

    /// The same, with a time in which it is good.
    ///
    /// # Panics
    /// When a name is none.
    pub fn issue_for(&self, stem: &str, names: &[&str], validity: Validity) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("names");
        if validity == Validity::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let issued = Issued {
            certificate: self.folder.path().join(format!("{stem}.pem")),
            key: self.folder.path().join(format!("{stem}-key.pem")),
            der: certificate.der().to_vec(),
        };
        // The key first: whoever reads both when the certificate changes has the pair.
        for (path, text) in [
            (&issued.key, key.serialize_pem()),
            (&issued.certificate, certificate.pem()),
        ] {
            let next = path.with_extension("next");
            std::fs::write(&next, text).expect("written");
            std::fs::rename(&next, path).expect("in place");
        }
        issued
    }

    /// The same as [`Self::server`], and it serves only who has a certificate of ours.
    ///
    /// # Panics
    /// When a name is none.
    pub fn server_that_asks(&self, names: &[&str]) -> Arc<ServerConfig> {
        let issued = self.issue("asking", names);
        let certificate = CertificateDer::from(issued.der);
        let key = PrivateKeyDer::from_pem_file(&issued.key).expect("just written");
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(self.roots.clone());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring serves the default versions")
            .with_client_cert_verifier(verifier.build().expect("a root"))
            .with_single_cert(vec![certificate], key);
        Arc::new(config.expect("a pair"))
    }

    /// A server with a certificate for these names, which speaks HTTP/1.1.
    ///
    /// # Panics
    /// When a name is none.
    pub fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// Shakes hands over `stream` as a client who trusts this CA and expects `name`.
    ///
    /// # Panics
    /// When the server is not who it should be.
    pub async fn connect(&self, name: &str, stream: TcpStream) -> TlsStream<TcpStream> {
        let tls = self.try_connect(name, stream).await;
        tls.expect("a handshake")
    }

    /// The same, as long as the server is who it should be.
    ///
    /// # Errors
    /// When it is not, or closes the connection.
    ///
    /// # Panics
    /// When `name` is none.
    pub async fn try_connect(
        &self,
        name: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub struct Issued {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
    /// The certificate itself.
    pub der: Vec<u8>,
}

/// When a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Today.
    Now,
    /// Not any more.
    Expired,
}

/// Ends TLS before a server that speaks in clear, as a load balancer does.
#[derive(Debug)]
pub struct Front {
    /// Where it listens.
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Front {
    /// Before `backend`, on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start(config: Arc<ServerConfig>, backend: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let tls = TlsAcceptor::from(config);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((outside, _)) = listener.accept().await {
                let tls = tls.clone();
                open.spawn(async move {
                    let Ok(mut outside) = tls.accept(outside).await else {
                        return;
                    };
                    let Ok(mut inside) = TcpStream::connect(backend).await else {
                        return;
                    };
                    // An error is one side's end, which both then see.
                    let _ = copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }
}
