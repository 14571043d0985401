//! A folder with a CA, a server's certificate, and clients of all kinds.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, SanType,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
    SupportedProtocolVersion,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::*;
use crate::config_file::FileError;

pub(super) const HASH: &str = "$2y$04$n6T7UFSZIm1Fb9zWJlrN1OTlcMq0ws/HrZ91OIivKK9Yk9TqCkg/K";

/// Of TLS, what most files have.
pub(super) const TLS: &str = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n";

pub(super) struct Ca(Issuer<'static, KeyPair>, pub String);

/// A certificate and its key, in DER and in PEM.
pub(super) struct Pair {
    pub der: CertificateDer<'static>,
    pub key: Vec<u8>,
    pub pem: [String; 2],
}

fn pair(certificate: &rcgen::Certificate, key: &KeyPair) -> Pair {
    Pair {
        der: certificate.der().clone(),
        key: key.serialize_der(),
        pem: [certificate.pem(), key.serialize_pem()],
    }
}

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    pub(super) fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        pair(&params.signed_by(&key, &self.0).unwrap(), &key)
    }
}

/// What `openssl req -x509` makes: signed by itself, and a CA's.
pub(super) fn self_signed(usage: &[ExtendedKeyUsagePurpose]) -> Pair {
    let mut params = CertificateParams::new(vec!["pi".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages = usage.to_vec();
    let key = KeyPair::generate().unwrap();
    pair(&params.self_signed(&key).unwrap(), &key)
}

pub(super) fn all_kinds_of_names(params: &mut CertificateParams) {
    params.subject_alt_names.extend([
        SanType::Rfc822Name("ops@example.org".try_into().unwrap()),
        SanType::IpAddress("192.0.2.7".parse().unwrap()),
        SanType::IpAddress("::ffff:192.0.2.8".parse().unwrap()),
        SanType::URI("spiffe://example.org/pi".try_into().unwrap()),
    ]);
}

pub(super) struct Lab {
    pub folder: TempDir,
    pub ca: Ca,
}

impl Lab {
    /// With `cert.pem`, `key.pem` and `ca.pem`.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = Self {
            folder,
            ca: Ca::new("lab"),
        };
        lab.write("ca.pem", &lab.ca.1);
        lab.serve_as("proxy");
        lab
    }

    /// Gives the server a new certificate, for this name.
    pub(super) fn serve_as(&self, name: &str) -> Pair {
        let pair = self.ca.issue(name, |_| {});
        self.write("cert.pem", &pair.pem[0]);
        self.write("key.pem", &pair.pem[1]);
        pair
    }

    pub(super) fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(file);
        fs::write(&path, text).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    pub(super) fn read(&self, text: &str) -> Result<WebConfig, FileError> {
        WebConfig::read(&self.write("web.yml", text))
    }

    /// The error without its path.
    pub(super) fn refusal(&self, text: &str) -> String {
        let error = self.read(text).expect_err(text).to_string();
        let path = self.folder.path().join("web.yml").display().to_string();
        let error = error.strip_prefix(&path).expect(&error);
        assert_eq!(error.lines().count(), 1, "{error}");
        error.to_owned()
    }

    /// TLS with these lines below its two files.
    pub(super) fn tls(&self, more: &str) -> ServerTls {
        self.read(&format!("{TLS}{more}")).unwrap().tls.unwrap()
    }
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// What a client says of itself.
#[derive(Default)]
pub(super) struct Client<'a> {
    pub shows: Option<&'a Pair>,
    pub alpn: &'a [&'a [u8]],
    pub only: Option<&'static SupportedProtocolVersion>,
}

impl Client<'_> {
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = match &self.only {
            Some(version) => builder.with_protocol_versions(&[*version]).unwrap(),
            None => builder.with_safe_default_protocol_versions().unwrap(),
        };
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone));
        let mut config = match self.shows {
            Some(pair) => {
                let key = PrivateKeyDer::Pkcs8(pair.key.clone().into());
                builder
                    .with_client_auth_cert(vec![pair.der.clone()], key)
                    .unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|it| it.to_vec()).collect();
        Arc::new(config)
    }
}

/// What both ends came to: the server's names, the certificate the client saw, its connection.
pub(super) type Met = Result<(PeerNames, CertificateDer<'static>, ClientConnection), Handshake>;

pub(super) async fn meet(tls: &ServerTls, client: Arc<ClientConfig>) -> Met {
    let (near, far) = duplex(64 * 1024);
    let client = async {
        let name = ServerName::try_from("proxy").unwrap();
        let mut stream = TlsConnector::from(client).connect(name, near).await.ok()?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await.ok()?;
        Some(stream.into_inner().1)
    };
    let server = async {
        let mut accepted = tls.accept(far, soon()).await?;
        accepted.stream.write_all(b"x").await.unwrap();
        accepted.stream.flush().await.unwrap();
        Ok(accepted.names)
    };
    let (client, server) = tokio::join!(client, server);
    let names = server?;
    let client = client.expect("the client came in as well");
    let shown = client.peer_certificates().unwrap()[0].clone();
    Ok((names, shown, client))
}

/// Trusts whatever is shown: it is the server that is looked at.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
