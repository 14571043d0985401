//! mpp's command line and environment, given to the real program.

use std::process::Command;

use adit_tests::binaries;
use adit_tests::ports;
use adit_tests::program::{Finished, Program};
use adit_tests::scraper;

use super::{LISTEN, started};

async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = Command::new(binaries::path("adit-proxy"));
    command
        .arg("--web.listen-address=127.0.0.1:0")
        .args(arguments);
    command.envs(variables.iter().copied());
    Program::start(&command).finished().await
}

async fn check(arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let all = [&["--check-config", "--compat.mpp"][..], arguments].concat();
    run(&all, variables).await
}

/// The flags and variables of a row, and the lines that both come to.
type Row = (
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

const FILE: (&str, &str) = ("MPP_ENDPOINTS_FILE", "/e");

const ROWS: &[Row] = &[
    (
        &["--endpoints-file=/e"],
        &[FILE],
        &[
            "listen on :9090 for query",
            "pool main: most-data of file /e",
            "--compat.mpp: /mpp/health, /mpp/metrics and /mpp/status as well",
        ],
    ),
    (
        &["-endpoints-file", "/e", "--port", "9191"],
        &[FILE, ("MPP_PORT", "9191")],
        &["listen on :9191 for query"],
    ),
    (
        &[
            "--endpoints-file=/e",
            "--routing-strategy=minimum-history:24h",
            "--selection-interval=250ms",
        ],
        &[
            FILE,
            ("MPP_ROUTING_STRATEGY", "minimum-history:24h"),
            ("MPP_SELECTION_INTERVAL", "250ms"),
        ],
        &[
            "pool main: min-history:1day of file /e",
            "pool main: selection_interval 250ms, affinity cookie MPP.Route",
        ],
    ),
    (
        &[
            "--endpoints-file=/e",
            "--routing-strategy=random",
            "--affinity-options=cookies, sourceip",
        ],
        &[
            FILE,
            ("MPP_ROUTING_STRATEGY", "random"),
            ("MPP_AFFINITY_OPTIONS", "cookies, sourceip"),
        ],
        &[
            "pool main: random of file /e",
            "pool main: affinity cookie MPP.Route source-address",
        ],
    ),
    (
        &[
            "--kube-service-name=prometheus",
            "--kube-namespace=monitoring",
            "--kube-port=web",
            "--kubeconfig=/k",
        ],
        &[
            ("MPP_KUBE_SERVICE_NAME", "prometheus"),
            ("MPP_KUBE_NAMESPACE", "monitoring"),
            ("MPP_KUBE_PORT", "web"),
            ("MPP_KUBECONFIG", "/k"),
        ],
        &["pool main: most-data of kubernetes monitoring/prometheus port web by /k"],
    ),
    (
        &["--kube-service-name=prometheus"],
        &[("MPP_SERVICE_NAME", "prometheus")],
        &["pool main: most-data of kubernetes default/prometheus"],
    ),
    (
        &["--kube-pod-label-selector=app=prometheus,role=a"],
        &[("MPP_KUBE_POD_LABEL_SELECTOR", "app=prometheus,role=a")],
        &["pool main: most-data of kubernetes default/pods app=prometheus,role=a"],
    ),
    (
        &[
            "--marathon-url=http://m:8080",
            "--marathon-apps=/p/a,/p/b",
            "-k",
            "true",
            "--marathon-auth-endpoint=http://login",
        ],
        &[
            ("MPP_MARATHON_URL", "http://m:8080"),
            ("MPP_MARATHON_APPS", "/p/a,/p/b"),
            ("MPP_INSECURE_CERTS", "true"),
            ("MPP_MARATHON_AUTH_ENDPOINT", "http://login"),
        ],
        &["pool main: most-data of marathon /p/a /p/b (whoever answers: insecure_skip_verify)"],
    ),
];

/// Case 3, by the program: `proxy/src/compat/mpp` has the table of every spelling.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_says_what_mpps_flags_and_variables_come_to() {
    for (flags, variables, lines) in ROWS {
        let flags = [flags, &["--allow-anonymous"][..]].concat();
        let by_flags = check(&flags, &[]).await;
        assert_eq!(by_flags.status.code(), Some(0), "{flags:?}: {by_flags:?}");
        for line in *lines {
            let line = format!("ok  {line}");
            assert!(
                by_flags.stdout.lines().any(|said| said == line),
                "{line}\n{by_flags:?}"
            );
        }
        let by_variables = check(&["--allow-anonymous"], variables).await;
        assert_eq!(by_variables.stdout, by_flags.stdout, "{variables:?}");
    }
}

/// Case 3: without the switch they are nobody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_switch_its_variables_say_nothing() {
    let variables = [FILE, ("MPP_PORT", "9191")];
    let checked = run(&["--check-config"], &variables).await;
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert!(!checked.stdout.contains("query"), "{checked:?}");
    let unknown = run(&["--endpoints-file=/e"], &[]).await;
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
}

/// Case 3: and its other words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn help_and_version_are_there() {
    let help = run(&["--help"], &[]).await;
    assert!(help.stdout.contains("--compat.mpp"), "{help:?}");
    let endpoints = "--endpoints-file=/e";
    for word in ["-v", "--version"] {
        let version = run(&["--compat.mpp", endpoints, word], &[]).await;
        assert_eq!(version.status.code(), Some(0), "{version:?}");
        assert!(version.stdout.starts_with("adit-proxy, "), "{version:?}");
    }
}

/// Case 3: mpp listens on every interface and asks nobody. Here somebody has to say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_beyond_loopback_is_said() {
    let endpoints = "--endpoints-file=/e";
    let refused = check(&[endpoints], &[]).await;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    for way in [":9090", "--web.config.file", "--allow-anonymous"] {
        assert!(refused.stderr.contains(way), "{way}: {refused:?}");
    }
    // An address of its own stands for mpp's port, also for one in a manifest.
    let own = check(&[endpoints, LISTEN], &[("MPP_PORT", "9191")]).await;
    assert_eq!(own.status.code(), Some(0), "{own:?}");
    assert!(own.stdout.contains("listen on 127.0.0.1:0 for query"));
    assert!(!own.stdout.contains("9191"), "{own:?}");
    let nothing = check(&["--allow-anonymous"], &[]).await;
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
    assert!(nothing.stderr.contains("give --endpoints-file"));
    let both = check(
        &[endpoints, "--query.backend=http://a:1", "--allow-anonymous"],
        &[],
    )
    .await;
    assert_eq!(both.status.code(), Some(2), "{both:?}");
    assert!(
        both.stderr.contains("leave out --query.backend"),
        "{both:?}"
    );
}

const WARNING: &str = "a secret among a process' arguments";
const SECRET: &str =
    r#"{"uid":"adit","password":"s3cret-of-marathon","login_endpoint":"http://127.0.0.1:1/login"}"#;

/// Case 3: it is used, warned of where everybody can see it, and never shown by us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_among_the_arguments_is_warned_of_and_never_shown() {
    let url = format!("--marathon-url=http://127.0.0.1:{}", ports::unused());
    let apps = "--marathon-apps=/prometheus";
    let secret = format!("--marathon-principal-secret={SECRET}");
    let (proxy, query) = started(&[&url, apps, &secret, "--verbose"]).await;
    assert!(proxy.program.visible().contains("s3cret-of-marathon"));
    let warned = proxy.program.line(WARNING).await;
    assert!(
        warned.contains("level=warn") && warned.contains("--marathon-principal-secret"),
        "{warned}"
    );
    // It has been looked at by now.
    proxy.program.line("marathon").await;
    for path in [
        "/mpp/status",
        "/mpp/metrics",
        "/api/v1/backends",
        "/metrics",
    ] {
        let page = scraper::page(query, path).await.expect(200).text();
        assert!(!page.contains("s3cret"), "{path}: {page}");
    }
    assert!(!proxy.program.output().contains("s3cret"));

    let cut = r#"{"uid":"adit","password":"s3cret-of-marathon"#;
    for (arguments, variables, warns) in [
        (vec![&*secret], vec![], true),
        (vec!["-marathon-principal-secret", SECRET], vec![], true),
        (vec!["--marathon-principal-secret", cut], vec![], true),
        (
            vec![],
            vec![("MPP_MARATHON_PRINCIPAL_SECRET", SECRET)],
            false,
        ),
    ] {
        let all = [&[&*url, apps, LISTEN][..], &arguments].concat();
        let checked = check(&all, &variables).await;
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
        assert_eq!(checked.stderr.contains(WARNING), warns, "{checked:?}");
        assert!(!format!("{checked:?}").contains("s3cret"), "{checked:?}");
    }
}
