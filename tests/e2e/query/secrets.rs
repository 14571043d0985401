//! Whom we are to backends, and to those who tell where they are, is shown nowhere.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use adit_tests::binaries;
use adit_tests::fake_clusters::kubernetes::{FakeKubernetes, SLICES, slice};
use adit_tests::fake_clusters::marathon::{FakeMarathon, PRINCIPAL_KEY, app, secret};
use adit_tests::fake_prometheus::FakePrometheus;
use adit_tests::log;
use adit_tests::marked::{Marked, base64};
use adit_tests::program::Program;
use adit_tests::scraper;
use adit_tests::target::{Request, Step, Target};
use adit_tests::wait::{PATIENCE, eventually};

use super::discovery::{pools, seen, write};

/// What nobody may see, each somewhere else.
const LINE: &str = "pw-iN-a-LiNe-7a1";
const TORN: &str = "pw-ToRn-iN-tWo-7a2";
const FILE: &str = "pw-iN-a-fIlE-7a3";
const TOKEN: &str = "tOkEn-iN-a-fIlE-7a4";
const ENDPOINT: &str = "pw-oF-the-eNdPoInT-7a5";
const QUERY: &str = "tOkEn-iN-a-qUeRy-7a6";
const CLUSTER: &str = "tOkEn-oF-kUbErNeTeS-7a7";
const PRINCIPAL: &str = "pw-oF-a-pRiNcIpAl-7a8";
const MEMBER: &str = "pw-oF-a-mEmBeR-7a9";

fn marked() -> Marked {
    let mut marked = Marked::default();
    for secret in [
        LINE, TORN, FILE, TOKEN, ENDPOINT, QUERY, CLUSTER, PRINCIPAL, MEMBER,
    ] {
        marked.add(secret, secret);
    }
    for line in PRINCIPAL_KEY.lines().filter(|line| line.len() > 60) {
        marked.add("the principal's key", line);
    }
    // What the login gives.
    marked.add("a token of marathon's", "t0ken-1");
    marked
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

fn locked(id: &str, authorization: String) -> FakePrometheus {
    FakePrometheus::start_as(id, |state| state.authorization = Some(authorization))
}

async fn launch(environment: &[(&str, &str)], args: &[&str]) -> (Program, SocketAddr) {
    let mut command = Command::new(binaries::path("adit-proxy"));
    command.envs(environment.iter().copied()).args(args);
    let program = Program::start(command.arg("--web.listen-address=127.0.0.1:0"));
    let line = program.lines("msg=listening", 1).await;
    let fields = log::line(&line[0]).unwrap();
    let address = fields["address"].parse().unwrap();
    (program, address)
}

async fn post(address: SocketAddr, path: &str) -> scraper::Answer {
    let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    scraper::send(address, request).await
}

/// Every page, as anybody would ask for it.
async fn pages(marked: &Marked, address: SocketAddr, pages: &[&str]) {
    for page in pages {
        let answer = scraper::page(address, page).await;
        let head = format!("{:?}", answer.head);
        marked.assert_absent(page, &format!("{head}\n{}", answer.text()));
    }
}

const PAGES: [&str; 8] = [
    "/api/v1/backends",
    "/api/v1/explain?query=up",
    "/api/v1/explain?query=up&start=1&end=2&step=1",
    "/metrics",
    "/-/ready",
    "/status",
    "/",
    "/clients",
];

/// What the only source of a kind says of its failure, as soon as it fails so.
async fn fails(address: SocketAddr, kind: &str, says: &str) {
    eventually(PATIENCE, &format!("{kind} fails: {says}"), async || {
        let pool = seen(address, "main").await;
        let sources = pool["sources"].as_array().cloned().unwrap_or_default();
        let errors = sources.iter().filter(|one| one["kind"] == kind);
        match errors
            .clone()
            .any(|one| one["error"].as_str().is_some_and(|e| e.contains(says)))
        {
            true => Ok(()),
            false => Err(pool.to_string()),
        }
    })
    .await;
}

async fn healthy(address: SocketAddr, count: usize) {
    eventually(PATIENCE, "all are healthy", async || {
        let pool = seen(address, "main").await;
        let all = pool["backends"].as_array().cloned().unwrap_or_default();
        let healthy = all.iter().filter(|one| one["state"] == "healthy");
        match all.len() == count && healthy.count() == count {
            true => Ok(()),
            false => Err(pool.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_source_and_no_backend_shows_a_secret() {
    let marked = marked();
    let fakes = [
        locked("line", basic("u", LINE)),
        locked("file", basic("u", FILE)),
        locked("token", format!("Bearer {TOKEN}")),
        FakePrometheus::start("http"),
        FakePrometheus::start("kubernetes"),
        FakePrometheus::start("marathon"),
    ];
    let [line, file, token, at_url, pod, task] = &fakes;
    let list = format!("[{{\"targets\": [\"{}\"]}}]", at_url.address());
    let endpoint = Target::start(move |request: &Request| {
        // It knows us, or says what it was shown.
        let shown = request.field("authorization").unwrap_or_default();
        let (status, body) = match shown == basic("sd", ENDPOINT) {
            true => ("200 OK", list.clone()),
            false => ("401 Unauthorized", shown),
        };
        vec![Step::send(format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))]
    });
    let kubernetes = FakeKubernetes::start(None).await;
    kubernetes.demand(CLUSTER);
    let mut pods = slice("prom", &["127.0.0.1"]);
    pods["ports"][0]["port"] = pod.port().into();
    kubernetes.put(SLICES, pods);
    let marathon = FakeMarathon::start(1, "/marathon", None).await;
    marathon.demand_login();
    marathon.put(app("/prom", &[("127.0.0.1", task.port())]));
    let folder = tempfile::tempdir().unwrap();
    let lines = format!("http://u:{LINE}@{}\n", line.address());
    let principal = secret(&marathon.login(), PRINCIPAL_KEY).to_string();
    for (name, text) in [
        ("endpoints", &*lines),
        ("file", FILE),
        ("token", TOKEN),
        ("endpoint", ENDPOINT),
        (
            "kubeconfig",
            &kubernetes.kubeconfig("", &format!("{{token: {CLUSTER}}}")),
        ),
        ("principal", &principal),
    ] {
        write(folder.path(), name, text);
    }
    let pool = format!(
        "backends: [{{url: '{}', basic_auth: {{username: u, password_file: file}}}}, \
                    {{url: '{}', authorization: {{credentials_file: token}}}}], \
         discovery: {{grace: 1h, file: [{{path: endpoints, refresh: 100ms}}], \
         http: [{{url: 'http://{}/?token={QUERY}', refresh: 100ms, \
                  basic_auth: {{username: sd, password_file: endpoint}}}}], \
         kubernetes: [{{kubeconfig: kubeconfig, namespace: monitoring, service: prometheus}}], \
         marathon: [{{urls: ['{}'], apps: [/prom], refresh: 100ms, principal_secret_file: principal}}]}}",
        file.url(),
        token.url(),
        endpoint.address(),
        marathon.url(0),
    );
    let text = pools(&[&pool]);
    write(folder.path(), "proxy.yml", &text);
    let flag = format!(
        "--config.file={}",
        folder.path().join("proxy.yml").display()
    );
    let args = [
        &*flag,
        "--query.listen-address=127.0.0.1:0",
        "--log.level=debug",
    ];
    let meant = adit_proxy::Config::from_args(args).unwrap();
    marked.assert_absent("Debug", &format!("{meant:?} {meant:#?}"));
    let check = async |args: &[&str]| {
        let all = [&["--check-config"], args].concat();
        let checked = Program::run(binaries::path("adit-proxy"), &all).await;
        marked.assert_absent("--check-config", &format!("{checked:?}"));
        checked.status.code()
    };
    assert_eq!(check(&args).await, Some(0));

    let (program, address) = launch(&[], &args).await;
    healthy(address, 6).await;
    pages(&marked, address, &PAGES).await;
    // All of it was shown to whom it is for, or they would not be healthy; and nobody lets us in any more.
    kubernetes.demand("another");
    kubernetes.end(adit_tests::fake_clusters::kubernetes::End::Clean);
    write(folder.path(), "endpoint", "pw-of-nobody");
    write(
        folder.path(),
        "principal",
        &principal.replace("BEGIN PRIVATE", "BEGIN THE"),
    );
    for fake in &fakes[..3] {
        fake.set(|state| state.authorization = Some("another".to_owned()));
    }
    fails(address, "http", "401").await;
    fails(address, "kubernetes", "401").await;
    marathon.expire();
    fails(address, "marathon", "private_key").await;
    for (text, says) in [
        (format!("http://u:{TORN}/x@127.0.0.1:1"), ":1: "),
        (format!("http://u:12/{TORN}@127.0.0.1:1"), "percent-encoded"),
        (format!("http://u:{TORN}?x@127.0.0.1:1"), ":1: "),
        (format!("http://u:{TORN}#x@127.0.0.1:1"), ":1: "),
        (format!("\nhttp://u:{TORN} @127.0.0.1:1"), ":2: "),
        (format!("u:{TORN}@127.0.0.1"), "expected http"),
    ] {
        write(folder.path(), "endpoints", &text);
        fails(address, "file", says).await;
        pages(&marked, address, &PAGES[..1]).await;
    }
    pages(&marked, address, &PAGES).await;
    // Files that are no good are refused without quoting them.
    let with = |key: &str, value: &str| text.replacen(key, value, 1);
    for broken in [
        with(
            "backends: [",
            &format!("backends: ['http://u:{TORN}@x:1', "),
        ),
        with(
            "backends: [",
            &format!("backends: ['http://u:{TORN}/x@x:1', "),
        ),
        with("/?token=", &format!("/?x=y#{TORN}=")),
        with("http://", &format!("http://u:{TORN}@")),
        with("url: 'http://", &format!("url: 'ftp://u:{TORN}@")),
        with("urls: ['http://", &format!("urls: ['http://u:{TORN}@")),
        with("password_file: file", &format!("password: {TORN}")),
        with("credentials_file: token", &format!("credentials: {TORN}")),
    ] {
        assert_ne!(broken, text);
        write(folder.path(), "proxy.yml", &broken);
        let answer = post(address, "/-/reload").await;
        let code = check(&args).await;
        assert_eq!(answer.head.status == 200, code == Some(0), "{broken}");
        marked.assert_absent("/-/reload", &answer.text());
    }
    write(folder.path(), "proxy.yml", &text);
    write(folder.path(), "file", &format!("{FILE}\n{TORN}\n"));
    let answer = post(address, "/-/reload").await;
    assert_eq!(answer.head.status, 500, "{}", answer.text());
    marked.assert_absent("/-/reload", &answer.text());
    pages(&marked, address, &PAGES).await;
    program.signal("TERM");
    let ended = program.finished().await;
    let all = format!("{}{}", ended.stdout, ended.stderr);
    assert!(all.contains("level=debug"), "{all}");
    marked.assert_absent("the log", &all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_what_is_served_for_mpps_users() {
    let marked = marked();
    let [line, task] = [
        locked("line", basic("u", LINE)),
        FakePrometheus::start("task"),
    ];
    let marathon = FakeMarathon::start(1, "/marathon", None).await;
    marathon.demand_login();
    marathon.put(app("/prom", &[("127.0.0.1", task.port())]));
    let folder = tempfile::tempdir().unwrap();
    let folder: &Path = folder.path();
    write(
        folder,
        "endpoints",
        &format!("http://u:{LINE}@{}\n", line.address()),
    );
    let endpoints = folder.join("endpoints");
    let endpoints = endpoints.to_str().unwrap();
    let members = marathon
        .url(0)
        .replacen("://", &format!("://m:{MEMBER}@"), 1);
    let key = secret(&marathon.login(), PRINCIPAL_KEY).to_string();
    let password = serde_json::json!({"uid": "adit", "password": PRINCIPAL,
                                      "login_endpoint": marathon.login()});
    for (secret, works) in [(key, true), (password.to_string(), false)] {
        let environment = [
            ("MPP_ENDPOINTS_FILE", endpoints),
            ("MPP_MARATHON_URL", &*members),
            ("MPP_MARATHON_APPS", "/prom"),
            ("MPP_MARATHON_PRINCIPAL_SECRET", &*secret),
            ("MPP_ROUTING_STRATEGY", "random"),
        ];
        let args = [
            "--compat.mpp",
            "--query.listen-address=127.0.0.1:0",
            "--log.level=debug",
        ];
        let (program, address) = launch(&environment, &args).await;
        let mpp = seen_any(address).await;
        eventually(PATIENCE, "backends", async || {
            let pool = seen(address, &mpp).await;
            let all = pool["backends"].as_array().cloned().unwrap_or_default();
            let fails = pool["sources"].to_string().contains("failing");
            match if works {
                all.len() == 2
            } else {
                all.len() == 1 && fails
            } {
                true => Ok(()),
                false => Err(pool.to_string()),
            }
        })
        .await;
        let line_of_it = log::line(&program.line("roles=query").await).unwrap();
        let query = line_of_it["address"].parse().unwrap();
        let status = scraper::page(query, "/mpp/status").await.expect(200);
        assert!(
            status.text().contains(&line.address().to_string()),
            "{}",
            status.text()
        );
        pages(
            &marked,
            query,
            &["/mpp/status", "/mpp/metrics", "/mpp/health"],
        )
        .await;
        pages(&marked, address, &PAGES).await;
        let mut command = Command::new(binaries::path("adit-proxy"));
        command.envs(environment).args(args).arg("--check-config");
        let checked = Program::start(&command).finished().await;
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
        marked.assert_absent("--check-config", &format!("{checked:?}"));
        program.signal("TERM");
        let ended = program.finished().await;
        marked.assert_absent("the log", &format!("{}{}", ended.stdout, ended.stderr));
    }
}

/// The only pool's name.
async fn seen_any(address: SocketAddr) -> String {
    let page = scraper::page(address, "/api/v1/backends").await.expect(200);
    let page: serde_json::Value = serde_json::from_str(&page.text()).unwrap();
    page["data"]["pools"][0]["name"]
        .as_str()
        .unwrap()
        .to_owned()
}
