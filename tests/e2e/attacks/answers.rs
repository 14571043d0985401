//! Targets and clients whose answers are not what they seem: a scraper that keeps its connection never
//! gets one target's words as another's answer, nor a field nobody sent.

use adit_tests::hostile::HostileClient;
use adit_tests::hostile::frames::Say;
use adit_tests::pair::{Pair, Proxy};
use adit_tests::scraper::{self, Answer, Connection};
use adit_tests::target::answers::ok;
use adit_tests::target::{Request, Step, Target};
use adit_tests::tunnel::FakeClient;

/// Behind an answer, for whoever asks next.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX-Poison: 1\r\n\r\npoison 1\n";

/// Of a target over HTTP/1.1, with the status a scraper gets.
const ANSWERS: &[(&str, u16, &str)] = &[
    (
        "only LF",
        200,
        "HTTP/1.1 200 OK\nContent-Length: 4\n\nm 1\nPOISON",
    ),
    ("nothing but 100s", 504, "INTERIM"),
];

fn filled(text: &str) -> Vec<u8> {
    let interim = "HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n".repeat(20_000);
    let many: String = (0..3000).map(|n| format!("X-{n}: {n}\r\n")).collect();
    text.replace("POISON", POISON)
        .replace("LONG", &"x".repeat(100_000))
        .replace("INTERIM", &interim)
        .replace("HUGE", &"x".repeat(5 << 20))
        .replace("MANY", &many)
        .into_bytes()
}

/// A scrape that waits a second, which one of the rows lets pass.
fn hasty(uri: &str) -> String {
    scraper::request(uri, &[&scraper::timeout_field(1)])
}

/// One answer, with nothing in it that was smuggled; whether the connection goes on behind it.
fn check(what: &str, status: u16, answer: &Answer) -> bool {
    let raw = answer.head.raw.to_ascii_lowercase();
    assert_eq!(answer.head.status, status, "{what}: {raw:.300}");
    for field in [
        "x-poison",
        "set-cookie",
        "proxy-authenticate",
        "adit-fault",
        "x-interim",
    ] {
        assert_eq!(answer.head.field(field), None, "{what}: {raw:.300}");
    }
    let body = answer.text();
    let own = body.is_empty() || body.starts_with("m 1\n") || status >= 500;
    assert!(own || what.contains(OTHER), "{what}: {body:.300}");
    assert!(
        !body.contains("poison") || what.contains(OTHER),
        "{what}: {body:.300}"
    );
    !answer.is_cut()
}

/// Where the hostile bytes are the body itself.
const OTHER: &str = "another coding";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_target_speaks_for_nobody_else() {
    let good = Target::start(ok("good 1\n"));
    let hostile = Target::start(|request: &Request| {
        let n: usize = request.path()[1..].parse().unwrap();
        vec![Step::send(filled(ANSWERS[n].2)), Step::Next]
    });
    let pair = Pair::start(&[
        &format!("--target=pi:9100=http://{}", good.address()),
        &format!("--target=evil:9100=http://{}", hostile.address()),
    ])
    .await;
    for (n, (what, status, _)) in ANSWERS.iter().enumerate() {
        let mut connection = Connection::open(pair.proxy.address).await;
        // Twice: what it said behind its first answer is not its second.
        for _ in 0..2 {
            let answer = connection
                .exchange(hasty(&format!("http://evil:9100/{n}")))
                .await;
            if !check(what, *status, &answer) {
                connection = Connection::open(pair.proxy.address).await;
            }
        }
        let next = connection
            .exchange(scraper::request("http://pi:9100/metrics", &[]))
            .await;
        assert_eq!(next.expect(200).text(), "good 1\n", "{what}");
    }
    assert_eq!(good.requests().len(), ANSWERS.len());
}

/// A head with this status and more fields.
fn head(status: &str, fields: &[(&str, &str)]) -> Say {
    let mut all = vec![(":status", status)];
    all.extend(fields);
    Say::head(&all)
}

/// Of a client in HTTP/2, with the status a scraper gets.
fn lies() -> Vec<(&'static str, u16, Vec<Say>)> {
    let body = || Say::last("m 1\n");
    let one = |name, value| vec![head("200", &[(name, value)]), body()];
    let many: Vec<(String, &str)> = (0..2000).map(|n| (format!("x-{n}"), "v")).collect();
    let many: Vec<(&str, &str)> = many
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    let huge = |size| one("x-huge", "x".repeat(size).leak());
    vec![
        ("the truth", 200, vec![Say::ok(), body()]),
        ("less than the length", 200, one("content-length", "9")),
        (
            "more than the length",
            200,
            vec![head("200", &[("content-length", "4")]), Say::last(POISON)],
        ),
        (
            "two lengths",
            502,
            vec![
                head("200", &[("content-length", "4"), ("content-length", "99")]),
                body(),
            ],
        ),
        ("a list of lengths", 502, one("content-length", "4, 4")),
        ("a length that is none", 502, one("content-length", "four")),
        ("a length with a sign", 502, one("content-length", "+4")),
        ("chunks", 502, one("transfer-encoding", "chunked")),
        ("Connection", 502, one("connection", "close")),
        ("Upgrade", 502, one("upgrade", "x")),
        (
            "CR and LF in a value",
            502,
            one("x-a", "1\r\nSet-Cookie: a=b"),
        ),
        ("LF in a value", 502, one("x-a", "1\nSet-Cookie: a=b")),
        ("NUL in a value", 502, one("x-a", "a\0b")),
        ("a line in a name", 502, one("x\r\nset-cookie", "1")),
        ("a field in a name", 502, one("set-cookie: a=b\nx", "1")),
        ("capitals", 502, one("X-Upper", "1")),
        (
            "a line in the status",
            502,
            vec![head("200 OK\r\nSet-Cookie: a=b", &[]), body()],
        ),
        ("no status", 502, vec![Say::head(&[("x-a", "b")]), body()]),
        ("two statuses", 502, one(":status", "404")),
        ("000", 502, vec![head("000", &[]), body()]),
        ("99", 502, vec![head("99", &[]), body()]),
        ("999", 999, vec![head("999", &[]), body()]),
        ("101", 502, vec![head("101", &[]), Say::last(POISON)]),
        ("only 101", 502, vec![Say::end_with(&[(":status", "101")])]),
        ("only 100", 502, vec![Say::end_with(&[(":status", "100")])]),
        (
            "twenty thousand 100s",
            200,
            vec![head("100", &[]).times(20_000), Say::ok(), body()],
        ),
        (
            "103",
            200,
            vec![head("103", &[("set-cookie", "a=b")]), Say::ok(), body()],
        ),
        (
            "a body with 204",
            204,
            vec![head("204", &[]), Say::last(POISON)],
        ),
        (
            "a body with 304",
            304,
            vec![head("304", &[("content-length", "4")]), Say::last(POISON)],
        ),
        ("a request's field", 200, one(":path", "/x")),
        (
            "trailers that frame",
            200,
            vec![
                Say::ok(),
                Say::data("m 1\n"),
                Say::end_with(&[("content-length", "99"), ("set-cookie", "a=b")]),
            ],
        ),
        (
            "an answer in trailers",
            200,
            vec![
                Say::ok(),
                Say::data("m 1\n"),
                Say::end_with(&[("x", "a\r\n\r\nHTTP/1.1 200 OK")]),
            ],
        ),
        (
            "two heads",
            200,
            vec![
                Say::ok(),
                Say::data("m 1\n"),
                Say::ok(),
                Say::last("poison 1\n"),
            ],
        ),
        ("a body without a head", 502, vec![body()]),
        (
            "more behind the end",
            200,
            vec![Say::ok(), body(), Say::last(POISON), Say::ok()],
        ),
        ("2,000 fields", 200, vec![head("200", &many), body()]),
        ("a head of 1 MB", 200, huge(1 << 20)),
        ("a head of 6 MB", 502, huge(6 << 20)),
        (
            "a thousand empty pieces",
            200,
            vec![Say::ok(), Say::data("").times(1000), body()],
        ),
        (
            "a fault with markup",
            502,
            vec![Say::end_with(&[
                (":status", "200"),
                ("adit-fault", "x"),
                ("adit-reason", "<script>"),
            ])],
        ),
    ]
}

/// Lies behind a head that is good.
const BREAKS_BEHIND: [&str; 4] = [
    "an answer in trailers",
    "two heads",
    "more behind the end",
    // The 101st ends the connection.
    "a thousand empty pieces",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_client_speaks_for_nobody_else() {
    // Whose tunnel ended does not come back by itself.
    let proxy = Proxy::start(&["--scrape.reconnect-wait=0s"]).await;
    let good = FakeClient::register(proxy.address, r#"{"names":["pi"]}"#).await;
    good.accepted().await;
    for (n, (what, status, script)) in lies().into_iter().enumerate() {
        let line = format!("{{\"names\":[\"evil-{n}\"]}}");
        let evil = HostileClient::register(proxy.address, &[], &line, move |_| script.clone());
        let evil = evil.await;
        evil.accepted().await;
        let mut connection = Connection::open(proxy.address).await;
        let answer = connection
            .exchange(scraper::request(&format!("http://evil-{n}:9100/x"), &[]))
            .await;
        // Whether the stream or the tunnel is seen to end first is chance; so is whether a good head is
        // seen before the error behind it.
        let status = match answer.head.status {
            503 if status == 502 => 503,
            seen @ (502 | 503) if BREAKS_BEHIND.contains(&what) => seen,
            _ => status,
        };
        if !check(what, status, &answer) {
            connection = Connection::open(proxy.address).await;
        }
        let next = connection
            .exchange(scraper::request("http://pi:9100/metrics", &[]))
            .await;
        assert_eq!(next.expect(200).text(), "fake 1\n", "{what}");
    }
}
