//! Handshakes over a pipe with a rustls server whose certificates are made on the spot.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair, date_time_ymd,
};
use rustls::crypto::ring::{self, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::secret::Secret;

use super::{ClientTls, Connector, Pem, TlsError, certificates, system_roots};

struct Ca(Issuer<'static, KeyPair>);

/// A certificate and its key.
struct Pair(Certificate, KeyPair);

impl Pair {
    fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.1.serialize_der().into())
    }
}

impl Ca {
    fn new(name: &str) -> (Self, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        (Self(Issuer::new(params, key)), pem)
    }

    fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        Pair(params.signed_by(&key, &self.0).expect("issued"), key)
    }
}

/// A CA that is trusted, and its file.
struct Lab {
    dir: TempDir,
    ca: Ca,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (ca, pem) = Ca::new("lab");
        // Behind another, so that a reader of only the first certificate is found out.
        let (_, other) = Ca::new("other");
        fs::write(dir.path().join("ca.pem"), format!("{other}{pem}")).expect("written");
        Self { dir, ca }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).expect("written");
        self.path(name)
    }

    fn trusting(&self) -> ClientTls {
        ClientTls {
            ca_file: Some(self.path("ca.pem")),
            ..ClientTls::default()
        }
    }

    fn server(&self, names: &[&str]) -> ServerConfig {
        serving(&self.ca.issue(names, |_| {}))
    }
}

fn serving(pair: &Pair) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![pair.certificate()], pair.key())
        .expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Shakes hands and sends a byte from the server; gives the protocol agreed.
async fn shake(tls: &ClientTls, host: &str, server: ServerConfig) -> Result<Vec<u8>, TlsError> {
    let connector = tls.build()?;
    let (near, far) = duplex(64 * 1024);
    let serve = async {
        let accepted = TlsAcceptor::from(Arc::new(server)).accept(far).await;
        if let Ok(mut stream) = accepted {
            stream.write_all(b"x").await.expect("written");
            stream.flush().await.expect("flushed");
        }
    };
    let (result, ()) = tokio::join!(talk(&connector, host, near), serve);
    result
}

async fn talk(connector: &Connector, host: &str, near: DuplexStream) -> Result<Vec<u8>, TlsError> {
    let mut stream = connector.connect(host, near, soon()).await?;
    let mut byte = [0];
    stream.read_exact(&mut byte).await.expect("the byte");
    Ok(stream.get_ref().1.alpn_protocol().expect("one").to_vec())
}

async fn refusal(tls: &ClientTls, host: &str, server: ServerConfig) -> String {
    let error = shake(tls, host, server).await.expect_err("refused");
    assert!(error.is_certificate(), "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_server_of_the_ca_is_trusted_and_speaks_http1() {
    let lab = Lab::new();
    let names = ["nas.lan", "127.0.0.1", "::1"];
    for host in ["nas.lan", "NAS.lan", "nas.lan.", "127.0.0.1", "::1"] {
        let alpn = shake(&lab.trusting(), host, lab.server(&names)).await;
        assert_eq!(alpn.expect(host), b"http/1.1");
    }
}

#[tokio::test]
async fn certificates_are_refused_in_plain_words() {
    let lab = Lab::new();
    let unknown = "tls with nas: certificate issuer unknown (give its CA in ca_file)";
    let (stranger, _) = Ca::new("stranger");
    let strange = || serving(&stranger.issue(&["nas"], |_| {}));
    assert_eq!(refusal(&lab.trusting(), "nas", strange()).await, unknown);
    let system = ClientTls::default();
    assert_eq!(refusal(&system, "nas", lab.server(&["nas"])).await, unknown);

    let expired = lab.ca.issue(&["nas"], |params| {
        params.not_after = date_time_ymd(2020, 1, 1)
    });
    let early = lab.ca.issue(&["nas"], |params| {
        params.not_before = date_time_ymd(3000, 1, 1)
    });
    let own = lab.ca.issue(&["nas"], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    for (server, reason) in [
        (
            lab.server(&["other", "127.0.0.1"]),
            "not valid for this name (give the one it is for as server_name)",
        ),
        (serving(&expired), "expired"),
        (serving(&early), "not valid yet (is the clock right?)"),
        (
            serving(&own),
            "is a CA's own (give it in ca_file, or make one for the server with CA:FALSE)",
        ),
    ] {
        let said = refusal(&lab.trusting(), "nas", server).await;
        assert_eq!(said, format!("tls with nas: certificate {reason}"));
    }
}

/// What `openssl req -x509` makes: signed by itself, and a CA's.
fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let mut params = CertificateParams::new(vec!["nas".to_owned()]).expect("names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    Pair(params.self_signed(&key).expect("a certificate"), key)
}

#[tokio::test]
async fn a_self_signed_server_is_trusted_when_it_is_listed_itself() {
    let lab = Lab::new();
    let listing = |pair: &Pair| ClientTls {
        ca_file: Some(lab.file("listed.pem", &pair.0.pem())),
        ..ClientTls::default()
    };
    let nas = self_signed(|_| {});
    let trusted = shake(&listing(&nas), "nas", serving(&nas)).await;
    trusted.expect("listed");
    let said = refusal(&listing(&nas), "other", serving(&nas)).await;
    assert!(said.contains("not valid for this name"), "{said}");
    let stranger = self_signed(|_| {});
    refusal(&listing(&nas), "nas", serving(&stranger)).await;
    let expired = self_signed(|params| params.not_after = date_time_ymd(2020, 1, 1));
    let said = refusal(&listing(&expired), "nas", serving(&expired)).await;
    assert!(said.contains("expired"), "{said}");
}

#[tokio::test]
async fn server_name_stands_in_for_the_host() {
    let lab = Lab::new();
    let tls = ClientTls {
        server_name: Some("inner.example".to_owned()),
        ..lab.trusting()
    };
    shake(&tls, "192.0.2.1", lab.server(&["inner.example"]))
        .await
        .expect("the name set");
    refusal(&tls, "nas", lab.server(&["nas"])).await;
}

#[tokio::test]
async fn skipping_takes_any_certificate_but_not_without_its_key() {
    let (stranger, _) = Ca::new("stranger");
    let tls = ClientTls {
        insecure_skip_verify: true,
        ..ClientTls::default()
    };
    let shown = stranger.issue(&["other"], |params| {
        params.not_after = date_time_ymd(2020, 1, 1)
    });
    shake(&tls, "nas", serving(&shown))
        .await
        .expect("anything goes");

    let own = stranger.issue(&["other"], |_| {});
    let key = any_supported_type(&own.key()).expect("a key");
    for version in [&TLS12, &TLS13] {
        let stolen = CertifiedKey::new(vec![shown.certificate()], Arc::clone(&key));
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(stolen)));
        let said = refusal(&tls, "nas", server).await;
        assert_eq!(said, "tls with nas: certificate signature wrong");
    }
}

/// A server of TLS `version` that wants a certificate of the lab's.
fn demanding(lab: &Lab, version: &'static SupportedProtocolVersion) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    for root in certificates("ca_file", &lab.path("ca.pem")).expect("roots") {
        roots.add(root).expect("a root");
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .build()
        .expect("a verifier");
    let own = lab.ca.issue(&["nas"], |_| {});
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![own.certificate()], own.key())
        .expect("a pair");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

#[tokio::test]
async fn our_own_certificate_is_shown() {
    let lab = Lab::new();
    let ours = lab.ca.issue(&["client"], |_| {});
    let tls = ClientTls {
        cert_file: Some(lab.file("cert.pem", &ours.0.pem())),
        key_file: Some(lab.file("key.pem", &ours.1.serialize_pem())),
        ..lab.trusting()
    };
    for version in [&TLS12, &TLS13] {
        let shaken = shake(&tls, "nas", demanding(&lab, version)).await;
        shaken.expect("let in");
    }
    // TLS 1.3 tells the client only after its side of the handshake is over.
    assert_eq!(
        refusal(&lab.trusting(), "nas", demanding(&lab, &TLS12)).await,
        "tls with nas: the server wants a client certificate (give cert_file and key_file)"
    );
}

#[tokio::test]
async fn pem_at_hand_does_as_well_as_files() {
    let lab = Lab::new();
    let ours = lab.ca.issue(&["client"], |_| {});
    let roots = fs::read_to_string(lab.path("ca.pem")).expect("roots");
    let (chain, key) = (ours.0.pem(), ours.1.serialize_pem());
    let with = |ca: &str, chain: &str, key: &str| {
        let secret = |text: &str| Secret::new(text.to_owned());
        ClientTls {
            // Nobody looks there.
            ca_file: Some(lab.path("missing.pem")),
            pem: Pem {
                ca: Some(secret(ca)),
                identity: Some((secret(chain), secret(key))),
            },
            ..ClientTls::default()
        }
    };
    let tls = with(&roots, &chain, &key);
    let shaken = shake(&tls, "nas", demanding(&lab, &TLS13)).await;
    shaken.expect("it is known");
    let shown = format!("{tls:?}");
    assert!(!shown.contains("BEGIN"), "{shown}");

    for (tls, says) in [
        (with("s3cret", "", ""), "ca_file (in place): nothing of"),
        (
            with(&roots, "s3cret", ""),
            "cert_file (in place): nothing of",
        ),
        (
            with(&roots, &chain, "s3cret"),
            "key_file (in place): nothing of",
        ),
    ] {
        let said = tls.build().expect_err("it cannot work").to_string();
        assert!(said.contains(says) && !said.contains("s3cret"), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_and_other_tongues_are_told_apart_from_certificates() {
    let connector = ClientTls::default().build().expect("a connector");
    let said = async |far: Option<&[u8]>| {
        let (near, mut there) = duplex(64 * 1024);
        if let Some(bytes) = far {
            there.write_all(bytes).await.expect("written");
            there.shutdown().await.expect("shut down");
        }
        let error = connector.connect("nas", near, soon()).await;
        let error = error.expect_err("no handshake");
        assert!(!error.is_certificate(), "{error}");
        error.to_string()
    };
    assert_eq!(said(None).await, "tls with nas: no answer in time");
    assert_eq!(
        said(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await,
        "tls with nas: the other side does not speak tls"
    );
    assert_eq!(
        said(Some(b"")).await,
        "tls with nas: connection closed during the handshake"
    );
}

#[test]
fn settings_that_cannot_work_say_why() {
    let lab = Lab::new();
    let ours = lab.ca.issue(&["client"], |_| {});
    let cert = lab.file("cert.pem", &ours.0.pem());
    let key = lab.file("key.pem", &ours.1.serialize_pem());
    let foreign = lab.file(
        "foreign.pem",
        &lab.ca.issue(&["x"], |_| {}).1.serialize_pem(),
    );
    let damaged = lab.file("damaged.pem", "-----BEGIN CERTIFICATE-----\nsecret");
    let missing = lab.path("missing.pem");
    let ca = |path: &Path| ClientTls {
        ca_file: Some(path.to_owned()),
        ..ClientTls::default()
    };
    let own = |cert: Option<&PathBuf>, key: Option<&PathBuf>| ClientTls {
        cert_file: cert.cloned(),
        key_file: key.cloned(),
        ..lab.trusting()
    };
    let named = ClientTls {
        server_name: Some("a b".to_owned()),
        ..lab.trusting()
    };
    let not_of_kind = "nothing of the kind wanted in this file; it must be PEM";
    for (tls, said) in [
        (
            ca(&missing),
            format!("ca_file {}: no such file or directory", missing.display()),
        ),
        (
            ca(&key),
            format!("ca_file {}: {not_of_kind}", key.display()),
        ),
        (
            ca(&damaged),
            format!("ca_file {}: damaged PEM", damaged.display()),
        ),
        (
            own(Some(&cert), Some(&cert)),
            format!("key_file {}: {not_of_kind}", cert.display()),
        ),
        (
            own(Some(&cert), Some(&foreign)),
            format!(
                "key_file {}: this key is not the one of cert_file",
                foreign.display()
            ),
        ),
        (
            own(Some(&cert), None),
            "cert_file is set and key_file is not: a client certificate needs both".to_owned(),
        ),
        (
            own(None, Some(&key)),
            "key_file is set and cert_file is not: a client certificate needs both".to_owned(),
        ),
        (
            named,
            r#""a b" is no name or address that a certificate can carry; set server_name"#
                .to_owned(),
        ),
    ] {
        assert_eq!(tls.build().expect_err(&said).to_string(), said);
    }
}

#[test]
fn a_system_without_roots_gets_built_in_ones() {
    assert_eq!(
        system_roots(Vec::new()).len(),
        webpki_roots::TLS_SERVER_ROOTS.len()
    );
    let lab = Lab::new();
    let found = certificates("ca_file", &lab.path("ca.pem")).expect("roots");
    let odd = CertificateDer::from(b"odd".as_slice());
    let found: Vec<_> = found.into_iter().chain([odd]).collect();
    assert_eq!(
        system_roots(found).len(),
        2,
        "the lab's two, and nobody else's"
    );
}

#[test]
fn debug_shows_no_key() {
    let connector = ClientTls::default().build().expect("a connector");
    assert_eq!(
        format!("{connector:?}"),
        "Connector { server_name: None, .. }"
    );
}
