//! What is offered, as openssl and curl find it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_common::web_config::{ServerTls, WebConfig};
use adit_tests::program::{Finished, Program, debian};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Folder, TLS};

/// Answers whoever comes in with who they are, until it is dropped.
struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(folder: &Folder, more: &str) -> Self {
        let file = folder.write("web.yml", &format!("{TLS}{more}"));
        let tls = WebConfig::read(&file).unwrap().tls.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let tls = Arc::new(tls);
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let tls = Arc::clone(&tls);
                open.spawn(async move {
                    // What it does not come to is the client's to tell.
                    let _ = answer(&tls, stream).await;
                });
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }
}

async fn answer(tls: &ServerTls, stream: tokio::net::TcpStream) -> std::io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let accepted = tls.accept(stream, deadline).await;
    let mut accepted = accepted.map_err(std::io::Error::other)?;
    let mut head = [0; 4096];
    if accepted.stream.read(&mut head).await? == 0 {
        return Ok(());
    }
    let names = accepted.names.texts().collect::<Vec<_>>().join(",");
    let length = names.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{names}");
    accepted.stream.write_all(answer.as_bytes()).await?;
    accepted.stream.shutdown().await
}

/// A handshake of openssl's, without its own notion of what is safe enough.
async fn openssl(server: &Server, arguments: &str) -> Finished {
    let address = server.address.to_string();
    let mut all = vec![
        "s_client",
        "-connect",
        &address,
        "-servername",
        "localhost",
        "-brief",
    ];
    all.extend(arguments.split_whitespace());
    Program::run(debian("openssl", "openssl"), &all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_finds_what_the_file_says() {
    let folder = Folder::new();
    let plain = Server::start(&folder, "").await;
    let only13 = Server::start(&folder, "  min_version: TLS13\n").await;
    let narrow = "  max_version: TLS12\n  curve_preferences: [CurveP384]\n  \
                  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n";
    let narrow = Server::start(&folder, narrow).await;
    let gcm = "ECDHE-ECDSA-AES128-GCM-SHA256";
    for (server, arguments, finds) in [
        (&plain, "-tls1 -cipher ALL:@SECLEVEL=0", None),
        (&plain, "-tls1_1 -cipher ALL:@SECLEVEL=0", None),
        (&plain, "-tls1_2", Some("Protocol version: TLSv1.2")),
        (&plain, "-tls1_3", Some("Protocol version: TLSv1.3")),
        (
            &plain,
            "-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384",
            Some("AES256-GCM"),
        ),
        (
            &plain,
            "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305",
            Some("CHACHA20"),
        ),
        (
            &plain,
            "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0",
            None,
        ),
        (
            &plain,
            "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0",
            None,
        ),
        (
            &plain,
            "-tls1_2 -cipher AES128-GCM-SHA256:@SECLEVEL=0",
            None,
        ),
        (&plain, "-groups X25519", Some("X25519")),
        (&plain, "-groups P-256", Some("prime256v1")),
        (&plain, "-groups P-384", Some("secp384r1")),
        (&plain, "-groups P-521", None),
        (&plain, "-alpn http/1.1", Some("TLSv1.3")),
        (&plain, "-alpn h2,http/1.1", Some("TLSv1.3")),
        (&plain, "-alpn h2", None),
        (&only13, "-tls1_2", None),
        (&only13, "-tls1_3", Some("Protocol version: TLSv1.3")),
        (&narrow, "-tls1_3", None),
        (&narrow, "-tls1_2", Some(gcm)),
        (
            &narrow,
            "-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384",
            None,
        ),
        (&narrow, "-tls1_2 -groups X25519", None),
    ] {
        let run = openssl(server, arguments).await;
        let said = format!("{}\n{}", run.stdout, run.stderr);
        match finds {
            Some(finds) => assert!(
                said.contains("CONNECTION ESTABLISHED") && said.contains(finds),
                "{arguments}: {said}"
            ),
            // It was the server who said no, and not openssl what was asked of it.
            None => assert!(
                !said.contains("CONNECTION ESTABLISHED") && said.contains(" alert "),
                "{arguments}: {said}"
            ),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_resumes_no_session() {
    let folder = Folder::new();
    let server = Server::start(&folder, "").await;
    let address = server.address.to_string();
    let arguments = ["s_client", "-connect", &address, "-tls1_2", "-reconnect"];
    let run = Program::run(debian("openssl", "openssl"), &arguments).await;
    assert_eq!(
        run.stdout.matches("\nNew, TLSv1.2").count(),
        6,
        "{}",
        run.stdout
    );
    assert!(!run.stdout.contains("Reused"), "{}", run.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_comes_in_by_its_certificate() {
    let folder = Folder::new();
    let more = "  client_ca_file: ca.pem\n  client_auth_type: ";
    for (auth, without, with) in [
        ("RequireAndVerifyClientCert", None, Some("pi")),
        ("VerifyClientCertIfGiven", Some(""), Some("pi")),
        // Nobody looked whether it is theirs to be called so.
        ("RequireAnyClientCert", None, Some("")),
        ("RequestClientCert", Some(""), Some("")),
    ] {
        let server = Server::start(&folder, &format!("{more}{auth}\n")).await;
        let url = format!("https://localhost:{}/", server.address.port());
        let file = |file: &str| folder.path(file).display().to_string();
        let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
        let plain = ["-sS4", "--noproxy", "*", "--http2", "--cacert", &ca];
        let named = ["--cert", &cert, "--key", &key];
        for (own, answer) in [(&[][..], without), (&named, with)] {
            let told = ["-w", "\n%{http_version} %{http_code}", &url];
            let all: Vec<&str> = plain.iter().chain(own).chain(&told).copied().collect();
            let run = Program::run(debian("curl", "curl"), &all).await;
            match answer {
                Some(names) => assert_eq!(run.stdout, format!("{names}\n1.1 200"), "{auth}"),
                None => assert!(!run.status.success(), "{auth}: {}", run.stdout),
            }
        }
    }
}
