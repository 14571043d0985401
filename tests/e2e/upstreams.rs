//! Where a client really finds its targets.

use std::os::unix::net::UnixListener;

use std::time::Duration;

use adit_tests::binaries;
use adit_tests::pair::Pair;
use adit_tests::ports;
use adit_tests::target::answers::{metric, ok};
use adit_tests::target::{Ear, Target};
use adit_tests::tls::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A pair whose client reads this file, which lies beside `ca.pem`.
async fn pair_with(authority: &Authority, config: &str) -> Pair {
    let file = authority.folder().join("client.yml");
    std::fs::write(&file, config).unwrap();
    Pair::start(&[&format!("--config.file={}", file.display())]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_is_scraped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exporter.sock");
    let ear = Ear::Unix(UnixListener::bind(&path).unwrap());
    let mut target = Target::at(vec![ear], ok(metric("local")));
    let pair = Pair::start(&[&format!("--target=pi:9100=unix:{}", path.display())]).await;
    for _ in 0..3 {
        let answer = pair.scrape("http://pi:9100/metrics?x=1").await.expect(200);
        assert_eq!(answer.text(), metric("local"));
    }
    assert_eq!(target.requests()[0].path(), "/metrics?x=1");
    // Only then its connections are closed.
    target.kill().await;
    drop((target, folder));
    pair.scrape("http://pi:9100/metrics")
        .await
        .refusal(502, "pi:9100");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_with_a_private_ca_and_a_server_name() {
    let authority = Authority::new();
    let target = Target::at(
        vec![Ear::tls(authority.server(&["tls.example"]))],
        ok(metric("private")),
    );
    let address = target.address();
    let pair = pair_with(
        &authority,
        &format!(
            "targets:\n\
             - {{target: 'right:1', url: 'https://{address}', tls: {{ca_file: ca.pem, server_name: tls.example}}}}\n\
             - {{target: 'name:1', url: 'https://{address}', tls: {{ca_file: ca.pem}}}}\n\
             - {{target: 'ca:1', url: 'https://{address}', tls: {{server_name: tls.example}}}}\n"
        ),
    )
    .await;
    for _ in 0..2 {
        let answer = pair.scrape("http://right:1/metrics").await.expect(200);
        assert_eq!(answer.text(), metric("private"));
    }
    assert_eq!(
        target.journal().connections.len(),
        1,
        "TLS connections are kept as well"
    );
    let answer = pair
        .scrape("http://name:1/metrics")
        .await
        .refusal(502, "certificate");
    assert!(
        answer.head.reason.contains("name:1"),
        "{}",
        answer.head.reason
    );
    let answer = pair
        .scrape("http://ca:1/metrics")
        .await
        .refusal(502, "certificate");
    assert!(
        answer.head.reason.contains("ca:1"),
        "{}",
        answer.head.reason
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_asks_for_a_certificate_is_shown_the_clients() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let target = Target::at(
        vec![Ear::tls(authority.server_that_asks(&["tls.example"]))],
        ok(metric("mutual")),
    );
    authority.issue("ours", &["client.example"]);
    let foreign = stranger.issue("foreign", &["client.example"]);
    let keys = |name: &str, more: &str| {
        let address = target.address();
        format!(
            "- {{target: '{name}:1', url: 'https://{address}', \
             tls: {{ca_file: ca.pem, server_name: tls.example{more}}}}}\n"
        )
    };
    let pair = pair_with(
        &authority,
        &format!(
            "targets:\n{}{}{}",
            keys("ours", ", cert_file: ours.pem, key_file: ours-key.pem"),
            keys("none", ""),
            keys(
                "foreign",
                &format!(
                    ", cert_file: {}, key_file: {}",
                    foreign.certificate.display(),
                    foreign.key.display()
                )
            ),
        ),
    )
    .await;
    let answer = pair.scrape("http://ours:1/metrics").await.expect(200);
    assert_eq!(answer.text(), metric("mutual"));
    // It says so behind the handshake, before, while, or after the request leaves: each time that is
    // said, and at once.
    for _ in 0..300 {
        for (name, why) in [
            ("none", "the server wants a client certificate"),
            ("foreign", "the server refused our certificate"),
        ] {
            let answer = pair.scrape(&format!("http://{name}:1/metrics")).await;
            assert!(answer.took < Duration::from_secs(5), "{answer:?}");
            answer.refusal(502, &format!("{name}:1: {why}"));
        }
    }
    assert_eq!(target.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_is_skipped_only_when_told_and_with_a_warning() {
    let authority = Authority::new();
    let target = Target::at(
        vec![Ear::tls(authority.server(&["tls.example"]))],
        ok(metric("any")),
    );
    let proxy = binaries::Proxy::start(&[]).await;
    let file = authority.folder().join("client.yml");
    let address = target.address();
    let config = |skip: bool| {
        format!(
            "targets:\n- {{target: 'pi:1', url: 'https://{address}', tls: {{insecure_skip_verify: {skip}}}}}\n"
        )
    };
    for skip in [false, true] {
        std::fs::write(&file, config(skip)).unwrap();
        let flag = format!("--config.file={}", file.display());
        let client = binaries::Client::start(&proxy.url(), &[&flag]).await;
        let answer = adit_tests::scraper::scrape(proxy.address, "http://pi:1/metrics").await;
        // What is said on the way there stands before it.
        client.program.line("msg=registered").await;
        let log = client.program.log();
        let warned = log
            .lines()
            .any(|line| line.contains("level=warn") && line.contains("insecure_skip_verify"));
        assert_eq!(warned, skip, "{log}");
        match skip {
            true => assert_eq!(answer.expect(200).text(), metric("any")),
            false => drop(answer.refusal(502, "certificate")),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_where_there_is_none_says_so() {
    let authority = Authority::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // What servers say to a handshake they take for a request.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let file = format!(
        "targets:\n- {{target: 'pi:1', url: 'https://{address}', tls: {{ca_file: ca.pem}}}}\n"
    );
    let pair = pair_with(&authority, &file).await;
    pair.scrape("http://pi:1/metrics")
        .await
        .refusal(502, "does not speak tls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_in_the_url_goes_before_the_scrapes() {
    let target = Target::start(ok(metric("below")));
    let pair = Pair::start(&[&format!(
        "--target=pi:9100=http://{}/node/",
        target.address()
    )])
    .await;
    pair.scrape("http://pi:9100/metrics?a=b").await.expect(200);
    assert_eq!(target.request().path(), "/node/metrics?a=b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_port_of_a_name_is_offered_when_told() {
    let target = Target::start(ok(metric("any")));
    let pair = Pair::start(&["--allow-any-port", "--name=pi"]).await;
    let answer = pair
        .scrape(&format!("http://pi:{}/metrics", target.port()))
        .await
        .expect(200);
    assert_eq!(answer.text(), metric("any"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_reached_says_which_and_why() {
    let gone = ports::unused();
    let pair = Pair::start(&[
        &format!("--target=refused:1=http://127.0.0.1:{gone}"),
        &format!("--target=local:1=http://localhost:{gone}"),
        "--target=nowhere:1=http://no-such-host.invalid:1",
        "--target=missing:1=unix:/no/such/socket",
    ])
    .await;
    for (name, part) in [
        ("refused", "refused"),
        ("local", "127.0.0.1"),
        ("local", "::1"),
        ("nowhere", "no-such-host.invalid"),
        ("missing", "/no/such/socket"),
    ] {
        let answer = pair
            .scrape(&format!("http://{name}:1/metrics"))
            .await
            .refusal(502, part);
        let target = format!("{name}:1");
        assert!(
            answer.head.reason.contains(&target),
            "{}",
            answer.head.reason
        );
    }
}
