//! To the proxy through the HTTP proxy of a company, squid's and tinyproxy's.

use std::path::Path;
use std::time::Duration;

use adit_tests::binaries;
use adit_tests::http_proxy::{HttpProxy, Kind, NAME, PASSWORD, USER};
use adit_tests::metrics::Metrics;
use adit_tests::pair::{self, Client, Proxy};
use adit_tests::scraper;
use adit_tests::target::Target;
use adit_tests::target::answers::{metric, ok};
use adit_tests::tls::{Authority, Front};
use adit_tests::wait::{PATIENCE, eventually};
use tempfile::TempDir;
use tokio::time::Instant;

/// A configuration file that asks for this HTTP proxy, with this password of [`USER`].
fn file(http_proxy: &HttpProxy, password: Option<&str>, rest: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let user = password.map(|password| {
        write_password(folder.path(), password);
        format!(", username: {USER}, password_file: password")
    });
    let text = format!(
        "http_proxy: {{url: '{}'{}}}\n{rest}",
        http_proxy.url(),
        user.unwrap_or_default()
    );
    let file = folder.path().join("client.yml");
    std::fs::write(&file, text).unwrap();
    let flag = format!("--config.file={}", file.display());
    (folder, flag)
}

fn write_password(folder: &Path, password: &str) {
    std::fs::write(folder.join("password"), password).unwrap();
}

async fn scrapes(proxy: &Proxy) {
    let answer = scraper::scrape(proxy.address, "http://pi:9100/metrics").await;
    assert_eq!(answer.expect(200).text(), metric("m"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_goes_through_squid_and_tinyproxy_in_clear_and_with_tls() {
    let authority = Authority::new();
    let target = Target::start(ok(metric("m")));
    let offer = format!("--target=pi:9100=http://{}", target.address());
    for (kind, asks) in [
        (Kind::Squid, false),
        (Kind::Squid, true),
        (Kind::Tinyproxy, false),
        (Kind::Tinyproxy, true),
    ] {
        let http_proxy = HttpProxy::start(kind, asks).await;
        let password = asks.then_some(PASSWORD);
        for tls in [false, true] {
            let proxy = Proxy::start(&[]).await;
            let front = Front::start(authority.server(&["localhost"]), proxy.address).await;
            let ca = authority.ca_file();
            let (url, at, rest) = match tls {
                false => (proxy.url(), proxy.address.to_string(), String::new()),
                // The name in the certificate is the proxy's and not the HTTP proxy's.
                true => {
                    let at = format!("localhost:{}", front.address.port());
                    let rest = format!("tls: {{ca_file: '{}'}}\n", ca.display());
                    (format!("wss://{at}"), at, rest)
                }
            };
            let (_folder, config) = file(&http_proxy, password, &rest);
            let client = Client::start(&[&url], &[&config, &offer]).await;
            scrapes(&proxy).await;
            client.stop().await;
            eventually(
                PATIENCE,
                "it was asked to connect",
                async || match http_proxy.connects(&at) {
                    1 => Ok(()),
                    other => Err(format!("{kind:?} for {at}: {other}")),
                },
            )
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_is_obeyed_and_names_go_there_unresolved() {
    let target = Target::start(ok(metric("m")));
    let offer = format!("--target=pi:9100=http://{}", target.address());
    let proxy = Proxy::start(&[]).await;
    // This machine knows no such name.
    let url = format!("http://{NAME}:{}", proxy.address.port());
    let squid = HttpProxy::start(Kind::Squid, true).await;
    let at = squid.address;
    let with_user = format!("http://{USER}:{PASSWORD}@{at}");
    let flags = [&*offer, "--log.level=debug"];
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let environment = [(variable, &*with_user), ("NO_PROXY", "other.example")];
        let client = binaries::Client::launch_in(&environment, &url, &flags).await;
        pair::ready(client.web).await;
        scrapes(&proxy).await;
        let log = client.program.log();
        assert!(log.contains(&format!("http_proxy={at}")), "{log}");
        assert!(!log.contains(PASSWORD), "{log}");
    }
    for (environment, flag) in [
        (
            &[("HTTP_PROXY", &*with_user), ("NO_PROXY", "example")][..],
            "--log.level=debug",
        ),
        (&[("HTTP_PROXY", &*with_user)], "--http-proxy=none"),
        (&[("HTTPS_PROXY", &*with_user)], "--log.level=debug"),
    ] {
        let client = binaries::Client::launch_in(environment, &url, &[&*offer, flag]).await;
        let line = client.program.line("msg=\"no tunnel\"").await;
        let straight = format!("could not connect to {NAME}");
        assert!(
            line.contains(&straight) && !line.contains("through"),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_said_once_and_the_right_one_is_tried_at_once() {
    let proxy = Proxy::start(&[]).await;
    for kind in [Kind::Squid, Kind::Tinyproxy] {
        let http_proxy = HttpProxy::start(kind, true).await;
        let rest = "targets: [{target: pi:9100}]\n";
        let (folder, config) = file(&http_proxy, Some("wr0ng"), rest);
        let client = binaries::Client::launch(&proxy.url(), &[&config]).await;
        let line = client.program.line("does not let us in").await;
        // tinyproxy says 401 to who was wrong, and 407 to who said nothing.
        let hop = format!("through the HTTP proxy {}: ", http_proxy.address);
        assert!(line.contains(&hop) && line.contains("level=warn"), "{line}");
        if kind == Kind::Squid {
            assert!(line.contains("refused our user or password"), "{line}");
        }
        let ready = scraper::page(client.web, "/-/ready").await.expect(503);
        assert!(ready.text().contains(&hop), "{}", ready.text());
        let denied = format!(
            "adit_client_dials_total{{proxy=\"{}\",result=\"denied\"}}",
            proxy.url()
        );
        assert_eq!(Metrics::of(client.web).await.series(&denied), 1.0);

        let mended = Instant::now();
        write_password(folder.path(), PASSWORD);
        pair::ready(client.web).await;
        assert!(mended.elapsed() < Duration::from_secs(30), "{mended:?}");
        let log = client.program.log();
        assert_eq!(log.matches("does not let us in").count(), 1, "{log}");
        assert!(!log.contains("wr0ng") && !log.contains(PASSWORD), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_comes_back_through_one_that_died() {
    let target = Target::start(ok(metric("m")));
    let offer = format!("--target=pi:9100=http://{}", target.address());
    for kind in [Kind::Squid, Kind::Tinyproxy] {
        let proxy = Proxy::start(&[]).await;
        let mut http_proxy = HttpProxy::start(kind, false).await;
        let flag = format!("--http-proxy={}", http_proxy.url());
        let client = binaries::Client::start(&proxy.url(), &[&offer, &flag]).await;
        scrapes(&proxy).await;
        http_proxy.kill();
        client.program.line("tunnel ended").await;
        let line = client.program.line("msg=\"no tunnel\"").await;
        let hop = format!("through the HTTP proxy {}: ", http_proxy.address);
        assert!(
            line.contains(&hop) && line.contains("connection refused"),
            "{line}"
        );
        http_proxy.restart().await;
        client.program.lines("msg=registered", 2).await;
        scrapes(&proxy).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_proxy_may_be_spoken_to_by_tls() {
    let authority = Authority::new();
    let target = Target::start(ok(metric("m")));
    let proxy = Proxy::start(&[]).await;
    let http_proxy = HttpProxy::start(Kind::Tinyproxy, true).await;
    let outer = Front::start(authority.server(&["localhost"]), http_proxy.address).await;
    let inner = Front::start(authority.server(&["localhost"]), proxy.address).await;
    let folder = authority.folder();
    write_password(folder, PASSWORD);
    let text = format!(
        "http_proxy:\n  url: https://localhost:{}\n  username: {USER}\n  password_file: password\n  \
         tls: {{ca_file: ca.pem}}\ntls: {{ca_file: ca.pem}}\n",
        outer.address.port()
    );
    std::fs::write(folder.join("client.yml"), text).unwrap();
    let config = format!("--config.file={}", folder.join("client.yml").display());
    let offer = format!("--target=pi:9100=http://{}", target.address());
    let url = format!("https://localhost:{}", inner.address.port());
    let _client = Client::start(&[&url], &[&config, &offer]).await;
    scrapes(&proxy).await;
}
