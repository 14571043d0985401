//! What is refused, and in which words.

use super::*;

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
        ("name: 'a b'", "query.pools[0].name: expected"),
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
