//! The client's own pages beyond this machine: who may see them, and by which TLS.

use std::fs;
use std::net::SocketAddr;

use adit_tests::binaries;
use adit_tests::pair::{Client, Proxy};
use adit_tests::program::Program;
use adit_tests::scraper::{self, Answer, Connection};
use adit_tests::tls::Authority;
use adit_tests::wait::{PATIENCE, eventually};
use tokio::net::TcpStream;

/// `pw-of-ops`.
const USERS: &str = "basic_auth_users:\n  \
    ops: $2y$04$/up3ay1ggPTEgX3ooP34PuLEbazawbpCmvrf8eLbwNDowlQExth3G\n";
const OPS: &str = "b3BzOnB3LW9mLW9wcw==";
const WRONG: &str = "b3BzOndyb25n";

fn get(path: &str, user: Option<&str>) -> String {
    let user = user.map(|user| format!("Authorization: Basic {user}\r\n"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\n{}Connection: close\r\n\r\n",
        user.unwrap_or_default()
    )
}

fn write(authority: &Authority, text: &str) -> String {
    let path = authority.folder().join("web.yml");
    let next = path.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(&next, &path).unwrap();
    format!("--web.config.file={}", path.display())
}

async fn over_tls(authority: &Authority, server: SocketAddr, request: &str) -> Answer {
    let stream = TcpStream::connect(server).await.unwrap();
    let tls = authority.connect("localhost", stream).await;
    Connection::over(tls).exchange(request.to_owned()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reachable_from_elsewhere_asks_or_does_not_start() {
    let authority = Authority::new();
    let users = write(&authority, USERS);
    let headers_alone = authority.folder().join("headers.yml");
    let headers = "http_server_config: {headers: {X-Frame-Options: deny}}\n";
    fs::write(&headers_alone, headers).unwrap();
    let headers_alone = format!("--web.config.file={}", headers_alone.display());
    let common = ["--proxy-url=http://127.0.0.1:1", "--target=pi:9100"];
    for (flags, starts) in [
        (&["--web.listen-address=:0"][..], false),
        (&["--web.listen-address=[::]:0"], false),
        (&["--web.listen-address=0.0.0.0:0", &headers_alone], false),
        (
            &[
                "--web.listen-address=127.0.0.1:0",
                "--web.listen-address=0.0.0.0:0",
            ],
            false,
        ),
        (&["--web.listen-address=0.0.0.0:0", &users], true),
        (
            &["--web.listen-address=0.0.0.0:0", "--allow-anonymous"],
            true,
        ),
        (&["--web.listen-address=127.0.0.1:0"], true),
    ] {
        let mut command = std::process::Command::new(binaries::path("adit-client"));
        let program = Program::start(command.args(common).args(flags));
        if starts {
            program.line("msg=listening").await;
            continue;
        }
        let ended = program.finished().await;
        assert_eq!(ended.status.code(), Some(2), "{flags:?}: {ended:?}");
        for part in ["reachable beyond", "--web.config.file", "--allow-anonymous"] {
            assert!(ended.stderr.contains(part), "{flags:?}: {}", ended.stderr);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_asks_for_the_user() {
    let authority = Authority::new();
    let headers = "http_server_config: {headers: {X-Frame-Options: deny}}\n";
    let web = write(&authority, &format!("{USERS}{headers}"));
    let proxy = Proxy::start(&[]).await;
    let client = Client::launch(&[&proxy.url()], &[&web, "--target=pi:9100"]).await;
    for path in [
        "/metrics",
        "/-/healthy",
        "/-/ready",
        "/-/reload",
        "/nothing",
    ] {
        for user in [None, Some(WRONG)] {
            let answer = scraper::send(client.web, get(path, user)).await.expect(401);
            let asks = answer.head.field("www-authenticate").unwrap_or_default();
            assert!(asks.starts_with("Basic realm="), "{path}: {asks}");
            let frame = answer.head.field("x-frame-options");
            assert_eq!(frame.as_deref(), Some("deny"), "{path}");
        }
    }
    let post =
        "POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    scraper::send(client.web, post).await.expect(401);
    let healthy = get("/-/healthy", Some(OPS));
    scraper::send(client.web, healthy.as_str())
        .await
        .expect(200);
    let twice = healthy.replacen("Host", &format!("Authorization: Basic {WRONG}\r\nHost"), 1);
    scraper::send(client.web, twice).await.expect(401);

    // Another file is obeyed without a word to the client; one that is wrong changes nothing.
    write(&authority, "basic_auth_users: {ops: plain}\n");
    eventually(PATIENCE, "the wrong file is noticed", async || {
        let metrics = get("/metrics", Some(OPS));
        let metrics = scraper::send(client.web, metrics).await.expect(200).text();
        match metrics.contains("adit_client_config_last_reload_successful 0") {
            true => Ok(()),
            false => Err(metrics),
        }
    })
    .await;
    scraper::send(client.web, get("/-/healthy", None))
        .await
        .expect(401);
    write(&authority, headers);
    eventually(PATIENCE, "nobody is asked for any longer", async || {
        let answer = scraper::send(client.web, get("/-/healthy", None)).await;
        match answer.head.status {
            200 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_by_tls_with_a_certificate_that_is_verified() {
    let authority = Authority::new();
    authority.issue("web", &["localhost"]);
    let tls = "tls_server_config:\n  cert_file: web.pem\n  key_file: web-key.pem\n";
    let web = write(&authority, tls);
    let client = Client::launch(&["http://127.0.0.1:1"], &[&web, "--target=pi:9100"]).await;
    let healthy = get("/-/healthy", None);
    over_tls(&authority, client.web, &healthy).await.expect(200);
    // From now on who has none is not let in, also by a connection that is there.
    let stream = TcpStream::connect(client.web).await.unwrap();
    let mut before = Connection::over(authority.connect("localhost", stream).await);
    let keep = healthy.replace("Connection: close\r\n", "");
    before.exchange(keep.clone()).await.expect(200);
    write(
        &authority,
        &format!("{tls}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"),
    );
    eventually(PATIENCE, "certificates are asked for", async || {
        let answer = before.exchange(keep.clone()).await;
        match answer.head.status {
            401 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_limit_is_kept() {
    let authority = Authority::new();
    let web = write(&authority, "rate_limit: {interval: 1h, burst: 2}\n");
    let client = Client::launch(&["http://127.0.0.1:1"], &[&web, "--target=pi:9100"]).await;
    for status in [200, 200, 429] {
        let answer = scraper::send(client.web, get("/-/healthy", None)).await;
        let answer = answer.expect(status);
        let later = answer.head.field("retry-after").is_some();
        assert_eq!(later, status == 429);
    }
}
