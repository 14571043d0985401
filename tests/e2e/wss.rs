//! `wss` to the proxy: who is taken for it, and what is spoken.

use std::fs;
use std::sync::Arc;

use adit_tests::binaries;
use adit_tests::pair::{self, Client, Proxy};
use adit_tests::tls::{Authority, Front};

fn url(front: &Front) -> String {
    format!("wss://localhost:{}", front.address.port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_in_the_certificate_may_be_another_when_it_is_told() {
    let authority = Authority::new();
    let proxy = Proxy::start(&[]).await;
    let front = Front::start(authority.server(&["adit.example"]), proxy.address).await;
    let ca = format!("--tls.ca-file={}", authority.ca_file().display());
    let flags = ["--target=pi:9100", &ca, "--tls.server-name=adit.example"];
    let _client = Client::start(&[&url(&front)], &flags).await;

    let client = binaries::Client::launch(&url(&front), &flags[..2]).await;
    let line = client.program.line("msg=\"no tunnel\"").await;
    assert!(
        line.contains("certificate not valid for this name"),
        "{line}"
    );
    let client = binaries::Client::launch(&url(&front), &flags[..1]).await;
    let line = client.program.line("msg=\"no tunnel\"").await;
    assert!(line.contains("certificate issuer unknown"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_prefers_h2_is_spoken_to_in_http_1() {
    let authority = Authority::new();
    let proxy = Proxy::start(&[]).await;
    let ca = format!("--tls.ca-file={}", authority.ca_file().display());
    let flags = ["--target=pi:9100", &ca];
    let with = |protocols: &[&[u8]]| {
        let mut config = (*authority.server(&["localhost"])).clone();
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        Arc::new(config)
    };
    for protocols in [&[&b"h2"[..], b"http/1.1"][..], &[]] {
        let front = Front::start(with(protocols), proxy.address).await;
        let _client = Client::start(&[&url(&front)], &flags).await;
    }
    let front = Front::start(with(&[b"h2"]), proxy.address).await;
    let client = binaries::Client::launch(&url(&front), &flags).await;
    let line = client.program.line("msg=\"no tunnel\"").await;
    assert!(line.contains("does not speak http/1.1"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_replaced_is_shown_at_the_next_dial() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.issue("proxy", &["localhost"]);
    let web = authority.folder().join("web.yml");
    let text = "tls_server_config:\n  cert_file: proxy.pem\n  key_file: proxy-key.pem\n  \
                client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n";
    fs::write(&web, text).unwrap();
    let proxy = Proxy::start(&[&format!("--web.config.file={}", web.display())]).await;
    let right = authority.issue("right", &["pi"]);
    let wrong = other.issue("wrong", &["pi"]);
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    fs::copy(&wrong.certificate, &cert).unwrap();
    fs::copy(&wrong.key, &key).unwrap();
    let flags = [
        "--target=pi:9100".to_owned(),
        format!("--tls.ca-file={}", authority.ca_file().display()),
        format!("--tls.cert-file={}", cert.display()),
        format!("--tls.key-file={}", key.display()),
    ];
    let flags = flags.each_ref().map(String::as_str);
    let at = format!("https://localhost:{}", proxy.address.port());
    let client = binaries::Client::launch(&at, &flags).await;
    let line = client.program.line("msg=\"no tunnel\"").await;
    assert!(
        line.contains("the server refused our certificate"),
        "{line}"
    );

    // Half of it is there for a while: the pair before is used, and that is said.
    fs::copy(&right.certificate, &cert).unwrap();
    let line = client.program.line("tls is not read again").await;
    assert!(
        line.contains("this key is not the one of cert_file"),
        "{line}"
    );
    fs::copy(&right.key, &key).unwrap();
    pair::ready(client.web).await;
}
