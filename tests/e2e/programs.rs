//! The real programs, as an operator meets them.

use std::process::Command;

use adit_tests::binaries::{self, Client, Proxy};
use adit_tests::program::{Finished, Program};
use adit_tests::scraper;
use adit_tests::target::answers::ok;
use adit_tests::target::{Request, Target};
use tokio::net::TcpListener;

async fn run(program: &str, args: &[&str]) -> Finished {
    Program::run(binaries::path(program), args).await
}

/// What DESIGN.md promises of each.
const FLAGS: [(&str, &str); 2] = [
    (
        "adit-proxy",
        "--web.listen-address --tunnel.listen-address --scrape.listen-address --web.route-prefix \
         --query.listen-address --query.backend --allow-anonymous --scrape.default-timeout --scrape.max-timeout --scrape.timeout-offset \
         --shutdown.grace --tunnel.ping-interval --tunnel.dead-after --registration.timeout \
         --log.level --log.format --version --help",
    ),
    (
        "adit-client",
        "--proxy-url --name --target --allow-any-port --tls.ca-file --tls.cert-file \
         --tls.key-file --tls.server-name --config.file --web.listen-address \
         --tunnel.ping-interval --tunnel.dead-after --log.level --log.format --version --help",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn help_lists_the_flags_in_groups() {
    for (program, flags) in FLAGS {
        let help = run(program, &["--help"]).await;
        assert!(help.status.success(), "{}", help.stderr);
        for flag in flags.split_whitespace() {
            assert!(
                help.stdout.contains(flag),
                "{program} {flag}: {}",
                help.stdout
            );
        }
        let is_heading = |line: &&str| line.ends_with(':') && !line.starts_with(' ');
        let groups: Vec<&str> = help.stdout.lines().filter(is_heading).collect();
        assert!(groups.len() >= 3, "{groups:?}");
        let longest = help.stdout.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(120), "{program}: a line of {longest:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_has_prometheuss_form() {
    for program in ["adit-proxy", "adit-client"] {
        let version = run(program, &["--version"]).await;
        assert!(version.status.success());
        let lines: Vec<&str> = version.stdout.lines().collect();
        let start = format!("{program}, version 0.1.0 (branch: ");
        assert!(lines[0].starts_with(&start), "{lines:?}");
        assert!(
            lines[0].contains(", revision: ") && lines[0].ends_with(')'),
            "{lines:?}"
        );
        for (line, key) in lines[1..]
            .iter()
            .zip(["build date:", "rust version:", "platform:"])
        {
            assert!(line.starts_with("  ") && line.contains(key), "{lines:?}");
        }
    }
}

/// Program, arguments, and what it must say. HERE is an address, URL a proxy, PI a target.
const BAD_USAGE: [(&str, &str, &str); 18] = [
    ("adit-proxy", "--no-such-flag", "--no-such-flag"),
    (
        "adit-proxy",
        "--web.listen-adress=127.0.0.1:0",
        "--web.listen-address",
    ),
    ("adit-proxy", "--web.listen-address=nonsense", "HOST:PORT"),
    ("adit-proxy", "HERE --log.level=loud", "debug"),
    ("adit-proxy", "HERE argument", "argument"),
    (
        "adit-proxy",
        "--web.listen-address=0.0.0.0:0",
        "--allow-anonymous",
    ),
    (
        "adit-proxy",
        "--web.listen-address=[::]:0",
        "--allow-anonymous",
    ),
    (
        "adit-proxy",
        "HERE --scrape.listen-address=:0",
        "--allow-anonymous",
    ),
    (
        "adit-client",
        "URL HERE PI --no-such-flag",
        "--no-such-flag",
    ),
    (
        "adit-client",
        "URL HERE --target=pi",
        "expected HOST:PORT[=URL]",
    ),
    (
        "adit-client",
        "URL HERE --target=pi:x",
        "expected HOST:PORT[=URL]",
    ),
    ("adit-client", "URL HERE --target=pi:9100=ftp://x", "http"),
    ("adit-client", "URL HERE", "--target"),
    ("adit-client", "HERE PI --proxy-url=nonsense", "http"),
    ("adit-client", "HERE PI", "--proxy-url"),
    ("adit-client", "URL HERE PI --tls.cert-file=/x", "key"),
    (
        "adit-client",
        "--proxy-url=https://x HERE PI --tls.ca-file=/no/such.pem",
        "/no/such.pem",
    ),
    (
        "adit-client",
        "URL HERE PI --config.file=/no/such.yml",
        "/no/such.yml",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_usage_exits_with_2_and_says_what_is_right() {
    let mut wrong = Vec::new();
    for (program, args, says) in BAD_USAGE {
        let args = args
            .replace("HERE", "--web.listen-address=127.0.0.1:0")
            .replace("URL ", "--proxy-url=http://127.0.0.1:1 ")
            .replace("PI", "--target=pi:9100");
        let args: Vec<&str> = args.split(' ').collect();
        let ended = run(program, &args).await;
        let right = ended.status.code() == Some(2)
            && ended.stderr.contains(says)
            && ended.stdout.is_empty();
        if !right {
            wrong.push(format!(
                "{program} {args:?}: {}, {says:?} not in {}",
                ended.status, ended.stderr
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_file_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client.yml");
    for (text, says) in [
        ("proxies: [http://x]\ntargts: []\n", "targets"),
        ("proxies: [http://x]\ntargets:\n- target: pi\n", ":3:"),
        ("proxies: [http://x\n", "client.yml"),
    ] {
        std::fs::write(&file, text).unwrap();
        let flag = format!("--config.file={}", file.display());
        let ended = run("adit-client", &[&flag]).await;
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(
            ended.stderr.contains(says),
            "{says:?} not in {}",
            ended.stderr
        );
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_exits_with_1_and_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let flag = format!("--web.listen-address={address}");
    for (program, args) in [
        ("adit-proxy", &[flag.as_str()][..]),
        (
            "adit-client",
            &[&flag, "--proxy-url=http://127.0.0.1:1", "--target=pi:9100"],
        ),
    ] {
        let ended = run(program, args).await;
        assert_eq!(ended.status.code(), Some(1), "{program}: {}", ended.stderr);
        assert_eq!(
            ended.stderr.lines().count(),
            1,
            "{program}: {}",
            ended.stderr
        );
        assert!(
            ended.stderr.contains(&address),
            "{program}: {}",
            ended.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_loopback_works_when_told() {
    let proxy = Proxy::start(&["--scrape.listen-address=:0", "--allow-anonymous"]).await;
    scraper::page(proxy.address, "/-/healthy").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_that_went_well_logs_nothing() {
    let target = Target::start(|request: &Request| match request.path() {
        "/metrics" => ok("m 1\n"),
        _ => ok("other 1\n"),
    });
    let proxy = Proxy::start(&[]).await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let client = Client::start(&proxy.url(), &[&flag]).await;
    proxy.program.line("client registered").await;
    client.program.line("msg=registered").await;
    let before = [proxy.program.log(), client.program.log()];
    for _ in 0..20 {
        scraper::scrape(proxy.address, "http://pi:9100/metrics")
            .await
            .expect(200);
        scraper::page(proxy.address, "/metrics").await.expect(200);
    }
    // The next thing either says is about the end.
    client.program.signal("TERM");
    for (program, before, next) in [
        (&client.program, &before[1], "stopping"),
        (&proxy.program, &before[0], "client gone"),
    ] {
        program.line(next).await;
        let log = program.log();
        let after = log.strip_prefix(before.as_str()).expect("a log only grows");
        let line = after.trim_start().lines().next();
        assert!(line.is_some_and(|line| line.contains(next)), "{log}");
    }
    for line in before.iter().flat_map(|log| log.lines()) {
        let fields = ["ts=", " level=", " msg="];
        assert!(fields.iter().all(|field| line.contains(field)), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_json_when_told() {
    let mut command = Command::new(binaries::path("adit-proxy"));
    let flags = ["--web.listen-address=127.0.0.1:0", "--log.format=json"];
    let proxy = Program::start(command.args(flags));
    proxy.line("\"msg\":\"listening\"").await;
    for line in proxy.log().lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            object["ts"].is_string() && object["level"].is_string(),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_up_prints_a_line_for_each_address_with_its_roles() {
    let flags = [
        "--scrape.listen-address=127.0.0.1:0",
        "--tunnel.listen-address=[::1]:0",
    ];
    let proxy = Proxy::start(&flags).await;
    proxy.program.line("roles=scrape").await;
    let log = proxy.program.log();
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("msg=listening"))
        .collect();
    for (line, (address, role)) in lines.iter().zip([
        ("127.0.0.1:", "web"),
        ("[::1]:", "tunnel"),
        ("127.0.0.1:", "scrape"),
    ]) {
        assert!(
            line.contains(address) && line.contains(&format!("roles={role}")),
            "{lines:?}"
        );
    }
    assert_eq!(lines.len(), 3);
}
