mod wrong;

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use adit_common::config_file::parse;
use adit_common::http_config::CredentialFile;
use adit_common::target::Scheme;

use super::*;
use crate::config::query::{
    Affinity, Allow, Cookie, DataMetric, DnsRecords, FileFormat, KubernetesSelect, MostData,
    PrincipalSecret, Source, Strategy,
};

const MEMORY: usize = 256 << 20;

fn listening() -> QueryFlags {
    QueryFlags {
        listens: true,
        ..QueryFlags::default()
    }
}

/// With the files `password`, `token` and `ca.pem` beside it.
fn read(text: &str) -> Result<Query, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "s3cret\n").unwrap();
    std::fs::write(folder.path().join("token"), "s3cret\n").unwrap();
    let certificate = include_str!("../../../../../../fuzz/named/cert.pem");
    std::fs::write(folder.path().join("ca.pem"), certificate).unwrap();
    let file: FileQuery = parse(text)?;
    file.resolve(folder.path(), &listening(), MEMORY)
}

/// The only pool.
fn pool(keys: &str) -> Result<Pool, String> {
    let backends = if keys.contains("backends:") || keys.contains("discovery:") {
        ""
    } else {
        "backends: ['http://a:1'], "
    };
    let query = read(&format!("pools: [{{{backends}{keys}}}]\n"))?;
    assert_eq!(query.pools.len(), 1);
    Ok(Pool::clone(&query.pools[0]))
}

fn source(keys: &str) -> Source {
    let pool = pool(&format!("discovery: {{{keys}}}")).unwrap();
    assert_eq!(pool.sources.len(), 1);
    pool.sources.into_iter().next().unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn two_urls_are_a_pool() {
    let short = read("backends: [http://prom-a:9090, tunnel://pi:9090]\n").unwrap();
    let long = read("pools: [{backends: [{url: http://prom-a:9090}, {url: tunnel://pi:9090}]}]\n");
    assert_eq!(short, long.unwrap());
    let pool = &short.pools[0];
    assert_eq!(&*pool.name, "main");
    assert_eq!(
        pool.to_string(),
        "main: most-data of http://prom-a:9090, tunnel://pi:9090"
    );
    let defaults = Pool {
        sources: pool.sources.clone(),
        ..Pool::new("main")
    };
    assert_eq!(**pool, defaults);
    let flags = QueryFlags::new(
        true,
        &["http://prom-a:9090".into(), "tunnel://pi:9090".into()],
    );
    let typed = FileQuery::default().resolve(Path::new(""), &flags.unwrap(), MEMORY);
    assert_eq!(typed.unwrap(), short);
}

#[test]
fn every_key_of_a_pool() {
    let query = read(
        "pools:\n\
         - name: eu\n  hosts: [Prom.example, '[FD00:0::1]']\n  path_prefix: /prom/\n  \
           backends:\n  - http://a:9090\n  \
           - {url: 'https://b:9090/p', name: b, priority: 1, weight: 2, tls: {ca_file: ca.pem}, \
              basic_auth: {username: x, password_file: password}}\n  \
           selection_interval: 30s\n  strategy: min-history:2w\n  \
           most_data: {metric: stored-samples, hysteresis: 10%, hold: 2}\n  \
           affinity: [cookie, source-address, {header: X-Dashboard-Uid}, primary]\n  \
           cookie: {name: route, path: /x, max_age: 1d}\n  \
           source_address: {ipv4_prefix: 24, ipv6_prefix: 56}\n  \
           health: {interval: 1s, timeout: 500ms, rise: 1, fall: 4, ready_path: '', query: 'vector(1)', \
              max_staleness: 5m, warm_up: 0s, warm_up_targets: 80%, consecutive_failures: 5, \
              ejection: 1s, max_ejection: 1m, max_ejected: 0.25}\n  \
           retry: {attempts: 2, budget: 50%, header_timeout: 10s}\n  \
           hedge: {quantile: 99%, min: 100ms, max: 1s, budget: 0.1}\n  \
           allow: {write: true, unknown: false}\n  \
           request_body: 1MiB\n  response_hold: 64KiB\n  timeout: 1h 30m\n  backend_requests: 10\n  \
           discovery: {grace: 5m, tunnel: [{labels: {job: prometheus}, priority: 3}]}\n",
    )
    .unwrap();
    let pool = &query.pools[0];
    assert_eq!(pool.hosts, ["prom.example", "fd00::1"]);
    assert_eq!(pool.path_prefix, "/prom");
    let [Source::Static(a), Source::Static(b), Source::Tunnel(tunnel)] = &pool.sources[..] else {
        panic!("{:?}", pool.sources);
    };
    assert_eq!((a.name.as_deref(), a.manner.priority), (None, 0));
    assert_eq!(b.name.as_deref(), Some("b"));
    assert_eq!(b.manner.priority, 1);
    assert_eq!(Some(b.manner.weight), NonZero::new(2));
    assert!(b.manner.tls.ca_file.as_ref().unwrap().is_absolute());
    let Some(CredentialFile::Basic { username, .. }) = &b.manner.credentials else {
        panic!("{:?}", b.manner);
    };
    assert_eq!(username, "x");
    assert_eq!(tunnel.labels["job"], "prometheus");
    assert_eq!(tunnel.manner.priority, 3);
    let most = MostData {
        metric: DataMetric::StoredSamples,
        hysteresis: 0.1,
        hold: 2,
    };
    let two_weeks = seconds(14 * 86_400);
    assert_eq!(pool.strategy, Strategy::MinHistory(two_weeks, most));
    let cookie = Cookie {
        name: "route".into(),
        path: "/x".into(),
        max_age: Some(seconds(86_400)),
    };
    let affinity = [
        Affinity::Cookie(cookie),
        Affinity::SourceAddress {
            ipv4_prefix: 24,
            ipv6_prefix: 56,
        },
        Affinity::Header("x-dashboard-uid".parse().unwrap()),
        Affinity::Primary,
    ];
    assert_eq!(pool.affinity, affinity);
    let health = &pool.health;
    assert_eq!(
        (health.interval, health.timeout),
        (seconds(1), Duration::from_millis(500))
    );
    assert_eq!(
        (health.rise, health.fall, health.consecutive_failures),
        (1, 4, 5)
    );
    assert_eq!(
        (&*health.ready_path, health.query.as_deref()),
        ("", Some("vector(1)"))
    );
    assert_eq!(
        (health.max_staleness, health.warm_up),
        (seconds(300), seconds(0))
    );
    assert_eq!((health.warm_up_targets, health.max_ejected), (0.8, 0.25));
    assert_eq!(
        (health.ejection, health.max_ejection),
        (seconds(1), seconds(60))
    );
    assert_eq!((pool.retry.attempts, pool.retry.budget), (2, 0.5));
    assert_eq!(pool.retry.header_timeout, Some(seconds(10)));
    let hedge = pool.hedge.as_ref().unwrap();
    assert_eq!((hedge.quantile, hedge.budget), (0.99, 0.1));
    assert_eq!(
        (hedge.min, hedge.max),
        (Duration::from_millis(100), seconds(1))
    );
    let allow = Allow {
        write: true,
        unknown: false,
        ..Allow::default()
    };
    assert_eq!(pool.allow, allow);
    assert_eq!((pool.request_body, pool.response_hold), (1 << 20, 64 << 10));
    assert_eq!((pool.timeout, pool.grace), (seconds(5400), seconds(300)));
    assert_eq!(
        (pool.selection_interval, pool.backend_requests),
        (seconds(30), 10)
    );
}

#[test]
fn who_stays_with_whom_goes_with_the_strategy() {
    let primary = [Affinity::Primary];
    let whole = [Affinity::SourceAddress {
        ipv4_prefix: 32,
        ipv6_prefix: 64,
    }];
    for (strategy, affinity) in [
        ("most-data", &primary[..]),
        ("min-history:24h", &primary),
        ("first-available", &primary),
        ("random", &[]),
        ("round-robin", &[]),
        ("least-loaded", &[]),
        ("consistent-hash", &whole),
    ] {
        let pool = pool(&format!("strategy: '{strategy}'")).unwrap();
        assert_eq!(pool.affinity, affinity, "{strategy}");
        assert!(
            pool.to_string()
                .contains(strategy.split(':').next().unwrap())
        );
    }
    assert_eq!(pool("affinity: []").unwrap().affinity, []);
    let cookie = pool("affinity: [cookie]").unwrap().affinity;
    assert_eq!(cookie, [Affinity::Cookie(Cookie::default())]);
    for (keys, path) in [
        ("path_prefix: /eu/, affinity: [cookie]", "/eu"),
        (
            "path_prefix: /eu, affinity: [cookie], cookie: {path: /}",
            "/",
        ),
        (
            "path_prefix: /eu, affinity: [cookie], cookie: {name: x}",
            "/eu",
        ),
    ] {
        let pool = pool(keys).unwrap();
        let [Affinity::Cookie(cookie)] = &pool.affinity[..] else {
            panic!("{keys}: {:?}", pool.affinity);
        };
        assert_eq!(cookie.path, path, "{keys}");
    }
    let back = pool("strategy: first-available, fail_back: 0s").unwrap();
    let zero = Duration::ZERO;
    assert_eq!(back.strategy, Strategy::FirstAvailable { fail_back: zero });
    // That it is there turns it on.
    assert!(pool("hedge: {}").unwrap().hedge.is_some());
    assert!(pool("retry: {}").unwrap().hedge.is_none());
}

#[test]
fn a_file_is_read_as_its_name_says_unless_it_says_otherwise() {
    for (keys, format, refresh) in [
        ("path: endpoints.txt", FileFormat::Lines, 10),
        ("path: endpoints", FileFormat::Lines, 10),
        ("path: a.yml, refresh: 1m", FileFormat::FileSd, 60),
        ("path: a.yaml", FileFormat::FileSd, 10),
        ("path: '*.json'", FileFormat::FileSd, 10),
        ("path: a.json, format: lines", FileFormat::Lines, 10),
        ("path: a, format: file_sd", FileFormat::FileSd, 10),
    ] {
        let Source::File(file) = source(&format!("file: [{{{keys}}}]")) else {
            panic!("{keys}");
        };
        assert!(file.path.is_absolute(), "{keys}");
        assert_eq!(
            (file.format, file.refresh),
            (format, seconds(refresh)),
            "{keys}"
        );
    }
}

#[test]
fn names_are_looked_up() {
    let Source::Dns(dns) = source(
        "dns: [{name: prom.example., type: A, port: 9090, scheme: https, path_prefix: /p, \
         server: 127.0.0.1, refresh: 5s, tls: {server_name: x.example}, weight: 7}]",
    ) else {
        panic!();
    };
    assert_eq!((&*dns.name, dns.records), ("prom.example.", DnsRecords::A));
    assert_eq!((dns.port, dns.scheme), (9090, Scheme::Https));
    assert_eq!((&*dns.path_prefix, dns.refresh), ("/p", seconds(5)));
    assert_eq!(dns.server, Some(SocketAddr::from(([127, 0, 0, 1], 53))));
    assert_eq!(dns.manner.tls.server_name.as_deref(), Some("x.example"));
    assert_eq!(Some(dns.manner.weight), NonZero::new(7));
    for (keys, records, port) in [
        ("name: a, port: 1", DnsRecords::Addresses, 1),
        (
            "name: a, port: 1, type: addresses",
            DnsRecords::Addresses,
            1,
        ),
        ("name: a, port: 1, type: AAAA", DnsRecords::Aaaa, 1),
        ("name: _prometheus._tcp.a, type: SRV", DnsRecords::Srv, 0),
    ] {
        let Source::Dns(dns) = source(&format!("dns: [{{{keys}}}]")) else {
            panic!("{keys}");
        };
        assert_eq!((dns.records, dns.port), (records, port));
        assert_eq!((dns.scheme, dns.refresh), (Scheme::Http, seconds(30)));
    }
    let server = source("dns: [{name: a, port: 1, server: '[::1]:5353'}]").to_string();
    assert_eq!(server, "dns a:1");
}

#[test]
fn endpoints_and_clusters_are_asked() {
    let Source::Http(http) = source(
        "http: [{url: 'https://sd.example/x?y=1', authorization: {credentials_file: token}, \
         tls: {ca_file: ca.pem}, backend: {basic_auth: {username: x, password_file: password}}}]",
    ) else {
        panic!();
    };
    assert_eq!(
        (http.url.expose(), http.refresh),
        ("https://sd.example/x?y=1", seconds(60))
    );
    assert!(matches!(http.credentials, Some(CredentialFile::Bearer(_))));
    assert!(http.tls.ca_file.is_some() && http.manner.tls.ca_file.is_none());
    assert!(matches!(
        http.manner.credentials,
        Some(CredentialFile::Basic { .. })
    ));

    let Source::Kubernetes(service) = source("kubernetes: [{service: prometheus, port: web}]")
    else {
        panic!();
    };
    assert_eq!(
        service.select,
        KubernetesSelect::Service("prometheus".into())
    );
    assert_eq!(
        (&*service.namespace, service.port.as_deref()),
        ("default", Some("web"))
    );
    let Source::Kubernetes(pods) = source(
        "kubernetes: [{kubeconfig: /etc/kubeconfig, namespace: monitoring, \
         pod_selector: 'app=prometheus,!canary', port: 9090}]",
    ) else {
        panic!();
    };
    let selector = KubernetesSelect::Pods("app=prometheus,!canary".into());
    assert_eq!(
        (pods.select, pods.port.as_deref()),
        (selector, Some("9090"))
    );
    assert_eq!(pods.kubeconfig, Some("/etc/kubeconfig".into()));

    let Source::Marathon(marathon) = source(
        "marathon: [{urls: ['https://a/marathon', 'https://b/marathon'], apps: [/prometheus], \
         port: 1, principal_secret_file: /run/secret, auth_endpoint: 'https://c/login'}]",
    ) else {
        panic!();
    };
    assert_eq!(marathon.urls.len(), 2);
    let secret = PrincipalSecret::File(PathBuf::from("/run/secret"));
    assert_eq!(marathon.principal_secret, Some(secret));
    assert_eq!(marathon.auth_endpoint.as_deref(), Some("https://c/login"));
    assert_eq!(
        (marathon.port.as_deref(), marathon.refresh),
        (Some("1"), seconds(10))
    );
}

#[test]
fn whoever_answers_to_less_is_tried_first() {
    let query = read(
        "pools:\n\
         - {name: all, backends: ['http://a:1']}\n\
         - {name: below, path_prefix: /a, backends: ['http://a:1']}\n\
         - {name: further, path_prefix: /a/b, backends: ['http://a:1']}\n\
         - {name: host, hosts: [x], backends: ['http://a:1']}\n\
         - {name: both, hosts: [x, y], path_prefix: /a, backends: ['http://a:1']}\n",
    )
    .unwrap();
    let names: Vec<&str> = query.pools.iter().map(|pool| &*pool.name).collect();
    assert_eq!(names, ["both", "host", "further", "below", "all"]);
}
