//! What the documents show works as it stands there.

use std::path::{Path, PathBuf};
use std::process::Command;

use adit_tests::binaries;
use adit_tests::program::{Program, debian};
use adit_tests::tls::Authority;
use tokio::net::TcpStream;

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the workspace").to_owned()
}

/// The YAML blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    text.split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

/// A block is a whole configuration of Prometheus', one job of it, or what belongs into a job.
fn configuration(block: &str) -> String {
    let jobs = "scrape_configs:\n";
    if block.starts_with(jobs) {
        block.to_owned()
    } else if block.starts_with("  - job_name") {
        format!("{jobs}{block}")
    } else {
        format!("{jobs}  - job_name: x\n{block}")
    }
}

async fn promtool_accepts(file: &Path) {
    let promtool = debian("promtool", "prometheus");
    let file = file.display().to_string();
    let arguments = ["check", "config", "--syntax-only", &file];
    let checked = Program::run(promtool, &arguments).await;
    assert_eq!(checked.status.code(), Some(0), "{}", checked.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_accepts_every_configuration_we_show() {
    let folder = tempfile::tempdir().unwrap();
    let mut shown = 0;
    for page in ["README.md", "docs/scraping.md", "docs/front-proxies.md"] {
        for block in blocks(page) {
            let file = folder.path().join("prometheus.yml");
            std::fs::write(&file, configuration(&block)).unwrap();
            promtool_accepts(&file).await;
            shown += 1;
        }
    }
    assert!(shown >= 6, "{shown} blocks found");
    for example in ["quickstart", "query"] {
        let file = root().join("examples").join(example);
        promtool_accepts(&file.join("prometheus.yml")).await;
    }
}

#[test]
fn our_client_accepts_the_configuration_we_show() {
    let blocks = blocks("docs/client.md");
    assert_eq!(blocks.len(), 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client.yml");
    std::fs::write(&file, &blocks[0]).unwrap();
    let flag = format!("--config.file={}", file.display());
    let config = adit_client::Config::from_args([flag]).unwrap();
    assert_eq!(config.targets.len(), 2);
    assert_eq!(config.tls.ca_file, Some(folder.path().join("proxy-ca.pem")));
    assert!(config.targets[0].cost.serial, "the nas, by name");
}

#[test]
fn our_proxy_accepts_the_configuration_we_show() {
    use adit_proxy::config::duplicates::Duplicates;
    let blocks = blocks("docs/operating.md");
    assert_eq!(blocks.len(), 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.yml");
    std::fs::write(&file, &blocks[0]).unwrap();
    let flag = format!("--config.file={}", file.display());
    let config = adit_proxy::Config::from_args([flag]).unwrap();
    let rule = |name: &str| config.settings.rules.of(&name.parse().unwrap());
    assert_eq!(rule("pi"), Duplicates::Replace);
    assert_eq!(rule("prometheus.ha"), Duplicates::Replicas);
}

#[test]
fn the_web_configurations_we_show_are_good() {
    use adit_common::web_config::WebConfig;
    let authority = Authority::new();
    let folder = authority.folder();
    std::fs::copy(authority.ca_file(), folder.join("proxy.pem")).unwrap();
    std::fs::write(folder.join("proxy.key"), authority.key()).unwrap();
    let read = |block: &str| {
        let file = folder.join("web.yml");
        std::fs::write(&file, block).unwrap();
        WebConfig::read(&file).unwrap()
    };
    let blocks = blocks("docs/web-config.md");
    assert_eq!(blocks.len(), 2);
    let simple = read(&blocks[0]);
    assert!(simple.tls.is_some() && simple.users.get("prometheus").is_some());
    let whole = read(&blocks[1]);
    assert!(whole.tls.is_some_and(|tls| tls.requires_verified()));
    assert_eq!(whole.headers.len(), 5);
    assert!(whole.rate_limit.is_some());
}

#[test]
fn our_proxy_accepts_the_access_we_show() {
    let blocks = blocks("docs/authentication.md");
    assert_eq!(blocks.len(), 2);
    let folder = tempfile::tempdir().unwrap();
    let web = folder.path().join("web.yml");
    let hash = "$2y$10$1iVpfkrXJlRRTTbqaW2eNOUyxQqvpTKZPRHBsEIGvNQAhEsXzNCi6";
    let users = format!("basic_auth_users: {{prometheus: {hash}, grafana: {hash}, ops: {hash}}}\n");
    std::fs::write(&web, users).unwrap();
    for block in blocks {
        let file = folder.path().join("proxy.yml");
        std::fs::write(&file, block).unwrap();
        let flags = [
            format!("--config.file={}", file.display()),
            format!("--web.config.file={}", web.display()),
            "--query.listen-address=127.0.0.1:0".to_owned(),
            "--query.backend=http://prom-a:9090".to_owned(),
        ];
        let config = adit_proxy::Config::from_args(flags).unwrap();
        let access = config.settings.access;
        assert!(access.clients.is_some() || access.scrapers.is_some());
    }
}

#[test]
fn our_proxy_accepts_the_limits_we_show() {
    let blocks = blocks("docs/limits.md");
    assert_eq!(blocks.len(), 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.yml");
    std::fs::write(&file, &blocks[0]).unwrap();
    let flag = format!("--config.file={}", file.display());
    let config = adit_proxy::Config::from_args([flag]).unwrap();
    let summary = config.summary().join("\n");
    for says in [
        "limits: connections 20000, head_time 5s, request_head 64KiB",
        "trusted proxies: 192.0.2.10/32, 10.20.0.0/16, fd00:20::/64, unix",
    ] {
        assert!(summary.contains(says), "{summary}");
    }
}

/// Blocks that begin with a comment are for others.
#[test]
fn our_programs_accept_the_query_side_we_show() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("b.password"), "secret\n").unwrap();
    std::fs::copy(Authority::new().ca_file(), folder.path().join("ca.pem")).unwrap();
    let written = |name: &str, block: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, block).unwrap();
        format!("--config.file={}", file.display())
    };
    let mut pools = Vec::new();
    let mut others = Vec::new();
    for block in blocks("docs/query.md") {
        if block.starts_with("# client") {
            let flags = [
                "--proxy-url=http://127.0.0.1:1".to_owned(),
                written("client.yml", &block),
            ];
            let config = adit_client::Config::from_args(flags).unwrap();
            assert_eq!(config.targets.len(), 1);
            others.push("client");
        } else if block.starts_with("# kubernetes") {
            others.push("kubernetes");
        } else {
            let flags = [
                "--query.listen-address=127.0.0.1:0".to_owned(),
                written("proxy.yml", &block),
            ];
            let config = adit_proxy::Config::from_args(flags).unwrap();
            let lines = config.summary().into_iter();
            pools.extend(lines.filter(|line| line.starts_with("pool ")));
        }
    }
    assert_eq!(others, ["kubernetes", "client"]);
    // The longer prefix is tried first.
    assert_eq!(pools.len(), 3, "{pools:#?}");
    assert!(pools[0].starts_with("pool long-term at /long: most-data of http://thanos:10902"));
    let written = "http://prom-a:9090, b (https://prom-b.example:443/prometheus), tunnel://pi:9090";
    assert!(pools[1].ends_with(written), "{pools:#?}");
    for source in [
        "file ",
        "dns _web._tcp.prometheus.example SRV",
        "dns prometheus.example:9090",
        "http https://inventory.example/prometheus",
        "kubernetes monitoring/prometheus-operated port web",
        "marathon /prometheus",
        "tunnel job=\"prometheus\"",
    ] {
        assert!(pools[2].contains(source), "{source}: {}", pools[2]);
    }
}

/// Every value that the page's table has for a key.
#[test]
fn our_proxy_accepts_every_key_of_a_pool_that_we_name() {
    let page = std::fs::read_to_string(root().join("docs/query.md")).unwrap();
    let table = page.split("| key | default | |").nth(1).unwrap();
    let table = table.split("\n\n").next().unwrap();
    let block = "query:\n  pools:\n  - backends: [http://a:9090, http://b:9090]\n    \
                 hosts: [prom.example]\n    path_prefix: /eu\n    selection_interval: 10s\n    \
                 most_data: {metric: ingested-samples, hysteresis: 5%, hold: 3}\n    \
                 affinity: [primary, cookie, source-address, {header: X-Dashboard-Uid}]\n    \
                 cookie: {name: adit_backend, path: /, max_age: 1h}\n    \
                 source_address: {ipv4_prefix: 32, ipv6_prefix: 64}\n    \
                 allow: {write: true, admin: true, lifecycle: true, debug: true, unknown: false}\n    \
                 timeout: 2m\n    request_body: 10MiB\n    response_hold: 1MiB\n    \
                 backend_requests: 256\n    retry: {attempts: 3, budget: 20%, header_timeout: 10s}\n    \
                 hedge: {quantile: 95%, min: 250ms, max: 5s, budget: 5%}\n    \
                 health: {interval: 5s, timeout: 2s, rise: 2, fall: 2, query: up, ready_path: /x, \
                 max_staleness: 2m, warm_up: 30s, warm_up_targets: 90%, consecutive_failures: 3, \
                 ejection: 10s, max_ejection: 5m, max_ejected: 50%}\n  \
                 - {name: spare, strategy: first-available, fail_back: 1m, backends: [http://c:9090]}\n";
    let block = block.replacen("- backends", "- name: main\n    backends", 1);
    let mut named = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let keys = row.split(" | ").next().unwrap();
        for key in keys.split('`').skip(1).step_by(2) {
            let key = key.rsplit('.').next().unwrap();
            assert!(block.contains(&format!("{key}:")), "{key} of {row}");
            named += 1;
        }
    }
    assert!(named >= 28, "{named}");
    let (_folder, file) = adit_tests::pair::config(&block);
    let flags = ["--query.listen-address=127.0.0.1:0".to_owned(), file];
    let config = adit_proxy::Config::from_args(flags).unwrap();
    let summary = config.summary().join("\n");
    assert!(
        summary.contains("pool spare: first-available of"),
        "{summary}"
    );
}

/// A family whose names begin alike is written out once.
#[test]
fn every_metric_of_the_query_side_is_in_the_table() {
    let page = std::fs::read_to_string(root().join("docs/operating.md")).unwrap();
    let source = root().join("proxy/src/metrics/query.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let names = source.split("\"query_").skip(1);
    let names: Vec<&str> = names.map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(names.len() >= 26, "{names:?}");
    for name in names {
        let whole = page.contains(&format!("`adit_proxy_query_{name}"));
        let rest = name.strip_prefix("backend_");
        let short = rest.is_some_and(|rest| page.contains(&format!("`…_{rest}")));
        assert!(whole || short, "docs/operating.md says nothing of {name}");
    }
}

#[test]
fn every_flag_the_documents_name_exists() {
    let help: String = ["adit-proxy", "adit-client"]
        .map(|program| {
            let mut command = Command::new(binaries::path(program));
            let output = command.arg("--help").output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        })
        .concat();
    for page in [
        "README.md",
        "docs/scraping.md",
        "docs/client.md",
        "docs/operating.md",
        "docs/limits.md",
        "docs/authentication.md",
        "docs/web-config.md",
        "docs/migrating-from-pushprox.md",
        "docs/migrating-from-mpp.md",
        "docs/query.md",
    ] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let named = text.split("--").skip(1).filter_map(|rest| {
            let end = rest.find(|c: char| !(c.is_ascii_lowercase() || ".-".contains(c)))?;
            let flag = rest[..end].trim_end_matches(['.', '-']);
            (flag.len() > 2).then_some(flag)
        });
        // mpp's own stand in the first column of its page's table.
        let is_mpps =
            |flag: &str| page.ends_with("-mpp.md") && text.contains(&format!("| `{flag}` |"));
        for flag in named.filter(|flag| !is_mpps(flag)) {
            assert!(help.contains(&format!("--{flag}")), "{page}: --{flag}");
        }
    }
}

/// An example's script with the programs that were built for the tests.
fn example(script: &str) -> Program {
    let bin = binaries::path("adit-proxy");
    let script = format!(
        "ADIT_BIN={} exec {} >&2",
        bin.parent().unwrap().display(),
        root().join(script).display()
    );
    // What a shell starts in the background ignores Ctrl-C, and so would all that it starts.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", "bash", "-c", &script]);
    Program::start(&command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn make_run_scrapes_says_so_and_leaves_nothing_behind() {
    let run = example("examples/quickstart/run");
    let open = run.line("  open ").await;
    let up = run.line("=> ").await;
    assert!(up.contains("up{") && up.contains("=> 1"), "{up}");
    run.signal("INT");
    let ended = run.finished().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let prometheus = open.split("http://").nth(1).unwrap();
    let prometheus = prometheus.split('/').next().unwrap();
    assert!(
        TcpStream::connect(prometheus).await.is_err(),
        "{prometheus} still listens"
    );
}

/// With the real servers: the one that answers is killed, and the other one answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_query_example_loses_a_server_and_goes_on() {
    let run = example("examples/query/run");
    let lose = run.line("  lose one ").await;
    let ids: Vec<&str> = lose.split("kill ").skip(1).collect();
    let ids = ids.iter().map(|rest| rest.split(' ').next().unwrap());
    let ids: Vec<&str> = ids.collect();
    let first = run.line("=> answered by ").await;
    let victim = match first.ends_with("by b:9090") {
        true => ids[1],
        false => ids[0],
    };
    let kill = format!("kill {victim}");
    let killed = Command::new("/bin/sh").args(["-c", &kill]).status();
    assert!(killed.unwrap().success(), "{kill}");
    let lines = run.lines("=> ", 2).await;
    assert!(lines[1].contains("=> answered by "), "{lines:?}");
    assert_ne!(lines[0][8..], lines[1][8..], "somebody else answers");
    run.signal("INT");
    let ended = run.finished().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}
