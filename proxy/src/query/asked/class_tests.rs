use super::*;

const NOTHING: Allow = Allow {
    write: false,
    admin: false,
    lifecycle: false,
    debug: false,
    unknown: false,
};
const EVERYTHING: Allow = Allow {
    write: true,
    admin: true,
    lifecycle: true,
    debug: true,
    unknown: true,
};

fn class(method: &str, path: &str, allow: &Allow) -> Result<Class, Refusal> {
    classify(&method.parse().unwrap(), path, allow)
}

/// What the tests of a path say: kind, retry, hedge, hold, deadline.
fn said(class: Class) -> (Kind, [bool; 4]) {
    let Class {
        kind,
        retry,
        hedge,
        hold,
        deadline,
    } = class;
    (kind, [retry, hedge, hold, deadline])
}

const YES: bool = true;
const NO: bool = false;

/// §3.1 of the facts, row by row: paths, methods, and what may be done.
type Rows = (&'static [&'static str], &'static str, Kind, [bool; 4]);
const READS: &[Rows] = &[
    (
        &[
            "/api/v1/query",
            "/api/v1/query_range",
            "/api/v1/labels",
            "/api/v1/series",
        ],
        "GET HEAD POST OPTIONS",
        Kind::Read,
        [YES, YES, YES, YES],
    ),
    (
        &[
            "/api/v1/query_exemplars",
            "/api/v1/format_query",
            "/api/v1/parse_query",
            "/api/v1/search/metric_names",
            "/api/v1/search/label_names",
            "/api/v1/search/label_values",
        ],
        "GET HEAD POST OPTIONS",
        Kind::Read,
        [YES, NO, YES, YES],
    ),
    (
        &[
            "/api/v1/label/__name__/values",
            "/api/v1/label/U__a_2e_b/values",
        ],
        "GET HEAD OPTIONS",
        Kind::Read,
        [YES, YES, YES, YES],
    ),
    (
        &[
            "/api/v1/metadata",
            "/api/v1/targets",
            "/api/v1/targets/metadata",
            "/api/v1/targets/relabel_steps",
            "/api/v1/scrape_pools",
            "/api/v1/rules",
            "/api/v1/alerts",
            "/api/v1/alertmanagers",
            "/api/v1/status/config",
            "/api/v1/status/flags",
            "/api/v1/status/runtimeinfo",
            "/api/v1/status/buildinfo",
            "/api/v1/status/tsdb",
            "/api/v1/status/tsdb/blocks",
            "/api/v1/status/walreplay",
            "/api/v1/status/self_metrics",
            "/api/v1/features",
            "/api/v1/notifications",
        ],
        "GET HEAD OPTIONS",
        Kind::Read,
        [YES, NO, YES, YES],
    ),
    (
        &["/api/v1/read"],
        "POST OPTIONS",
        Kind::RemoteRead,
        [YES, NO, YES, YES],
    ),
    (
        &["/federate"],
        "GET HEAD OPTIONS",
        Kind::Federate,
        [YES, NO, YES, YES],
    ),
    (
        &["/api/v1/notifications/live"],
        "GET HEAD OPTIONS",
        Kind::Stream,
        [YES, NO, NO, NO],
    ),
    (
        &[
            "/",
            "/graph",
            "/query",
            "/agent",
            "/alerts",
            "/targets",
            "/assets/index-4f2a.js",
            "/static/js/main.js",
            "/classic/static/img/favicon.ico",
            "/consoles/node.html",
            "/manifest.json",
            "/version",
        ],
        "GET HEAD OPTIONS",
        Kind::Ui,
        [YES, NO, YES, YES],
    ),
];

const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE",
];

#[test]
fn every_read_of_prometheus_is_known_with_its_methods() {
    for (paths, methods, kind, may) in READS {
        for path in *paths {
            for method in METHODS {
                let class = class(method, path, &NOTHING);
                if methods.split(' ').any(|known| known == method) {
                    assert_eq!(said(class.unwrap()), (*kind, *may), "{method} {path}");
                } else if (method, *path) == ("DELETE", "/api/v1/series") {
                    // Prometheus 1's way to delete.
                    assert!(matches!(class, Err(Refusal::Denied { key: "admin", .. })));
                } else {
                    let allowed = match class.unwrap_err() {
                        Refusal::Method { what, allowed } if what == *path => allowed,
                        other => panic!("{method} {path}: {other:?}"),
                    };
                    assert_eq!(allowed, methods.replace(' ', ", "), "{method} {path}");
                }
            }
        }
    }
}

const REFUSED: &[(&str, &[&str], Kind)] = &[
    (
        "write",
        &["/api/v1/write", "/api/v1/otlp/v1/metrics"],
        Kind::Write,
    ),
    (
        "admin",
        &[
            "/api/v1/admin/tsdb/delete_series",
            "/api/v1/admin/tsdb/clean_tombstones",
            "/api/v1/admin/tsdb/snapshot",
            "/api/v2/admin/tsdb/delete_series",
        ],
        Kind::Admin,
    ),
    ("lifecycle", &["/-/reload", "/-/quit"], Kind::Lifecycle),
    (
        "debug",
        &["/debug", "/debug/pprof/", "/debug/pprof/profile", "/heap"],
        Kind::Debug,
    ),
];

/// One of them allowed.
fn only(key: &str) -> Allow {
    Allow {
        write: key == "write",
        admin: key == "admin",
        lifecycle: key == "lifecycle",
        debug: key == "debug",
        unknown: key == "unknown",
    }
}

/// Case 26, the refusals: whatever the method, and by no key but its own.
#[test]
fn what_changes_something_is_refused_unless_its_key_is_there() {
    for (key, paths, kind) in REFUSED {
        for path in *paths {
            for method in METHODS {
                for other in ["", "write", "admin", "lifecycle", "debug", "unknown"] {
                    let class = class(method, path, &only(other));
                    if other == *key {
                        let once = [NO, NO, NO, YES];
                        assert_eq!(said(class.unwrap()), (*kind, once), "{method} {path}");
                    } else {
                        let what = format!("{method} {path}");
                        assert_eq!(class, Err(Refusal::Denied { what, key }));
                    }
                }
            }
        }
    }
}

/// Nothing that is refused gets through by another spelling, whether Go would see through it or
/// something between us and Go.
#[test]
fn no_other_spelling_gets_past_a_refusal() {
    let most = Allow::default();
    let mut tried = 0;
    for (key, paths, _) in REFUSED {
        for path in *paths {
            let encoded: String = path.bytes().fold(String::new(), |text, byte| match byte {
                b'/' => text + "/",
                other => text + &format!("%{other:02x}"),
            });
            let denied = [
                encoded,
                path.to_uppercase(),
                path.replace('/', "//"),
                format!("{path}/"),
                format!("/prometheus{path}"),
                format!("/a/b/c{path}/"),
            ];
            for spelling in denied {
                let class = class("POST", &spelling, &most);
                let this =
                    matches!(&class, Err(Refusal::Denied { key: named, .. }) if named == key);
                assert!(this, "{spelling}: {class:?}");
                tried += 1;
            }
            let odd = [
                format!("/x/..{path}"),
                format!("/.{path}"),
                format!("/api/v1/../..{path}"),
                format!("/x/%2e%2e{path}"),
                format!("/{}", path[1..].replace('/', "%2f")),
                format!("{path}%2f"),
                format!("/..%2f{path}"),
                path.replace('/', "\\"),
                path.replacen('/', "/%5c", 1),
                format!("{path};x"),
                format!("{path}%3fx"),
                format!("/%25{:02x}{}", path.as_bytes()[1], &path[2..]),
                path[1..].to_owned(),
            ];
            for spelling in odd {
                // Without a slash inside, the first of these are the path itself.
                if spelling == *path {
                    continue;
                }
                let class = class("POST", &spelling, &EVERYTHING);
                let this = matches!(class, Err(Refusal::BadPath(_)));
                assert!(this, "{spelling}: {class:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 150, "{tried}");
}

#[test]
fn a_read_is_a_read_in_every_spelling() {
    for path in [
        "/api/v1//query",
        "/api/v1/query/",
        "/api/v1/%71uery",
        "//api/v1/query",
    ] {
        let class = class("POST", path, &NOTHING).unwrap();
        assert_eq!(class, CHEAP, "{path}");
    }
    for path in ["/api/v1/../../-/quit", "/x/../-/quit"] {
        assert!(matches!(
            class("GET", path, &EVERYTHING),
            Err(Refusal::BadPath(_))
        ));
    }
}

#[test]
fn a_path_that_nobody_knows_goes_out_once_or_not_at_all() {
    for method in METHODS {
        for path in [
            "/prometheus/api/v1/query",
            "/api/v1/queries",
            "/api/v1/query/x",
            "/api/v1/label/a/b/values",
            "/graphs",
            "/-/",
            "/quit",
        ] {
            let once = (Kind::Unknown, [NO, NO, NO, YES]);
            assert_eq!(
                said(class(method, path, &Allow::default()).unwrap()),
                once,
                "{method} {path}"
            );
            let refused = class(method, path, &NOTHING);
            assert!(matches!(
                refused,
                Err(Refusal::Denied { key: "unknown", .. })
            ));
        }
    }
}

#[test]
fn a_long_path_is_not_repeated_whole() {
    let path = format!("/-/quit{}", "/".repeat(60_000));
    let Err(Refusal::Denied { what, .. }) = class("POST", &path, &NOTHING) else {
        panic!("not denied");
    };
    assert!(what.len() < 300, "{what}");
}
