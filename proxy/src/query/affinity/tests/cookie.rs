use std::time::Duration;

use http::header::COOKIE;

use super::*;

/// Case 34, M11: a backend below a path is a backend.
#[test]
fn a_browser_comes_back_to_who_served_it() {
    let names = [
        "http://10.0.0.1:9090/prometheus",
        "http://10.0.0.2:9090",
        "c",
    ];
    let pool = Pool::new(&[cookie()], &Strategy::Random, &names);
    for name in names {
        let pair = pool.cookie_of(name);
        for _ in 0..50 {
            let field = format!("a=1; {pair}; b=2");
            let got = pool.ask(&fields(&[("cookie", &field)]), None);
            assert_eq!((&*got.first, got.order.reason), (name, "cookie"));
            assert_eq!(got.outcomes, [("cookie", Became::Hit)]);
            assert_eq!(pool.affinities.cookie(&got.wish, name, false), None);
            // Somebody else had to serve it in the end.
            let set = pool.affinities.cookie(&got.wish, "other", false).unwrap();
            assert_ne!(set.to_str().unwrap().split(';').next(), Some(&*pair));
        }
    }
    let got = pool.ask(&HeaderMap::new(), None);
    assert_eq!(got.outcomes, [("cookie", Became::Miss)]);
    assert!(
        pool.affinities
            .cookie(&got.wish, &got.first, false)
            .is_some()
    );
}

/// Case 34.
#[test]
fn the_cookie_has_its_attributes_and_no_address() {
    let backend = "http://10.0.0.1:9090";
    let set = |max_age, https| {
        let affinity = Affinity::Cookie(Cookie {
            name: COOKIE_NAME.to_owned(),
            path: "/prometheus".to_owned(),
            max_age,
        });
        let affinities = Affinities::new(&[affinity]);
        let set = affinities.cookie(&Wish::default(), backend, https).unwrap();
        let (pair, attributes) = set.to_str().unwrap().split_once("; ").unwrap();
        let value = pair.strip_prefix("adit=").unwrap();
        assert_eq!(value.len(), 22);
        assert!(!value.contains("10.0.0.1") && !value.contains("9090"));
        (value.to_owned(), attributes.to_owned())
    };
    let (one, attributes) = set(None, false);
    assert_eq!(attributes, "Path=/prometheus; HttpOnly; SameSite=Lax");
    let (other, attributes) = set(Some(Duration::from_secs(3600)), true);
    assert_eq!(
        attributes,
        "Path=/prometheus; HttpOnly; SameSite=Lax; Secure; Max-Age=3600"
    );
    // Who knows all names cannot try them, either.
    assert_ne!(one, other);
    let debug = format!("{:?}", Affinities::new(&[cookie()]));
    assert!(debug.contains("Key { algorithm: SHA256 }"), "{debug}");
}

/// Case 34.
#[test]
fn what_we_have_not_made_is_no_cookie_of_ours() {
    let pool = Pool::new(&[cookie()], &Strategy::Random, &["a", "b"]);
    let pair = pool.cookie_of("a");
    let (name, value) = pair.split_once('=').unwrap();
    let mut tampered = value.to_owned();
    let last = if tampered.pop() == Some('A') {
        'B'
    } else {
        'A'
    };
    tampered.push(last);
    let stranger = Pool::new(&[cookie()], &Strategy::Random, &["a", "b"]).cookie_of("a");
    for field in [
        format!("{name}={tampered}"),
        format!("{name}={tampered}; {stranger}"),
        stranger,
        format!("{name}="),
        name.to_owned(),
        format!("{name}={value}{value}"),
        format!("{name}={}", "x".repeat(60_000)),
        format!("{name}=http://10.0.0.1:9090"),
        format!("{pair}; {pair}"),
        format!("{pair}; {}", pool.cookie_of("b")),
        format!("x{pair}"),
        format!("{name}x={value}"),
        format!("other=\"{pair}\""),
    ] {
        let got = pool.ask(&fields(&[("cookie", &field)]), None);
        assert_eq!(got.outcomes, [("cookie", Became::Miss)], "{field}");
        assert_eq!((got.order.reason, got.wish.pin), ("random", None));
        assert!(pool.affinities.cookie(&got.wish, "a", false).is_some());
    }
    let twice = fields(&[("cookie", &pair), ("cookie", &pair)]);
    assert_eq!(pool.ask(&twice, None).wish.pin, None);
    // Another pool's of the same host.
    for field in [
        format!("{name}={tampered}; {pair}"),
        format!("{pair}; {name}=x"),
    ] {
        let got = pool.ask(&fields(&[("cookie", &field)]), None);
        assert_eq!(got.wish.pin, Some(0), "{field}");
    }
    // As HTTP/2 splits them (RFC 9113, 8.2.3).
    let split = fields(&[("cookie", "x=y"), ("cookie", &pair)]);
    assert_eq!(pool.ask(&split, None).wish.pin, Some(0));
}

#[test]
fn a_backend_sees_all_cookies_but_ours() {
    let affinities = Affinities::new(&[cookie()]);
    for (before, after) in [
        (&["adit=1"][..], &[][..]),
        (&["a=1; adit=1; b=2"], &["a=1; b=2"]),
        (&["adit=1; b=2"], &["b=2"]),
        (&["a=1;adit=1"], &["a=1"]),
        (&["a=1", "adit=2", "b=3"], &["a=1", "b=3"]),
        (&["adit =1; adit= 2; c"], &["c"]),
        (
            &["xadit=1;  aditx=2 ; y=adit=3"],
            &["xadit=1;  aditx=2 ; y=adit=3"],
        ),
        (&["grafana_session=é; adit=1"], &["grafana_session=é"]),
    ] {
        let mut headers = HeaderMap::new();
        for value in before {
            headers.append(COOKIE, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        affinities.strip(&mut headers);
        let left: Vec<&[u8]> = headers
            .get_all(COOKIE)
            .iter()
            .map(|v| v.as_bytes())
            .collect();
        let after: Vec<&[u8]> = after.iter().map(|value| value.as_bytes()).collect();
        assert_eq!(left, after, "{before:?}");
    }
}
