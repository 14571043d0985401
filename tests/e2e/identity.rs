//! Who a client says it is, how it learns that this is not enough, and what it does then.

use std::path::PathBuf;
use std::time::Duration;

use adit_common::tunnel::goodbye::Farewell;
use adit_tests::binaries;
use adit_tests::metrics::Metrics;
use adit_tests::pair::{Client, ready};
use adit_tests::scraper;
use adit_tests::scripted_proxy::ScriptedProxy;
use adit_tests::target::answers::whole;
use adit_tests::target::{Request, Step, Target};
use adit_tests::wait::{PATIENCE, eventually};
use tempfile::TempDir;
use tokio::time::Instant;

/// Files with secrets, and the flags that name them.
struct Secrets(TempDir);

impl Secrets {
    fn new() -> Self {
        let secrets = Self(tempfile::tempdir().unwrap());
        secrets.write("token", "t0ken-one");
        secrets.write("password", "passw0rd-one");
        secrets
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn token(&self) -> String {
        format!("--auth.token-file={}", self.path("token").display())
    }

    fn user(&self) -> [String; 2] {
        let password = self.path("password");
        let password = format!("--auth.password-file={}", password.display());
        ["--auth.username=pi".to_owned(), password]
    }
}

/// Answers every upgrade like this.
fn answers(status: &'static str, field: &'static str) -> Target {
    Target::start(move |_: &Request| {
        let answer = String::from_utf8(whole("who are you?\nmore\n")).unwrap();
        let head = format!("{status}\r\n{field}");
        vec![Step::send(answer.replacen("200 OK", &head, 1))]
    })
}

/// `Authorization` and `Adit-Token`.
fn shown(request: &Request) -> [Option<String>; 2] {
    [request.field("authorization"), request.field("adit-token")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_proxy_is_shown() {
    let secrets = Secrets::new();
    let basic = "Basic cGk6cGFzc3cwcmQtb25l";
    let (bearer, token) = ("Bearer t0ken-one", "t0ken-one");
    let [user, password] = secrets.user();
    for (flags, expected) in [
        (vec![], [None, None]),
        (vec![secrets.token()], [Some(bearer), Some(token)]),
        (vec![user.clone(), password.clone()], [Some(basic), None]),
        (
            vec![user, password, secrets.token()],
            [Some(basic), Some(token)],
        ),
    ] {
        let proxy = answers("401 Unauthorized", "X: y");
        let url = format!("http://{}", proxy.address());
        let mut all = vec!["--target=pi:9100"];
        all.extend(flags.iter().map(String::as_str));
        let _client = Client::launch(&[&url], &all).await;
        let request = proxy.nth_request(1).await;
        assert_eq!(
            shown(&request),
            expected.map(|value| value.map(str::to_owned))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_token_is_tried_at_once_and_a_file_that_went_bad_is_not() {
    let secrets = Secrets::new();
    let proxy = answers("401 Unauthorized", "WWW-Authenticate: Bearer");
    let url = format!("http://{}", proxy.address());
    let flags = ["--target=pi:9100", &secrets.token(), "--log.level=debug"];
    let client = binaries::Client::launch(&url, &flags).await;
    proxy.nth_request(1).await;
    client.program.lines("does not let us in", 1).await;
    for (nth, token) in [(2, "t0ken-two"), (3, "t0ken-three")] {
        // Half a rotation: nobody dials for it.
        std::fs::remove_file(secrets.path("token")).unwrap();
        let changed = Instant::now();
        secrets.write("token", token);
        let request = proxy.nth_request(nth).await;
        let bearer = format!("Bearer {token}");
        assert_eq!(shown(&request), [Some(bearer), Some(token.to_owned())]);
        assert!(changed.elapsed() < Duration::from_secs(30), "{changed:?}");
        client.program.lines("does not let us in", nth).await;
    }
    let denied = format!("adit_client_dials_total{{proxy=\"{url}\",result=\"denied\"}}");
    assert_eq!(Metrics::of(client.web).await.series(&denied), 3.0);
    let ready = scraper::page(client.web, "/-/ready").await.expect(503);
    let says = format!("{url}: the proxy answered 401 Unauthorized: who are you?\n");
    assert!(ready.text().contains(&says), "{}", ready.text());
    let log = client.program.log();
    assert!(!log.contains("t0ken"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_dial_has_the_next_token_without_a_reload() {
    let secrets = Secrets::new();
    let proxy = answers("502 Bad Gateway", "X: y");
    let url = format!("http://{}", proxy.address());
    let flags = ["--target=pi:9100", &secrets.token()];
    let client = binaries::Client::launch(&url, &flags).await;
    proxy.nth_request(1).await;
    secrets.write("token", "t0ken-two");
    eventually(PATIENCE, "a dial with the next token", async || {
        let last = proxy.requests().last().map(shown);
        match last {
            Some([_, Some(token)]) if token == "t0ken-two" => Ok(()),
            last => Err(format!("{last:?}")),
        }
    })
    .await;
    std::fs::remove_file(secrets.path("token")).unwrap();
    let line = client.program.line("the secret before stays").await;
    for part in ["level=warn", "auth.token_file", "No such file"] {
        assert!(line.contains(part), "{line}");
    }
    let so_far = proxy.requests().len();
    let request = proxy.nth_request(so_far + 1).await;
    assert_eq!(shown(&request)[1].as_deref(), Some("t0ken-two"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_registration_is_said_once_and_waits_for_another_token() {
    let secrets = Secrets::new();
    let proxy = ScriptedProxy::start().await;
    let flags = ["--target=pi:9100", &secrets.token()];
    let client = binaries::Client::launch(&proxy.url(), &flags).await;
    let mut tunnel = proxy.tunnel().await;
    tunnel.registration().await.expect("what is offered");
    let words = "pi is not for the token of nas";
    tunnel.close(Farewell::Denied, words).await;
    let line = client.program.line("does not let us in").await;
    assert!(
        line.contains("level=warn") && line.contains(words),
        "{line}"
    );
    let answer = scraper::page(client.web, "/-/ready").await.expect(503);
    assert!(answer.text().contains(words), "{}", answer.text());
    let ended = format!(
        "adit_client_tunnels_ended_total{{proxy=\"{}\",reason=\"denied\"}}",
        proxy.url()
    );
    assert_eq!(Metrics::of(client.web).await.series(&ended), 1.0);

    secrets.write("token", "t0ken-two");
    let mut tunnel = proxy.tunnel().await;
    tunnel.registration().await.expect("what is offered");
    tunnel.accept().await;
    ready(client.web).await;
    let log = client.program.log();
    assert_eq!(log.matches("does not let us in").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_proxy_says_when_to_come_back() {
    let proxy = answers("429 Too Many Requests", "Retry-After: 4");
    let url = format!("http://{}", proxy.address());
    let client = binaries::Client::launch(&url, &["--target=pi:9100"]).await;
    proxy.nth_request(1).await;
    let line = client.program.line("msg=\"no tunnel\"").await;
    let first = Instant::now();
    assert!(
        line.contains("429 Too Many Requests: who are you?"),
        "{line}"
    );
    proxy.nth_request(2).await;
    assert!(first.elapsed() > Duration::from_secs(3), "{first:?}");
    let busy = format!("adit_client_dials_total{{proxy=\"{url}\",result=\"busy\"}}");
    eventually(PATIENCE, "both are counted", async || {
        match Metrics::of(client.web).await.series(&busy) {
            2.0 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
}
