use super::*;

fn config(args: &[&str]) -> Result<Config, FlagError> {
    Config::from_args(args)
}

#[test]
fn without_flags_everything_is_on_the_loopback_pair() {
    let config = config(&[]).unwrap();
    assert_eq!(config.listen.len(), 1);
    assert_eq!(config.listen[0].0, Listen::LoopbackPair(8080));
    assert_eq!(config.listen[0].1.to_string(), "tunnel,scrape,web");
    assert_eq!(config.route_prefix, "");
}

#[test]
fn a_role_with_an_address_of_its_own_is_only_there() {
    let config = config(&[
        "--web.listen-address=127.0.0.1:1",
        "--tunnel.listen-address=[::1]:2",
        "--scrape.listen-address=unix:/run/adit",
        "--query.listen-address=127.0.0.1:3",
        "--query.backend=http://prom-a:9090",
    ])
    .unwrap();
    let roles: Vec<String> = config.listen.iter().map(|(_, r)| r.to_string()).collect();
    assert_eq!(roles, ["web", "tunnel", "scrape", "query"]);
}

#[test]
fn beyond_loopback_needs_a_word() {
    for address in [":8080", "0.0.0.0:8080", "[::]:1", "example.com:1"] {
        let flag = format!("--web.listen-address={address}");
        let error = config(&[&flag]).unwrap_err().to_string();
        assert!(error.contains("--allow-anonymous"), "{error}");
        assert!(config(&[&flag, "--allow-anonymous"]).is_ok(), "{address}");
    }
    let error = config(&["--tunnel.listen-address=:1"])
        .unwrap_err()
        .to_string();
    assert!(error.contains("--allow-anonymous"), "{error}");
}

#[test]
fn each_role_beyond_loopback_asks_in_its_own_way() {
    let folder = tempfile::tempdir().unwrap();
    let flag = |flag: &str, file: &str, text: &str| {
        let path = folder.path().join(file);
        std::fs::write(&path, text).unwrap();
        format!("--{flag}={}", path.display())
    };
    let token = flag("auth.token-file", "token", "s3cret");
    let hash = "$2y$04$qJzForUol1eJmZqAi7OVw.fBZbmBpqynVqN1MFLNBvSMgrsoJNT9W";
    let users = format!("basic_auth_users: {{prometheus: {hash}}}");
    let users = flag("web.config.file", "users.yml", &users);
    let headers = "http_server_config: {headers: {X-Frame-Options: deny}}";
    let headers = flag("web.config.file", "headers.yml", headers);
    let (web, tunnel, scrape) = (
        "--web.listen-address=:1",
        "--tunnel.listen-address=:2",
        "--scrape.listen-address=:3",
    );
    let (query, backend) = (
        "--query.listen-address=:4",
        "--query.backend=http://prom-a:9090",
    );
    for (args, way_out) in [
        (&[web][..], Some("--auth.token-file")),
        (&[web, &token], Some("--web.config.file")),
        (&[web, &token, &headers], Some("--web.config.file")),
        (&[web, &token, &users], None),
        // A user of the web configuration may be a client, too.
        (&[web, &users], None),
        (&[tunnel], Some("--auth.token-file")),
        (&[tunnel, &token], None),
        (&[scrape, &token], Some("--web.config.file")),
        (&[scrape, &users], None),
        (&[query, backend], Some("sends queries")),
        (&[query, backend, &token], Some("--web.config.file")),
        (&[query, backend, &headers], Some("--web.config.file")),
        (&[query, backend, &users], None),
    ] {
        match (config(args), way_out) {
            (Ok(_), None) => {}
            (Err(error), Some(way_out)) => {
                let error = error.to_string();
                assert!(error.contains(way_out), "{args:?}: {error}");
                assert!(error.contains("--allow-anonymous"), "{error}");
            }
            (got, _) => panic!("{args:?}: {got:?}"),
        }
    }
}

#[test]
fn rights_of_nobody_are_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.yml");
    std::fs::write(&path, "auth: {scrapers: [{user: prometheus}]}").unwrap();
    let error = config(&[&format!("--config.file={}", path.display())]);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("add it to basic_auth_users"), "{error}");
}

#[test]
fn route_prefix_has_one_form() {
    for (typed, meant) in [("/", ""), ("/adit", "/adit"), ("/a/b/", "/a/b")] {
        let flag = format!("--web.route-prefix={typed}");
        assert_eq!(config(&[&flag]).unwrap().route_prefix, meant);
    }
    for typed in ["adit", "/a b", "/a?b", "/ä"] {
        let flag = format!("--web.route-prefix={typed}");
        assert!(config(&[&flag]).is_err(), "{typed}");
    }
}

#[test]
fn wrong_flags_say_what_is_right() {
    for (args, says) in [
        (&["--web.listen-address=foo"][..], "HOST:PORT"),
        (&["--scrape.default-timeout=0s"], "above zero"),
        (&["--scrape.default-timeout=soon"], "like 15s"),
        (&["--scrape.default-timeout=10m"], "--scrape.max-timeout"),
        (&["--tunnel.ping-interval=10ms"], "minimum of 200ms"),
        (&["--tunnel.dead-after=15s"], "must be above"),
        (&["--scrape.defualt-timeout=1s"], "--scrape.default-timeout"),
    ] {
        let error = config(args).unwrap_err().to_string();
        assert!(error.contains(says), "{args:?}: {error}");
    }
}
