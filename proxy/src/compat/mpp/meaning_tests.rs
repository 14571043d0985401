use std::ffi::OsString;
use std::sync::Arc;

use super::super::arguments::{FLAG, ROWS};
use super::super::{Translated, translate};
use super::*;

fn with(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Translated, String> {
    let all = std::iter::once(FLAG).chain(arguments.iter().copied());
    let variable = |name: &str| {
        let found = variables.iter().find(|(each, _)| *each == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    translate(all.map(OsString::from).collect(), variable)
}

fn pool(arguments: &[&str], variables: &[(&str, &str)]) -> (Arc<Pool>, Vec<OsString>) {
    let translated = with(arguments, variables).unwrap();
    (translated.pool.unwrap(), translated.arguments)
}

/// What a value of this key changes, as it is shown by `Debug`: the pool, and our flags.
fn example(key: Key) -> (&'static str, &'static str) {
    match key {
        Key::Kubeconfig => ("/k/config", "kubeconfig: Some(\"/k/config\")"),
        Key::KubeServiceName => ("prom", "select: Service(\"prom\")"),
        Key::KubePodLabelSelector => ("app=prom,x=y", "select: Pods(\"app=prom,x=y\")"),
        Key::KubeNamespace => ("monitoring", "namespace: \"monitoring\""),
        Key::KubePort => ("web", "port: Some(\"web\")"),
        Key::MarathonUrl => ("http://m:8080", "urls: [http://m:8080]"),
        Key::MarathonApps => ("/a, /b", "apps: [\"/a\", \"/b\"]"),
        Key::InsecureCerts => ("true", "insecure_skip_verify: true"),
        Key::MarathonPrincipalSecret => ("{\"uid\":\"x\"}", "principal_secret: Some(Value(***))"),
        Key::MarathonAuthEndpoint => ("http://l", "auth_endpoint: Some(\"http://l\")"),
        Key::EndpointsFile => ("/e", "path: \"/e\", format: Lines, refresh: 10s"),
        Key::RoutingStrategy => ("minimum-history:1h30m", "strategy: MinHistory(5400s"),
        Key::SelectionInterval => ("250ms", "selection_interval: 250ms"),
        Key::AffinityOptions => (
            "sourceip",
            "SourceAddress { ipv4_prefix: 32, ipv6_prefix: 64 }",
        ),
        Key::Port => ("9191", "--query.listen-address=:9191"),
        Key::Verbose => ("true", "--log.level=debug"),
    }
}

/// What has to be there besides, so that a key means anything.
fn around(key: Key) -> &'static [&'static str] {
    match key {
        Key::Kubeconfig | Key::KubeNamespace | Key::KubePort => &["--kube-service-name=s"],
        Key::MarathonUrl => &["--marathon-apps=/a"],
        Key::MarathonApps
        | Key::InsecureCerts
        | Key::MarathonPrincipalSecret
        | Key::MarathonAuthEndpoint => &["--marathon-url=http://m", "--marathon-apps=/a"],
        Key::AffinityOptions => &["--endpoints-file=/e", "--routing-strategy=random"],
        _ => &["--endpoints-file=/e"],
    }
}

/// Case 3: every flag by every spelling, and every variable, gives the same.
#[test]
fn every_flag_and_every_variable_means_the_same() {
    for row in &ROWS {
        let (value, shown) = example(row.key);
        // One that is in the way goes.
        let around = around(row.key).iter().copied();
        let own = |each: &&str| {
            row.flags
                .iter()
                .any(|f| each.starts_with(&format!("--{f}=")))
        };
        let around: Vec<&str> = around.filter(|each| !own(each)).collect();
        let mut seen = Vec::new();
        for flag in row.flags {
            let forms = [
                vec![format!("--{flag}={value}")],
                vec![format!("-{flag}={value}")],
                vec![format!("--{flag}"), value.to_owned()],
                vec![format!("-{flag}"), value.to_owned()],
            ];
            for form in forms {
                // A switch takes no value but behind its `=`.
                let form = if row.key == Key::Verbose && form.len() == 2 {
                    vec![form[0].clone()]
                } else {
                    form
                };
                let form = form.iter().map(String::as_str);
                let all: Vec<&str> = around.iter().copied().chain(form).collect();
                seen.push(pool(&all, &[]));
            }
        }
        for variable in row.variables {
            seen.push(pool(&around, &[(variable, value)]));
        }
        assert!(seen.len() >= 5);
        let first = format!("{:?}", seen[0]);
        assert!(first.contains(shown), "{:?}: {first}", row.key);
        for other in &seen {
            assert_eq!(format!("{other:?}"), first, "{:?}", row.key);
        }
    }
}

#[test]
fn a_flag_comes_before_its_variable_and_an_empty_variable_is_none() {
    let (pool, _) = pool(
        &["--endpoints-file=/flag"],
        &[
            ("MPP_ENDPOINTS_FILE", "/variable"),
            ("MPP_ROUTING_STRATEGY", ""),
        ],
    );
    assert!(format!("{pool:?}").contains("/flag"));
    assert_eq!(pool.strategy, Strategy::default());
}

#[test]
fn what_is_not_given_is_as_in_mpp() {
    let (pool, flags) = pool(&["--endpoints-file=/e"], &[]);
    assert_eq!(pool.selection_interval, Duration::from_secs(10));
    assert_eq!(pool.strategy, Strategy::default());
    assert_eq!(pool.affinity, [Affinity::Primary]);
    assert_eq!(flags, [FLAG, "--query.listen-address=:9090"]);
    let (pool, _) = self::pool(&["--endpoints-file=/e", "--routing-strategy=random"], &[]);
    let cookie = Cookie {
        name: "MPP.Route".into(),
        path: "/".into(),
        max_age: None,
    };
    assert_eq!(pool.affinity, [Affinity::Cookie(cookie)]);
}

/// M8: affinity can be turned off, and its list may have spaces.
#[test]
fn affinity_may_be_none_or_several() {
    let random = ["--endpoints-file=/e", "--routing-strategy=random"];
    let affinity = |options: &str| {
        let flag = format!("--affinity-options={options}");
        let all: Vec<&str> = random.into_iter().chain([flag.as_str()]).collect();
        with(&all, &[]).map(|translated| translated.pool.unwrap().affinity.len())
    };
    assert_eq!(affinity(""), Ok(0));
    assert_eq!(affinity(" cookies , sourceip "), Ok(2));
    assert!(
        affinity("cookie")
            .unwrap_err()
            .contains("neither cookies nor sourceip")
    );
}

#[test]
fn sources_are_in_its_order_and_all_there() {
    let (pool, _) = pool(
        &[
            "--marathon-url=http://a:8080,b:8080,https://c/m",
            "--marathon-apps=/x",
            "--kube-pod-label-selector=a=b",
            "--kube-service-name=s",
            "--endpoints-file=/e",
        ],
        &[],
    );
    let [
        Source::File(_),
        Source::Kubernetes(kubernetes),
        Source::Marathon(marathon),
    ] = pool.sources.as_slice()
    else {
        panic!("{:?}", pool.sources);
    };
    assert_eq!(kubernetes.select, KubernetesSelect::Service("s".into()));
    assert_eq!(kubernetes.namespace, "default");
    assert_eq!(
        marathon
            .urls
            .iter()
            .map(|url| url.expose())
            .collect::<Vec<_>>(),
        ["http://a:8080/m", "http://b:8080/m", "http://c/m"]
    );
}

#[test]
fn an_address_of_ones_own_stands_for_mpps_port() {
    for own in [
        &["--query.listen-address=127.0.0.1:1"][..],
        &["--query.listen-address", "127.0.0.1:1"],
    ] {
        let all = [&["--endpoints-file=/e", "--port=9191"][..], own].concat();
        let (_, arguments) = pool(&all, &[]);
        assert_eq!(arguments[0], FLAG);
        assert_eq!(
            arguments[1..],
            own.iter().map(OsString::from).collect::<Vec<_>>()
        );
    }
    let near = "--query.listen-addresses=x";
    let (_, arguments) = pool(&["--endpoints-file=/e", near], &[]);
    assert_eq!(arguments, [FLAG, near, "--query.listen-address=:9090"]);
}

#[test]
fn a_secret_in_sight_is_told_of() {
    let marathon = ["--marathon-url=http://m", "--marathon-apps=/a"];
    let bare = |secret: &[&str], variables: &[(&str, &str)]| {
        let all = [&marathon[..], secret].concat();
        with(&all, variables).unwrap().bare_secret
    };
    let flag = "-marathon-principal-secret";
    assert_eq!(bare(&[flag, "{}"], &[]).as_deref(), Some(flag));
    let variable = ("MPP_MARATHON_PRINCIPAL_SECRET", "{}");
    assert_eq!(bare(&[], &[variable]), None);
    assert_eq!(bare(&[], &[]), None);
}

#[test]
fn its_word_for_the_version_is_ours() {
    let (_, arguments) = pool(&["--endpoints-file=/e", "-v"], &[]);
    assert_eq!(arguments[1], "--version");
}

#[test]
fn what_is_wrong_is_named_as_it_was_given() {
    let file = "--endpoints-file=/e";
    for (arguments, variables, says) in [
        (
            &[][..],
            &[][..],
            "--compat.mpp: nothing says where backends are",
        ),
        (
            &[file, "--routing-strategy=best"],
            &[],
            "--routing-strategy: \"best\" is none of single",
        ),
        (
            &[file, "--routing-strategy=minimum-history:1d"],
            &[],
            "minimum-history:DURATION",
        ),
        (
            &[file],
            &[("MPP_SELECTION_INTERVAL", "10")],
            "MPP_SELECTION_INTERVAL: \"10\" is no",
        ),
        (&[file, "-port", "x"], &[], "-port: \"x\" is no port"),
        (&[file, "-V=maybe"], &[], "-V: expected true or false"),
        (
            &["--marathon-url=http://m"],
            &[],
            "expected --marathon-apps beside it",
        ),
        (&[file, "--kube-port"], &[], "--kube-port: expected a value"),
    ] {
        let error = with(arguments, variables).unwrap_err();
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
}

#[test]
fn without_the_switch_nothing_is_mpps() {
    let arguments = vec![OsString::from("--port=9090")];
    let translated = translate(arguments.clone(), |_| Some("x".to_owned())).unwrap();
    assert_eq!(translated.arguments, arguments);
    assert!(translated.pool.is_none());
}

#[test]
fn what_is_ours_stays() {
    let (_, arguments) = pool(
        &["--endpoints-file=/e", "--allow-anonymous", "--x", "y"],
        &[],
    );
    let typed: Vec<&str> = arguments.iter().filter_map(|a| a.to_str()).collect();
    assert_eq!(
        typed,
        [
            FLAG,
            "--allow-anonymous",
            "--x",
            "y",
            "--query.listen-address=:9090"
        ]
    );
}
