use http::Request;
use proptest::prelude::*;

use super::*;

const NO_ID: Uuid = Uuid::nil();

fn head(method: &str, uri: &str, fields: &[(&str, &[u8])]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn of<'a>(fqdn: &'a str, port: u16, head: &'a Parts, body: &'a [u8]) -> Instruction<'a> {
    Instruction {
        fqdn,
        port: (port != 0).then_some(port),
        head,
        body,
        id: NO_ID,
        timeout: Duration::from_millis(9800),
    }
}

fn written(instruction: &Instruction<'_>) -> String {
    String::from_utf8(instruction.write().unwrap()).unwrap()
}

fn first_line(fqdn: &str, port: u16, uri: &str) -> Result<String, Unwritable> {
    let head = head("GET", uri, &[]);
    let text = of(fqdn, port, &head, b"").write()?;
    let text = String::from_utf8(text).unwrap();
    Ok(text.lines().next().unwrap().to_owned())
}

#[test]
fn a_scrape_of_prometheus() {
    let head = head(
        "GET",
        "http://pi:9100/metrics",
        &[
            ("user-agent", b"Prometheus/2.42.0"),
            ("accept-encoding", b"gzip"),
            ("x-prometheus-scrape-timeout-seconds", b"10"),
        ],
    );
    assert_eq!(
        written(&of("pi", 9100, &head, b"")),
        "GET http://pi:9100/metrics HTTP/1.1\r\n\
         Host: pi:9100\r\n\
         User-Agent: Prometheus/2.42.0\r\n\
         Accept-Encoding: gzip\r\n\
         X-Prometheus-Scrape-Timeout-Seconds: 9.8\r\n\
         Id: 00000000-0000-0000-0000-000000000000\r\n\r\n"
    );
}

#[test]
fn the_name_is_the_clients_and_the_rest_is_the_scrapers() {
    for (fqdn, port, uri, line) in [
        (
            "Pi.Lan.",
            9100,
            "http://pi.lan:9100/m",
            "http://Pi.Lan.:9100/m",
        ),
        ("pi", 0, "http://pi/m", "http://pi/m"),
        (
            "fd00::1",
            9100,
            "http://[fd00::1]:9100/m",
            "http://[fd00::1]:9100/m",
        ),
        ("[fd00::1]", 0, "http://[fd00::1]/m", "http://[fd00::1]/m"),
        ("münchen", 1, "http://pi:1/m", "http://münchen:1/m"),
        ("pi", 1, "http://pi:1", "http://pi:1/"),
        ("pi", 1, "http://pi:1?a=b", "http://pi:1/?a=b"),
        (
            "pi",
            1,
            "http://pi:1//m/../%2a?b=%2A&a=%zz&&;=",
            "http://pi:1//m/../%2a?b=%2A&a=%zz&&;=",
        ),
        ("pi", 1, "http://pi:1/m?", "http://pi:1/m?"),
        ("pi", 1, "https://pi:1/m", "http://pi:1/m?_scheme=https"),
        ("pi", 1, "https://pi:1/m?", "http://pi:1/m?_scheme=https"),
        ("pi", 1, "HTTPS://pi:1?a", "http://pi:1/?_scheme=https&a"),
        (
            "pi",
            1,
            "https://pi:1/m?_scheme=http&a=1",
            "http://pi:1/m?_scheme=https&_scheme=http&a=1",
        ),
    ] {
        let line = format!("GET {line} HTTP/1.1");
        assert_eq!(first_line(fqdn, port, uri), Ok(line), "{uri}");
    }
}

#[test]
fn what_the_client_could_not_read_is_not_handed_out() {
    for path in ["%", "%2", "%zz", "a%2", "%2a%", "%\u{e9}a"] {
        let line = first_line("pi", 1, &format!("http://pi:1/{path}"));
        assert_eq!(line, Err(Unwritable::Path), "{path}");
    }
    for fqdn in [
        "",
        "a b",
        "a\r\nHost: b",
        "a/b",
        "u@a",
        "a%41",
        "a?",
        "a#",
        "\u{7f}",
    ] {
        let line = first_line(fqdn, 1, "http://pi:1/");
        assert_eq!(line, Err(Unwritable::Fqdn(fqdn.to_owned())), "{fqdn:?}");
    }
    let connect = head("CONNECT", "pi:1", &[]);
    let refused = of("pi", 1, &connect, b"").write();
    assert_eq!(refused, Err(Unwritable::Connect));
    let long = Unwritable::Fqdn("x y".repeat(22)[..64].to_owned());
    assert_eq!(first_line(&"x y".repeat(99), 1, "http://pi:1/"), Err(long));
}

#[test]
fn a_body_comes_with_its_length_and_only_where_it_arrives() {
    let fields: [(&str, &[u8]); 2] = [("content-length", b"99"), ("expect", b"100-continue")];
    let post = head("POST", "http://pi:1/q", &fields);
    let text = written(&of("pi", 1, &post, b"query=up"));
    assert!(text.ends_with("\r\n\r\nquery=up"), "{text}");
    assert!(text.contains("\r\nContent-Length: 8\r\n"), "{text}");
    assert!(!text.contains("Expect"), "{text}");
    let empty = written(&of("pi", 1, &post, b""));
    assert!(!empty.contains("Content-Length"), "{empty}");
    let frame = text.len() - b"query=up".len() + 3;
    let fits = vec![b'x'; MAX_WITH_BODY - frame];
    assert_eq!(
        of("pi", 1, &post, &fits).write().unwrap().len(),
        MAX_WITH_BODY
    );
    let over = vec![b'x'; fits.len() + 1];
    let refused = of("pi", 1, &post, &over).write();
    assert_eq!(refused, Err(Unwritable::TooLong(MAX_WITH_BODY + 1)));
    let wide = "/".repeat(2 * MAX_WITH_BODY);
    assert!(first_line("pi", 1, &format!("http://pi:1{wide}")).is_ok());
}

#[test]
fn fields_are_set_dropped_and_passed() {
    let head = head(
        "GET",
        "http://pi:1/",
        &[
            ("id", b"mine"),
            ("ID", b"mine too"),
            ("x-prometheus-scrape-timeout-seconds", b"10"),
            ("X-PROMETHEUS-SCRAPE-TIMEOUT-SECONDS", b"NaN"),
            ("host", b"elsewhere"),
            ("connection", b"close, x-hop"),
            ("x-hop", b"1"),
            ("transfer-encoding", b"chunked"),
            ("proxy-authorization", b"Basic cA=="),
            ("adit-timeout-ms", b"9800"),
            ("adit-token", b"s3cret"),
            ("x-a", b"1"),
            ("x-a", b"2"),
            ("x-raw", b"\xff\t\xc3\xa9"),
            ("x-empty", b""),
        ],
    );
    let text = of("pi", 1, &head, b"").write().unwrap();
    assert_eq!(
        parsed_fields(&text),
        [
            ("Accept-Encoding", &b"identity"[..]),
            ("Host", b"pi:1"),
            ("Id", NO_ID.to_string().as_bytes()),
            ("X-A", b"1"),
            ("X-A", b"2"),
            ("X-Empty", b""),
            ("X-Prometheus-Scrape-Timeout-Seconds", b"9.8"),
            ("X-Raw", b"\xff\t\xc3\xa9"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_vec()))
    );
}

#[test]
fn nobody_but_the_scraper_asks_for_gzip() {
    for (asked, passed) in [
        (None, "identity"),
        (Some(""), "identity"),
        (Some("gzip"), "gzip"),
        (Some("identity"), "identity"),
        (Some("zstd, gzip;q=0.5"), "zstd, gzip;q=0.5"),
    ] {
        let asked: Vec<(&str, &[u8])> = asked
            .iter()
            .map(|v| ("accept-encoding", v.as_bytes()))
            .collect();
        let head = head("GET", "http://pi:1/", &asked);
        let text = written(&of("pi", 1, &head, b""));
        let line = format!("\r\nAccept-Encoding: {passed}\r\n");
        assert!(text.contains(&line), "{text}");
        assert_eq!(text.matches("Accept-Encoding").count(), 1, "{text}");
    }
}

#[test]
fn the_time_left_is_a_number_go_reads() {
    for (timeout, said) in [
        (Duration::from_millis(9800), "9.8"),
        (Duration::from_secs(10), "10"),
        (Duration::from_nanos(2_998_999_999), "2.998"),
        (Duration::from_millis(290), "0.29"),
        (Duration::ZERO, "0.001"),
        (Duration::MAX, "4294967.295"),
    ] {
        assert_eq!(seconds(timeout).to_string(), said);
    }
}

/// Sorted by name; the order of values under one name stays.
fn parsed_fields(text: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    assert!(request.parse(text).unwrap().is_complete());
    let mut fields: Vec<_> = request
        .headers
        .iter()
        .map(|field| (field.name.to_owned(), field.value.to_vec()))
        .collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}

proptest! {
    #[test]
    fn it_parses_back_to_the_same(
        method in "[A-Z]{1,8}",
        path in "(/([a-z0-9._~!$&'()*+,;=:@\"{}|^-]|%[0-9A-Fa-f]{2}){0,10}){0,4}",
        query in proptest::option::of("[!$-;=?-~]{0,30}"),
        name in "x-[a-z0-9]{1,8}(-[a-z0-9]{1,4})?",
        value in proptest::collection::vec(
            prop_oneof![0x21_u8..=0x7e, 0x80_u8..=0xff], 1..40),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        id: u128,
        millis in 1_u32..10_000_000,
    ) {
        prop_assume!(method != "CONNECT");
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let uri = format!("http://pi:9100{path}{query}");
        let head = head(&method, &uri, &[(&name, &value)]);
        let instruction = Instruction {
            id: Uuid::from_u128(id),
            timeout: Duration::from_millis(u64::from(millis)),
            ..of("pi", 9100, &head, &body)
        };
        let text = instruction.write().unwrap();
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut fields);
        let length = request.parse(&text).unwrap().unwrap();
        prop_assert_eq!(request.method, Some(&*method));
        let slash = if path.is_empty() { "/" } else { "" };
        let target = format!("http://pi:9100{slash}{path}{query}");
        prop_assert_eq!(request.path, Some(&*target));
        prop_assert_eq!(&text[length..], &body[..]);
        let find = |name: &str| {
            let mut values = request.headers.iter().filter(|f| f.name.eq_ignore_ascii_case(name));
            let value = values.next().map(|f| f.value.to_vec());
            assert!(values.next().is_none(), "{name} twice");
            value
        };
        prop_assert_eq!(find(&name), Some(value));
        prop_assert_eq!(find("id"), Some(Uuid::from_u128(id).to_string().into_bytes()));
        let left = String::from_utf8(find(SCRAPE_TIMEOUT_HEADER).unwrap()).unwrap();
        let left: f64 = left.parse().unwrap();
        prop_assert!((left * 1000.0 - f64::from(millis)).abs() < 0.01, "{}", left);
        let length = (!body.is_empty()).then(|| body.len().to_string().into_bytes());
        prop_assert_eq!(find("content-length"), length);
    }

    #[test]
    fn nothing_anyone_writes_ends_a_line(fqdn in "\\PC{0,20}", uri in "\\PC{0,40}") {
        let Ok(uri) = format!("http://pi:1/{uri}").parse::<Uri>() else { return Ok(()) };
        let head = head("GET", &uri.to_string(), &[]);
        if let Ok(text) = of(&fqdn, 1, &head, b"").write() {
            let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
            // Line, Host, three fields, the empty line, and what is behind it.
            prop_assert_eq!(lines.len(), 7);
            prop_assert!(lines.iter().all(|line| line.is_empty() || line.ends_with(b"\r")));
            prop_assert_eq!(lines[0].iter().filter(|byte| **byte == b' ').count(), 2);
        }
    }
}
