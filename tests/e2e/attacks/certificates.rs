//! Client certificates that are none of ours.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use adit_tests::binaries::Proxy;
use adit_tests::metrics::Metrics;
use adit_tests::scraper::{self, Answer, Connection};
use adit_tests::tls::{Authority, Issued, Validity};
use adit_tests::wait::{PATIENCE, eventually};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::house::elsewhere;

/// Shakes hands with this certificate, if with any, and asks for a page.
pub(super) async fn ask(
    authority: &Authority,
    shown: Option<&Issued>,
    proxy: SocketAddr,
    path: &str,
) -> Option<Answer> {
    let mut tls = shake(authority, shown, elsewhere(), proxy).await.ok()?;
    // TLS 1.3: whether the certificate was liked is heard with the first answer.
    let answer = Connection::over(&mut tls)
        .exchange(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
        .await;
    (answer.head.status != 0).then_some(answer)
}

async fn shake(
    authority: &Authority,
    shown: Option<&Issued>,
    source: Ipv4Addr,
    proxy: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority.ca_file()).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        None => config.with_no_client_auth(),
        Some(issued) => {
            let key = PrivateKeyDer::from_pem_file(&issued.key).unwrap();
            let chain = vec![CertificateDer::from(issued.der.clone())];
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let stream = socket.connect(proxy).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// By how much each series has grown, once one that has `series` in it has: what ends in the handshake
/// is counted when it is closed.
async fn grown(
    counts: impl AsyncFn() -> Metrics,
    before: &Metrics,
    series: &str,
) -> BTreeMap<String, f64> {
    eventually(PATIENCE, series, async || {
        let grown = counts().await.grown_since(before);
        match grown.keys().any(|key| key.contains(series)) {
            true => Ok(grown),
            false => Err(format!("{grown:?}")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_are_none_of_ours_end_in_the_handshake_and_are_counted() {
    let authority = Authority::new();
    let own = authority.issue("proxy", &["localhost"]);
    let private = fs::read_to_string(&own.key).unwrap();
    let good = authority.issue("good", &["ops.example"]);
    let other = authority.issue("other", &["nobody.example"]);
    let expired = authority.issue_for("old", &["ops.example"], Validity::Expired);
    let foreign = Authority::new();
    let stranger = foreign.issue("good", &["ops.example"]);
    let file = |name: &str, text: &str| {
        let path = authority.folder().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let web = |kind: &str| {
        format!(
            "tls_server_config: {{cert_file: proxy.pem, key_file: proxy-key.pem, \
             client_ca_file: ca.pem, client_auth_type: {kind}}}\n"
        )
    };
    let rules = file(
        "proxy.yml",
        "auth: {scrapers: [{san: ops.example, targets: ['*'], pages: [metrics]}]}\n",
    );
    for (kind, without) in [
        ("RequireAndVerifyClientCert", None),
        ("VerifyClientCertIfGiven", Some(403)),
    ] {
        let web = format!("--web.config.file={}", file("web.yml", &web(kind)));
        let proxy =
            Proxy::start(&[&web, &format!("--config.file={rules}"), "--log.level=debug"]).await;
        let status = async |shown| {
            let answer = ask(&authority, shown, proxy.address, "/metrics").await;
            answer.map(|answer| answer.head.status)
        };
        let counts = async || {
            let page = ask(&authority, Some(&good), proxy.address, "/metrics")
                .await
                .unwrap();
            Metrics::parse(&page.expect(200).text())
        };
        let refused = "adit_proxy_tls_handshake_failures_total{reason=\"certificate\"}";
        for (what, shown) in [("expired", &expired), ("of another CA", &stranger)] {
            let before = counts().await;
            assert_eq!(
                status(Some(shown)).await,
                None,
                "{kind}: one that is {what}"
            );
            let seen = grown(&counts, &before, refused).await;
            assert_eq!(seen.get(refused), Some(&1.0), "{kind}, {what}: {seen:?}");
            assert!(
                !seen.keys().any(|key| key.contains("auth_failures")),
                "{seen:?}"
            );
        }
        let before = counts().await;
        let found = status(None).await;
        assert_eq!(found, without, "{kind}: without one");
        let counted = match without {
            None => refused,
            Some(_) => "adit_proxy_auth_failures_total{reason=\"forbidden\",role=\"scraper\"}",
        };
        let seen = grown(&counts, &before, counted).await;
        assert_eq!(seen.get(counted), Some(&1.0), "{kind}, without: {seen:?}");
        // A ClientHello of a megabyte, as a name of that size would be.
        let before = counts().await;
        let hello = [
            b"\x16\x03\x01\x40\x00\x01\x10\x00\x00\x03\x03",
            &[b'x'; 1 << 20][..],
        ]
        .concat();
        assert_eq!(scraper::send(proxy.address, hello).await.head.status, 0);
        let seen = grown(&counts, &before, "tls_handshake").await;
        let failed = |(key, by): (&String, &f64)| key.contains("tls_handshake").then_some(*by);
        assert_eq!(seen.iter().filter_map(failed).sum::<f64>(), 1.0, "{seen:?}");
        // A good one, of somebody who may nothing.
        assert_eq!(status(Some(&other)).await, Some(403), "{kind}");
        assert_eq!(status(Some(&good)).await, Some(200), "{kind}");
        for secret in private.lines().filter(|line| !line.starts_with("-----")) {
            let page = ask(&authority, Some(&good), proxy.address, "/metrics")
                .await
                .unwrap();
            for shown in [proxy.program.output(), proxy.program.visible(), page.text()] {
                assert!(!shown.contains(secret), "the private key is shown: {shown}");
            }
        }
    }
}
