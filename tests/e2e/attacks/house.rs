//! Two programs with secrets, and who means them harm.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};

use adit_common::secret::Digest;
use adit_tests::binaries::{Client, Proxy};
use adit_tests::log;
use adit_tests::marked::{Marked, base64};
use adit_tests::metrics::Metrics;
use adit_tests::scraper::{self, Answer, Connection};
use adit_tests::target::Target;
use adit_tests::target::answers::ok;

pub(super) const TOKEN_7: &str = "token-of-site-7-0f3a";
pub(super) const TOKEN_8: &str = "token-of-site-8-9b1c";
pub(super) const PROMETHEUS: &str = "pw-of-prometheus";
pub(super) const OPS: &str = "pw-of-ops";
const PROMETHEUS_HASH: &str = "$2y$04$qJzForUol1eJmZqAi7OVw.fBZbmBpqynVqN1MFLNBvSMgrsoJNT9W";
const OPS_HASH: &str = "$2y$04$/up3ay1ggPTEgX3ooP34PuLEbazawbpCmvrf8eLbwNDowlQExth3G";
/// What the client shows the target.
const UPSTREAM: &str = "bearer-of-the-target-77e2";
/// What a scraper shows the target.
pub(super) const PASSED: &str = "bearer-of-a-scraper-c4d8";
/// What somebody types who is wrong: most often the password of something else.
pub(super) const TYPED: &str = "typed-by-mistake-51aa";

/// A proxy that asks everybody, and the client of site 7.
pub(super) struct House {
    pub(super) proxy: Proxy,
    pub(super) client: Client,
    pub(super) target: Target,
    marked: Marked,
    folder: tempfile::TempDir,
}

impl House {
    /// With all it has to say, in this form.
    pub(super) async fn new(format: &str) -> Self {
        let target = Target::start(ok("good 1\n"));
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let web = format!("basic_auth_users: {{prometheus: {PROMETHEUS_HASH}, ops: {OPS_HASH}}}\n");
        let web = file("web.yml", &web);
        file("token-8", TOKEN_8);
        let config = file("proxy.yml", &rules(true));
        let token = file("token-7", TOKEN_7);
        file("upstream", UPSTREAM);
        let offers = format!(
            "targets:\n- target: pi:9100\n  url: http://{}\n  \
             authorization: {{credentials_file: upstream}}\n- target: guest:9100\n  url: http://{}\n",
            target.address(),
            target.address(),
        );
        let offers = file("client.yml", &offers);
        let flag = |name: &str, value: &str| format!("--{name}={value}");
        let log = [flag("log.level", "debug"), flag("log.format", format)];
        let flags = [
            flag("web.config.file", &web),
            flag("config.file", &config),
            "--pushprox.enabled".into(),
            "--scrape.reconnect-wait=0s".into(),
        ];
        let strs = |flags: &[String]| -> Vec<String> { [flags, &log].concat() };
        let flags = strs(&flags);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let proxy = Proxy::start(&flags).await;
        let flags = strs(&[
            flag("auth.token-file", &token),
            flag("config.file", &offers),
        ]);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let client = Client::start(&proxy.url(), &flags).await;
        Self {
            proxy,
            client,
            target,
            marked: marked(),
            folder,
        }
    }

    /// Site 8 may come no more.
    pub(super) async fn revoke_site_8(&self) {
        fs::write(self.folder.path().join("proxy.yml"), rules(false)).unwrap();
        self.asked("POST", "/-/reload").await.expect(200);
    }

    /// What the proxy says to `ops`.
    pub(super) async fn asked(&self, method: &str, path: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: 0\r\n\r\n",
            basic("Authorization", "ops", OPS)
        );
        scraper::send(self.proxy.address, request).await
    }

    /// What it counts.
    pub(super) async fn counts(&self) -> Metrics {
        Metrics::parse(&self.asked("GET", "/metrics").await.expect(200).text())
    }

    /// Its answer to bytes of somebody from elsewhere: each is from an address of their own.
    pub(super) async fn answer(&self, bytes: &str) -> Answer {
        let mut connection = Connection::open_from(elsewhere(), self.proxy.address).await;
        let answer = connection.exchange(bytes).await;
        // With what was typed itself: not even that comes back.
        self.marked
            .assert_absent(&format!("the answer to {bytes:?}"), &answer.head.raw);
        self.marked
            .assert_absent(&format!("the answer to {bytes:?}"), &answer.text());
        answer
    }

    /// Every page, line and argument of both programs.
    ///
    /// # Panics
    /// When one of them shows a secret, or a line of their logs is none.
    pub(super) async fn search(&self) {
        for path in [
            "/metrics",
            "/clients",
            "/sd/targets",
            "/sd/targets?style=path",
            "/",
        ] {
            let page = self.asked("GET", path).await.text();
            self.marked.assert_absent(path, &page);
        }
        for path in ["/metrics", "/-/ready", "/"] {
            let page = scraper::page(self.client.web, path).await.text();
            self.marked.assert_absent(path, &page);
        }
        for (name, program) in [
            ("proxy", &self.proxy.program),
            ("client", &self.client.program),
        ] {
            self.marked.assert_absent(name, &program.output());
            self.marked.assert_absent(name, &program.visible());
            for line in program.log().lines() {
                let fields = log::line(line).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_ne!(fields["level"], "error", "{name}: {line}");
                assert!(
                    line.len() < 4096,
                    "{name}: a line of {}: {line:.200}",
                    line.len()
                );
            }
        }
    }
}

fn rules(site_8: bool) -> String {
    let site_8 = match site_8 {
        true => "  - {id: eight, token_file: token-8, names: ['*.site-8'], sessions: 1}\n",
        false => "",
    };
    format!(
        "auth:\n  clients:\n  - id: seven\n    token_sha256: {}\n    names: ['*.site-7', pi, guest]\n\
         {site_8}  - {{basic: {{username: old, password_hash: {OPS_HASH}}}, names: [old-1]}}\n  \
         scrapers:\n  - {{user: prometheus, targets: ['pi:9100', '*.site-7'], pages: [sd]}}\n  \
         - {{user: ops, targets: ['*'], pages: [clients, sd, status, metrics, reload]}}\n",
        Digest::of(TOKEN_7.as_bytes())
    )
}

fn marked() -> Marked {
    let mut marked = Marked::default();
    for (what, secret) in [
        ("the token of site 7", TOKEN_7),
        ("the token of site 8", TOKEN_8),
        ("the password of prometheus", PROMETHEUS),
        ("the password of ops", OPS),
        ("the hash of prometheus", PROMETHEUS_HASH),
        ("the hash of ops", OPS_HASH),
        ("what the client shows the target", UPSTREAM),
        ("what a scraper shows the target", PASSED),
        ("what somebody typed", TYPED),
    ] {
        marked.add(what, secret);
    }
    marked
}

/// A field with a user and a password.
pub(super) fn basic(field: &str, user: &str, password: &str) -> String {
    let pair = base64(format!("{user}:{password}").as_bytes());
    format!("{field}: Basic {pair}\r\n")
}

/// The next address nobody has come from yet.
pub(super) fn elsewhere() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}
