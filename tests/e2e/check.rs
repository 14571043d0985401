//! `adit-client --check-config`: a line per step, and nobody is disturbed.

use std::path::Path;

use adit_tests::binaries;
use adit_tests::http_proxy::{HttpProxy, Kind};
use adit_tests::metrics::Metrics;
use adit_tests::pair::{Client, Proxy};
use adit_tests::ports;
use adit_tests::program::{Finished, Program};
use adit_tests::target::answers::{metric, ok};
use adit_tests::target::{Request, Step, Target};
use adit_tests::tls::{Authority, Front};
use tempfile::TempDir;

/// Files in a folder, and a configuration among them.
struct Folder(TempDir);

impl Folder {
    fn new(config: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("client.yml", config);
        folder.write("token", "t0ken");
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    async fn check(&self, how: &str) -> Finished {
        let config = format!("--config.file={}/client.yml", self.path().display());
        let checked = Program::run(binaries::path("adit-client"), &[&*config, how]).await;
        let said = format!("{}{}", checked.stdout, checked.stderr);
        assert!(!said.contains("t0ken"), "{said}");
        checked
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_read_and_each_is_named() {
    let authority = Authority::new();
    let ca = std::fs::read_to_string(authority.ca_file()).unwrap();
    let good = "proxies: [https://adit.example]\nauth: {token_file: token}\ntls: {ca_file: ca.pem}\n\
                http_proxy: {url: 'http://squid:3128'}\n\
                targets:\n- {target: pi:9100}\n- {target: nas:9100, url: https://nas.local/x}\n";
    let folder = Folder::new(good);
    folder.write("ca.pem", &ca);
    let checked = folder.check("--check-config").await;
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let at = folder.path().display();
    let expected = format!(
        "ok   config file {at}/client.yml\n\
         ok   auth.token_file: {at}/token\n\
         ok   tls: {at}/ca.pem\n\
         ok   proxy https://adit.example: by the HTTP proxy squid:3128\n\
         ok   target pi:9100: localhost:9100\n\
         ok   target nas:9100: https://nas.local/x\n\
         ok   offer: 2 targets"
    );
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&checked.stdout), lines(&expected));

    for (config, says) in [
        ("targts: []\n", "client.yml:1:1: unknown key"),
        (
            &*good.replace("token_file: token", "token_file: no"),
            "FAIL auth.token_file: ",
        ),
        (
            &*good.replace("ca_file: ca.pem", "ca_file: token"),
            "FAIL tls: ",
        ),
        (
            &*good.replace("target: pi:9100", "target: pi:9100, tls: {ca_file: no.pem}"),
            "FAIL target pi:9100: ",
        ),
        (
            &*good.replace("http://squid", "http://u:t0ken@squid"),
            "FAIL config file",
        ),
    ] {
        folder.write("client.yml", config);
        let checked = folder.check("--check-config").await;
        assert_eq!(checked.status.code(), Some(2), "{checked:?}");
        let failed = checked
            .stdout
            .lines()
            .filter(|line| line.starts_with("FAIL"));
        let failed: Vec<&str> = failed.collect();
        assert!(failed.len() == 1 && failed[0].contains(says), "{failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_to_every_proxy_and_target_is_tried_and_nobody_is_disturbed() {
    let authority = Authority::new();
    let target = Target::start(|request: &Request| match request.path() {
        "/moved" => vec![Step::send(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        )],
        _ => ok(metric("m")),
    });
    let token = authority.folder().join("token");
    std::fs::write(&token, "t0ken").unwrap();
    let flag = format!("--auth.token-file={}", token.display());
    let proxy = Proxy::start(&[&flag]).await;
    let front = Front::start(authority.server(&["localhost"]), proxy.address).await;
    let tinyproxy = HttpProxy::start(Kind::Tinyproxy, false).await;
    let offer = format!("--target=pi:9100=http://{}", target.address());
    let running = Client::start(&[&proxy.url()], &[&offer, &flag]).await;
    let https = format!("https://localhost:{}", front.address.port());
    let at = target.address();
    let good = format!(
        "proxies: ['{https}', '{}']\nauth: {{token_file: token}}\ntls: {{ca_file: '{}'}}\n\
         http_proxy: {{url: '{}'}}\ntargets:\n- {{target: 'pi:9100', url: 'http://{at}'}}\n\
         - {{target: 'pi:1', url: 'http://{at}', paths: [/first, /second]}}\n",
        proxy.url(),
        authority.ca_file().display(),
        tinyproxy.url(),
    );
    let folder = Folder::new(&good);
    let checked = folder.check("--check-config=online").await;
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let through = format!("connected through the HTTP proxy {}", tinyproxy.address);
    for line in [
        format!("ok   proxy {https}: {through}"),
        format!("ok   proxy {https}: its certificate is good"),
        format!("ok   proxy {https}: it lets us in"),
        format!("ok   proxy {}: {through}", proxy.url()),
        format!("ok   proxy {}: it lets us in", proxy.url()),
        "ok   target pi:9100: answers 200 OK at /metrics".to_owned(),
        "ok   target pi:1: answers 200 OK at /first".to_owned(),
    ] {
        assert!(
            checked.stdout.lines().any(|it| it == line),
            "{line}\n{checked:?}"
        );
    }
    // Whoever serves under these names serves on.
    let sessions = Metrics::of(running.web).await;
    let session = |name: &str| format!("adit_client_{name}{{proxy=\"{}\"", proxy.url());
    assert_eq!(sessions.series(&format!("{}}}", session("sessions"))), 1.0);
    let dials = format!("{},result=\"ok\"}}", session("dials_total"));
    assert_eq!(sessions.series(&dials), 1.0);

    let nobody = ports::unused();
    for (config, says) in [
        (
            good.replace("token_file: token", "token_file: other"),
            "401 Unauthorized",
        ),
        (
            good.replace(&authority.ca_file().display().to_string(), "other.pem"),
            "tls with localhost: certificate",
        ),
        (
            good.replace("/first", "/moved"),
            "answers 302 Found at /moved; redirects are not followed",
        ),
        (
            good.replace(
                &format!("'pi:1', url: 'http://{at}'"),
                &format!("'pi:1', url: 'http://127.0.0.1:{nobody}'"),
            ),
            "connection refused",
        ),
        (
            good.replace(&tinyproxy.url(), &format!("http://127.0.0.1:{nobody}")),
            "through the HTTP proxy",
        ),
    ] {
        folder.write("client.yml", &config);
        folder.write("other", "t0ken-of-another");
        let other = std::fs::read(Authority::new().ca_file()).unwrap();
        std::fs::write(folder.path().join("other.pem"), other).unwrap();
        let checked = folder.check("--check-config=online").await;
        assert_eq!(checked.status.code(), Some(1), "{checked:?}");
        let mut lines = checked.stdout.lines();
        let line = lines.find(|line| line.starts_with("FAIL"));
        assert!(
            line.is_some_and(|line| line.contains(says)),
            "{says}\n{checked:?}"
        );
    }
}
