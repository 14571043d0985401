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
    let certificate = include_str!("../../../../../fuzz/named/cert.pem");
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
        (&*http.url, http.refresh),
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

#[test]
fn what_is_wrong_in_the_whole_is_named() {
    let one = "backends: ['http://a:1']";
    for (text, says) in [
        (
            "backends: [http://a:1]\npools: [{backends: [http://a:1]}]\n".to_owned(),
            "backends and pools exclude each other",
        ),
        (
            format!("pools: [{{{one}}}, {{name: b, {one}}}]\n"),
            "query.pools[0].name: is missing",
        ),
        (
            format!("pools: [{{name: b, {one}}}, {{name: b, path_prefix: /x, {one}}}]\n"),
            "two are called b",
        ),
        (
            format!("pools: [{{name: a, {one}}}, {{name: b, {one}}}]\n"),
            "a and b both answer to every host at /: ",
        ),
        (
            format!(
                "pools: [{{name: a, hosts: [x, y], path_prefix: /p, {one}}}, \
                 {{name: b, hosts: [Y], path_prefix: /p/, {one}}}]\n"
            ),
            "a and b both answer to y at /p: ",
        ),
        (
            "pools: [{name: b}]\n".to_owned(),
            "query.pools[b].backends: there are none",
        ),
        (
            String::new(),
            "--query.listen-address: there is no backend to ask",
        ),
        (
            "pool: []\n".to_owned(),
            ":1:1: unknown key \"pool\", did you mean \"pools\"?",
        ),
        (
            "backends: [http://a:1, 'http://A:1/']\n".to_owned(),
            "query.backends[1].url: http://a:1 stands here twice",
        ),
        (
            "backends: [a:9090]\n".to_owned(),
            ":1:12: expected http(s)://",
        ),
        (
            "backends: [{url: 'http://a:1', wieght: 1}]\n".to_owned(),
            ":1:32: unknown key \"wieght\", did you mean \"weight\"?",
        ),
        (
            "backends: [{name: a}]\n".to_owned(),
            "key \"url\" is missing",
        ),
        ("backends: [[]]\n".to_owned(), "or {url: URL}"),
    ] {
        let error = read(&text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
}

/// Keys of a pool, and what is said of them behind `query.pools[main].`, or by the parser.
#[test]
fn what_is_wrong_in_a_pool_is_named() {
    for (keys, says) in [
        ("name: 'a b'", "query.pools[a b].name: expected"),
        ("hosts: ['x:1']", "in brackets"),
        ("hosts: [x, X.]", "main].hosts: x stands here twice"),
        ("path_prefix: prom", "expected /PREFIX"),
        ("path_prefix: /a/../b", "without . or .."),
        (
            "backends: ['http://u:s3cret@a:1']",
            "main].backends[0].url: a password does not belong",
        ),
        (
            "backends: [{url: 'tunnel://a:1', tls: {server_name: x}}]",
            "main].backends[0].tls: through a tunnel the client",
        ),
        (
            "backends: [{url: 'tunnel://a:1', basic_auth: {username: x, password_file: p}}]",
            "main].backends[0].basic_auth: through a tunnel",
        ),
        (
            "backends: [{url: 'http://a:1', name: x}, {url: 'http://b:1', name: x}]",
            "main].backends[1].name: x is another one's",
        ),
        (
            "backends: [{url: 'http://a:1', name: 'ä'}]",
            "backends[0].name: expected up to",
        ),
        (
            "backends: [{url: 'http://a:1', weight: 0}]",
            "backends[0].weight: 0 is not between 1 and",
        ),
        (
            "backends: [{url: 'http://a:1', tls: {ca_file: no.pem}}]",
            "backends[0].tls: ",
        ),
        (
            "backends: [{url: 'http://a:1', authorization: {credentials_file: no}}]",
            "backends[0].authorization: ",
        ),
        (
            "backends: [{url: 'http://a:1', basic_auth: {username: x, password: s3cret}}]",
            "password_file",
        ),
        (
            "backends: [{url: 'http://a:1', authorization: {credentials_file: token}, \
             basic_auth: {username: x, password_file: password}}]",
            "exclude each other",
        ),
        (
            "selection_interval: 0s",
            "main].selection_interval: 0s is not between 100ms and 1h",
        ),
        ("strategy: best", "expected most-data, min-history:DURATION"),
        ("strategy: 'min-history:soon'", "as in min-history:24h"),
        ("strategy: 'min-history:0s'", "as in min-history:24h"),
        (
            "strategy: random, most_data: {hold: 1}",
            "main].most_data: is only for",
        ),
        ("most_data: {metric: samples}", "samples"),
        (
            "most_data: {hysteresis: 200%}",
            "main].most_data.hysteresis: 200% is not between 0% and 100%",
        ),
        ("most_data: {hysteresis: much}", "a share like 5%"),
        (
            "most_data: {hold: 0}",
            "main].most_data.hold: 0 is not between",
        ),
        ("fail_back: 1m", "main].fail_back: is only for"),
        (
            "affinity: [primary, primary]",
            "main].affinity: the same stands here twice",
        ),
        (
            "affinity: [{header: X-A}, {header: x-a}]",
            "the same stands here twice",
        ),
        ("affinity: [{header: 'a b'}]", "invalid HTTP header name"),
        ("affinity: [query]", "query"),
        (
            "affinity: [primary], strategy: consistent-hash",
            "main].affinity: consistent-hash needs a key",
        ),
        (
            "cookie: {name: x}",
            "main].cookie: is only for affinity cookie",
        ),
        (
            "affinity: [cookie], cookie: {name: 'a b'}",
            "main].cookie.name: expected",
        ),
        (
            "affinity: [cookie], cookie: {path: 'a;b'}",
            "main].cookie.path: expected",
        ),
        (
            "affinity: [cookie], cookie: {max_age: 0s}",
            "main].cookie.max_age: 0s is not between",
        ),
        ("source_address: {}", "main].source_address: is only for"),
        (
            "affinity: [source-address], source_address: {ipv4_prefix: 33}",
            "main].source_address.ipv4_prefix: 33 is not between 1 and 32",
        ),
        (
            "health: {interval: 1ms}",
            "main].health.interval: 1ms is not between 100ms and 10m",
        ),
        ("health: {interval: often}", "a duration like 10s"),
        ("health: {rise: 0}", "main].health.rise: 0 is not between 1"),
        (
            "health: {ready_path: ready}",
            "main].health.ready_path: expected a path",
        ),
        (
            "health: {query: ' '}",
            "main].health.query: expected PromQL",
        ),
        (
            "health: {warm_up_targets: 1.5}",
            "main].health.warm_up_targets: 150% is not between",
        ),
        (
            "health: {ejection: 10m}",
            "main].health.max_ejection: 5m is below health.ejection (10m)",
        ),
        ("health: {warmup: 1s}", "did you mean \"warm_up\"?"),
        (
            "retry: {attempts: 0}",
            "main].retry.attempts: 0 is not between 1 and 16",
        ),
        (
            "retry: {header_timeout: 0s}",
            "main].retry.header_timeout: 0s",
        ),
        (
            "hedge: {quantile: 100%}",
            "main].hedge.quantile: 100% is not between 50% and 99.9%",
        ),
        (
            "hedge: {min: 10s}",
            "main].hedge.max: 5s is below hedge.min (10s)",
        ),
        ("allow: [write]", "as in {write: true}"),
        ("allow: {writes: true}", "did you mean \"write\"?"),
        (
            "request_body: 257MiB",
            "main].request_body: 257MiB is above limits.query_memory (256MiB)",
        ),
        (
            "request_body: 2048MiB",
            "main].request_body: 2048MiB is not between 0MiB and 1024MiB",
        ),
        ("response_hold: 10MB", "a size like 64KiB"),
        ("timeout: 0s", "main].timeout: 0s is not between"),
        (
            "backend_requests: 0",
            "main].backend_requests: 0 is not between",
        ),
        (
            "discovery: {grace: 30d}",
            "main].discovery.grace: 30days is not between",
        ),
    ] {
        let error = pool(keys).unwrap_err();
        assert!(error.contains(says), "{keys}: {error}");
        assert!(!error.contains("s3cret"), "{keys}: {error}");
    }
}

#[test]
fn what_is_wrong_in_a_source_is_named() {
    for (keys, says) in [
        ("files: []", "did you mean \"file\"?"),
        ("file: [{format: lines}]", "key \"path\" is missing"),
        ("file: [{path: a, format: mpp}]", "mpp"),
        (
            "file: [{path: ''}]",
            "main].discovery.file[0].path: expected",
        ),
        (
            "file: [{path: a, refresh: 0s}]",
            "main].discovery.file[0].refresh: 0s is not between",
        ),
        (
            "file: [{path: a}, {path: a}]",
            "main].discovery.file[1]: stands here twice",
        ),
        (
            "dns: [{name: a}]",
            "main].discovery.dns[0].port: addresses have none",
        ),
        (
            "dns: [{name: a, type: SRV, port: 1}]",
            "main].discovery.dns[0].port: SRV records have",
        ),
        (
            "dns: [{name: a, port: 65536}]",
            "dns[0].port: 65536 is not between 1 and 65535",
        ),
        (
            "dns: [{name: 10.0.0.1, port: 1}]",
            "dns[0].name: an address is written among",
        ),
        (
            "dns: [{name: 'a b', port: 1}]",
            "dns[0].name: ' ' must not stand",
        ),
        ("dns: [{name: a, port: 1, type: MX}]", "MX"),
        (
            "dns: [{name: a, port: 1, server: ns.example}]",
            "expected IP or IP:PORT",
        ),
        (
            "http: [{url: 'http://u:s3cret@x'}]",
            "does not belong in this URL",
        ),
        ("http: [{url: x}]", "expected http(s)://"),
        (
            "http: [{url: 'http://x', tls: {ca_file: no}}]",
            "main].discovery.http[0].tls: ",
        ),
        (
            "http: [{url: 'http://x', backend: {tls: {ca_file: no}}}]",
            "main].discovery.http[0].backend.tls: ",
        ),
        (
            "kubernetes: [{port: web}]",
            "kubernetes[0].service: expected one of",
        ),
        (
            "kubernetes: [{service: a, pod_selector: b}]",
            "kubernetes[0].service: expected one of",
        ),
        (
            "kubernetes: [{service: 'a/b'}]",
            "kubernetes[0].service: expected lower case",
        ),
        (
            "kubernetes: [{service: a, namespace: ..}]",
            "kubernetes[0].namespace: expected lower",
        ),
        (
            "kubernetes: [{service: a, port: 70000}]",
            "kubernetes[0].port: expected a name",
        ),
        (
            "kubernetes: [{pod_selector: ' '}]",
            "kubernetes[0].pod_selector: expected a label",
        ),
        (
            "marathon: [{urls: [], apps: [a]}]",
            "marathon[0].urls: expected at least one",
        ),
        (
            "marathon: [{urls: ['http://a'], apps: [/]}]",
            "marathon[0].apps: expected ids",
        ),
        (
            "tunnel: [{labels: {}}]",
            "tunnel[0].labels: without any every target",
        ),
        ("tunnel: [{labels: {a: b}, tls: {}}]", "unknown key \"tls\""),
    ] {
        let error = pool(&format!("discovery: {{{keys}}}")).unwrap_err();
        assert!(error.contains(says), "{keys}: {error}");
        assert!(!error.contains("s3cret"), "{keys}: {error}");
    }
}

#[test]
fn flags_and_file_do_not_both_name_backends() {
    let flags = QueryFlags::new(true, &["http://a:1".to_owned()]).unwrap();
    for (text, says) in [
        (
            "backends: [http://b:1]\n",
            "--query.backend and query.backends of --config.file",
        ),
        (
            "pools: [{backends: [http://b:1]}]\n",
            "--query.backend and query.pools of --config.file",
        ),
    ] {
        let file: FileQuery = parse(text).unwrap();
        let error = file.resolve(Path::new(""), &flags, MEMORY).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn what_is_typed_wrong_is_named_without_a_password() {
    for (typed, says) in [
        (
            &["prom-a:9090"][..],
            "--query.backend \"prom-a:9090\": expected http(s)://",
        ),
        (
            &["http://u:s3cret@a"],
            "--query.backend: a user or password does not belong in a flag",
        ),
        (
            &["tunnel://u:s3cret@a:1"],
            "--query.backend: user information",
        ),
        (
            &["http://a", "http://a:80/"],
            "--query.backend: backends[1].url: http://a:80 stands here twice",
        ),
    ] {
        let typed: Vec<String> = typed.iter().map(|&url| url.to_owned()).collect();
        let read = QueryFlags::new(true, &typed)
            .and_then(|flags| FileQuery::default().resolve(Path::new(""), &flags, MEMORY));
        let error = read.unwrap_err();
        assert!(error.contains(says) && !error.contains("s3cret"), "{error}");
    }
    let deaf = QueryFlags::new(false, &["http://a:1".to_owned()]).unwrap();
    let error = FileQuery::default().resolve(Path::new(""), &deaf, MEMORY);
    let error = error.unwrap_err();
    assert!(
        error.starts_with("--query.backend: nobody could ask"),
        "{error}"
    );
    let file: FileQuery = parse("backends: [http://b:1]\n").unwrap();
    let error = file.resolve(Path::new(""), &QueryFlags::default(), MEMORY);
    let error = error.unwrap_err();
    assert!(error.contains("--query.listen-address=ADDR"), "{error}");
}
