//! Nothing a client says or shows has a secret in it.

use adit_tests::binaries;
use adit_tests::http_proxy::{HttpProxy, Kind, PASSWORD, USER};
use adit_tests::pair::{self, Proxy};
use adit_tests::scraper;
use adit_tests::target::answers::{metric, ok};
use adit_tests::target::{Request, Step, Target};

use crate::client_life::post;

const TOKEN: &str = "t0ken-in-a-file";
const FRONT: &str = "passw0rd-of-the-front";
const UPSTREAM: &str = "passw0rd-of-the-target";
/// As Basic has them, too: of `worker:`, `pi:` and `prometheus:`.
const ENCODED: [&str; 3] = [
    "d29ya2VyOnMzY3JldC1ob3A=",
    "cGk6cGFzc3cwcmQtb2YtdGhlLWZyb250",
    "cHJvbWV0aGV1czpwYXNzdzByZC1vZi10aGUtdGFyZ2V0",
];

fn assert_clean(what: &str, text: &str) {
    for secret in [TOKEN, FRONT, UPSTREAM, PASSWORD].iter().chain(&ENCODED) {
        assert!(!text.contains(secret), "{secret} in {what}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_page_or_debug_shows_one() {
    let target = Target::start(ok(metric("m")));
    let tinyproxy = HttpProxy::start(Kind::Tinyproxy, true).await;
    let proxy = Proxy::start(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("token", TOKEN),
        ("front", FRONT),
        ("hop", PASSWORD),
        ("upstream", UPSTREAM),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    // Two that do not let us in: by words of their own, and by an echo of what they were sent.
    let echo = Target::start(|request: &Request| {
        let body = request.field("adit-token").unwrap_or_default();
        vec![Step::send(format!(
            "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))]
    });
    let config = format!(
        "proxies: ['{}', 'http://{}']\n\
         auth: {{token_file: token, basic: {{username: pi, password_file: front}}}}\n\
         http_proxy: {{url: '{}', username: {USER}, password_file: hop}}\n\
         targets:\n- target: pi:9100\n  url: http://{}\n  \
         basic_auth: {{username: prometheus, password_file: upstream}}\n",
        proxy.url(),
        echo.address(),
        tinyproxy.url(),
        target.address()
    );
    let file = folder.path().join("client.yml");
    std::fs::write(&file, config).unwrap();
    let flag = format!("--config.file={}", file.display());
    let meant = adit_client::Config::from_args([&flag]).unwrap();
    assert_clean("Debug", &format!("{meant:?} {meant:#?}"));

    let url = proxy.url();
    let mut command = std::process::Command::new(binaries::path("adit-client"));
    command.args([
        &*flag,
        "--log.level=debug",
        "--web.listen-address=127.0.0.1:0",
    ]);
    let program = adit_tests::program::Program::start(&command);
    let line = program.line("msg=listening").await;
    let web = line
        .split("address=")
        .nth(1)
        .and_then(|it| it.split(' ').next());
    let web = web.and_then(|it| it.parse().ok()).unwrap();
    pair::ready(web).await;
    echo.nth_request(1).await;
    program.line("does not let us in").await;
    let answer = scraper::scrape(proxy.address, "http://pi:9100/metrics").await;
    answer.expect(200);
    // It was there: what was sent is what must not be shown.
    let sent = target.request().field("authorization").unwrap();
    assert!(sent.contains(ENCODED[2]), "{sent}");
    post(web, "/-/reload").await.expect(200);
    for file in ["token", "hop", "front"] {
        std::fs::write(folder.path().join(file), "two\nlines").unwrap();
    }
    post(web, "/-/reload").await.expect(500);
    for path in ["/metrics", "/-/ready", "/-/healthy"] {
        assert_clean(path, &scraper::page(web, path).await.text());
    }
    program.signal("TERM");
    let ended = program.finished().await;
    assert_clean("its log", &format!("{}{}", ended.stdout, ended.stderr));
    assert!(ended.stderr.contains(&url), "{}", ended.stderr);
}
