//! Who comes, and what they get.

use super::super::house::{House, OPS, PROMETHEUS, TOKEN_7, TOKEN_8, TYPED, basic};

/// Somebody who asks for a tunnel, with these fields: status, words, and the reason in the metric.
pub(super) fn strangers() -> Vec<(&'static str, String, u16, &'static str)> {
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let field = |token: &str| format!("Adit-Token: {token}\r\n");
    let long = "x".repeat(60_000);
    vec![
        ("nothing", String::new(), 401, "missing"),
        ("a wrong token", bearer(TYPED), 401, "wrong"),
        ("a wrong token in our field", field(TYPED), 401, "wrong"),
        ("an empty token", "Adit-Token:\r\n".into(), 401, "wrong"),
        (
            "most of a token",
            bearer(&TOKEN_7[..TOKEN_7.len() - 1]),
            401,
            "wrong",
        ),
        (
            "a token and more",
            bearer(&format!("{TOKEN_7}0")),
            401,
            "wrong",
        ),
        (
            "a token in capitals",
            bearer(&TOKEN_7.to_uppercase()),
            401,
            "wrong",
        ),
        (
            "two tokens",
            format!("{}{}", bearer(TOKEN_7), bearer(TOKEN_8)),
            401,
            "wrong",
        ),
        (
            "no scheme",
            format!("Authorization: {TOKEN_7}\r\n"),
            401,
            "wrong",
        ),
        (
            "another scheme",
            format!("Authorization: Digest {TOKEN_7}\r\n"),
            401,
            "wrong",
        ),
        (
            "no Base64",
            "Authorization: Basic !!!!\r\n".into(),
            401,
            "wrong",
        ),
        (
            "no colon",
            "Authorization: Basic dXNlcg==\r\n".into(),
            401,
            "wrong",
        ),
        ("a long token", bearer(&long), 401, "wrong"),
        ("a long token in our field", field(&long), 401, "wrong"),
        (
            "for the proxy",
            basic("Proxy-Authorization", "old", OPS),
            401,
            "missing",
        ),
        (
            "a scraper",
            basic("Authorization", "prometheus", PROMETHEUS),
            401,
            "wrong",
        ),
        (
            "a wrong password",
            basic("Authorization", "old", TYPED),
            401,
            "wrong",
        ),
        (
            "the SHA-256",
            field("5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"),
            401,
            "wrong",
        ),
    ]
}

/// Somebody who scrapes, or looks at a page: request line, fields, status, reason.
pub(super) fn scrapers() -> Vec<(&'static str, &'static str, String, u16, &'static str)> {
    let proxy = |user: &str, password: &str| basic("Proxy-Authorization", user, password);
    let own = |user: &str, password: &str| basic("Authorization", user, password);
    let pi = "GET http://pi:9100/metrics";
    let (path, connect) = ("GET /scrape/http/pi:9100/metrics", "CONNECT pi:9100");
    let mut rows = vec![];
    for (what, make) in [
        ("nothing", None),
        ("a wrong password", Some(("prometheus", TYPED))),
        ("another's password", Some(("prometheus", OPS))),
        ("nobody", Some(("nobody", PROMETHEUS))),
        ("a user in capitals", Some(("Prometheus", PROMETHEUS))),
        ("no password", Some(("prometheus", ""))),
        ("no user", Some(("", PROMETHEUS))),
        ("a client's token", Some(("prometheus", TOKEN_7))),
        ("a client's user", Some(("old", OPS))),
        (
            "a password and NUL",
            Some(("prometheus", "pw-of-prometheus\0")),
        ),
    ] {
        let reason = if make.is_none() { "missing" } else { "wrong" };
        let fields = |field: &str| {
            make.map(|(user, password)| basic(field, user, password))
                .unwrap_or_default()
        };
        for line in [pi, connect] {
            rows.push((what, line, fields("Proxy-Authorization"), 407, reason));
        }
        for line in [
            path,
            "GET /metrics",
            "GET /-/healthy",
            "POST /-/reload",
            "GET /nowhere",
        ] {
            rows.push((what, line, fields("Authorization"), 401, reason));
        }
    }
    let good = ("prometheus", PROMETHEUS);
    rows.extend([
        ("the other field", pi, own(good.0, good.1), 407, "missing"),
        (
            "the other field",
            connect,
            own(good.0, good.1),
            407,
            "missing",
        ),
        (
            "the other field",
            path,
            proxy(good.0, good.1),
            401,
            "missing",
        ),
        (
            "the other field",
            "GET /metrics",
            proxy(good.0, good.1),
            401,
            "missing",
        ),
        ("twice", pi, proxy(good.0, good.1).repeat(2), 407, "wrong"),
        (
            "a token",
            pi,
            format!("Proxy-Authorization: Bearer {TOKEN_7}\r\n"),
            407,
            "wrong",
        ),
        (
            "a token",
            path,
            format!("Authorization: Bearer {TOKEN_7}\r\n"),
            401,
            "wrong",
        ),
    ]);
    // Good credentials, and not for that.
    for line in [
        "GET http://guest:9100/metrics",
        "GET http://pi:9101/metrics",
        "GET http://pi/metrics",
        "CONNECT guest:9100",
        "CONNECT pi:22",
        "GET http://PI:9101/metrics",
        "GET http://pi.:22/",
        "GET https://pi/metrics",
        "GET http://x.site-8:9100/metrics",
        "GET http://site-7:9100/metrics",
        "GET http://localhost:9100/metrics",
        "GET http://127.0.0.1:9100/metrics",
    ] {
        rows.push(("no right", line, proxy(good.0, good.1), 403, "forbidden"));
    }
    for line in [
        "GET /scrape/http/guest:9100/metrics",
        "GET /scrape/https/pi:443/metrics",
        "GET /metrics",
        "GET /clients",
        "POST /-/reload",
        "PUT /-/reload",
        "GET /metrics/",
        "GET /clients?x=/sd/targets",
        "GET //metrics",
        "GET /./metrics",
        "GET /%6detrics",
        "GET /METRICS",
        "GET /-/healthy/../../metrics",
        "GET /nowhere",
    ] {
        rows.push(("no right", line, own(good.0, good.1), 403, "forbidden"));
    }
    rows
}

/// With every right, by every way to ourselves there could be: nobody has such a name, or offers it.
pub(super) fn ways_to_ourselves(house: &House) -> Vec<(String, u16)> {
    let port = house.proxy.address.port();
    let web = house.client.web.port();
    let mut rows = vec![];
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "localhost.",
    ] {
        for port in [port, web] {
            rows.push((format!("GET http://{host}:{port}/metrics"), 502));
            rows.push((format!("CONNECT {host}:{port}"), 502));
        }
    }
    rows.extend([
        ("GET http://pi/metrics".into(), 403),
        ("GET http://pi:80/clients".into(), 403),
        (format!("GET http://pi:{web}/metrics"), 403),
        (format!("GET http://pi:{web}/-/ready"), 403),
        (format!("CONNECT pi:{web}"), 403),
        ("GET http://pi:9100:80/".into(), 400),
        ("GET http://client/metrics".into(), 502),
    ]);
    rows
}
