//! The odd answers, each with what comes of it.

use std::time::Duration;

use adit_tests::target::Step;
use adit_tests::target::answers::gzip;

/// The body of every answer that is to arrive.
pub(super) const BODY: &str = "# TYPE odd gauge\nodd 1\n";

/// What comes of a shape through the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// 200 and the body.
    Whole,
    /// Some other answer of the target's, passed as it is.
    Passed(u16),
    /// 502: it is no answer.
    Refused,
    /// Begun and cut.
    Cut,
    /// 502, although Prometheus would take it: HTTP/2's own status line on HTTP/1.
    OursAlone,
}

pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) fate: Fate,
    pub(super) steps: Vec<Step>,
}

pub(super) fn all() -> Vec<Shape> {
    let groups = [
        status_lines(),
        fields(),
        lengths(),
        chunks(),
        encodings(),
        contents(),
        times(),
    ];
    groups.into_iter().flatten().collect()
}

fn shape(name: &'static str, fate: Fate, bytes: impl Into<Vec<u8>>) -> Shape {
    Shape {
        name,
        fate,
        steps: vec![Step::send(bytes)],
    }
}

/// A head of these lines, and the body. LENGTH is the right one's line.
fn with_head(lines: &[&str]) -> String {
    let length = format!("Content-Length: {}", BODY.len());
    let head = lines.join("\r\n").replace("LENGTH", &length);
    head + "\r\n\r\n" + BODY
}

fn whole(name: &'static str, lines: &[&str]) -> Shape {
    shape(name, Fate::Whole, with_head(lines))
}

const OK: &str = "HTTP/1.1 200 OK";

fn status_lines() -> Vec<Shape> {
    let refused = |name, bytes: String| shape(name, Fate::Refused, bytes);
    vec![
        whole("http-1.0", &["HTTP/1.0 200 OK", "LENGTH"]),
        whole("no-reason", &["HTTP/1.1 200", "LENGTH"]),
        whole("empty-reason", &["HTTP/1.1 200 ", "LENGTH"]),
        whole("odd-reason", &["HTTP/1.1 200 All is \"well\"", "LENGTH"]),
        whole("100-first", &["HTTP/1.1 100 Continue", "", OK, "LENGTH"]),
        whole(
            "103-first",
            &["HTTP/1.1 103 Early Hints", "Link: </x>", "", OK, "LENGTH"],
        ),
        shape(
            "http-2.0",
            Fate::OursAlone,
            with_head(&["HTTP/2.0 200 OK", "LENGTH"]),
        ),
        refused("icy", with_head(&["ICY 200 OK", "LENGTH"])),
        refused("lower-case", with_head(&["http/1.1 200 ok", "LENGTH"])),
        refused("no-head", BODY.into()),
        refused("nothing", String::new()),
        refused("half-a-head", "HTTP/1.1 200 OK\r\nContent-Le".into()),
    ]
}

fn fields() -> Vec<Shape> {
    let many: String = (0..150).map(|n| format!("X-Header-{n}: {n}\r\n")).collect();
    let large = format!("X-Large: {}", "x".repeat(1_000_000));
    let latin: Vec<u8> = with_head(&[OK, "LENGTH", "X-Town: M\u{1}nchen"])
        .bytes()
        .map(|byte| if byte == 1 { 0xfc } else { byte })
        .collect();
    vec![
        whole("folded-line", &[OK, "X-Folded: a", "  b", "\tc", "LENGTH"]),
        whole("space-before-colon", &[OK, "X-Odd : a", "LENGTH"]),
        whole("150-lines", &[OK, many.trim_end(), "LENGTH"]),
        whole("a-megabyte-line", &[OK, &large, "LENGTH"]),
        whole("control-byte", &[OK, "X-Bell: a\u{7}b", "LENGTH"]),
        shape("eight-bit", Fate::Whole, latin),
        shape(
            "bare-line-feeds",
            Fate::Whole,
            with_head(&[OK, "LENGTH"]).replace("\r\n", "\n"),
        ),
        whole("no-content-type", &[OK, "LENGTH"]),
        whole(
            "odd-content-type",
            &[OK, "Content-Type: text/html;;charset", "LENGTH"],
        ),
    ]
}

fn lengths() -> Vec<Shape> {
    let more = with_head(&[OK, "LENGTH"]) + "and more\n";
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nodd 1\n";
    vec![
        whole("until-close", &[OK]),
        whole(
            "http-1.0-until-close",
            &["HTTP/1.0 200 OK", "Connection: close"],
        ),
        whole("kept-and-no-length", &[OK, "Connection: keep-alive"]),
        whole("equal-lengths", &[OK, "LENGTH", "LENGTH"]),
        shape("more-than-the-length", Fate::Whole, more),
        shape("less-than-the-length", Fate::Cut, short),
        shape(
            "two-lengths",
            Fate::Refused,
            with_head(&[OK, "LENGTH", "Content-Length: 3"]),
        ),
        shape(
            "negative-length",
            Fate::Refused,
            with_head(&[OK, "Content-Length: -1"]),
        ),
        shape(
            "empty",
            Fate::Passed(200),
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        shape(
            "no-content",
            Fate::Passed(204),
            "HTTP/1.1 204 No Content\r\n\r\n",
        ),
    ]
}

/// The body as one chunk behind these lines, and what ends it.
fn chunked(lines: &str, extension: &str, end: &str) -> String {
    let size = BODY.len();
    format!("{OK}\r\n{lines}\r\n\r\n{size:x}{extension}\r\n{BODY}\r\n{end}")
}

fn chunks() -> Vec<Shape> {
    let plain = "Transfer-Encoding: chunked";
    let odd_case = "TRANSFER-ENCODING: Chunked";
    let with_length = "Transfer-Encoding: chunked\r\nContent-Length: 3";
    let whole = |name, bytes: String| shape(name, Fate::Whole, bytes);
    vec![
        whole(
            "chunk-extension",
            chunked(plain, ";a=\"b\"", "0;last\r\n\r\n"),
        ),
        whole("trailers", chunked(plain, "", "0\r\nX-Sum: 1\r\n\r\n")),
        whole("chunks-and-length", chunked(with_length, "", "0\r\n\r\n")),
        whole("odd-case-chunked", chunked(odd_case, "", "0\r\n\r\n")),
        shape("no-last-chunk", Fate::Cut, chunked(plain, "", "")),
        shape("bad-chunk-size", Fate::Cut, chunked(plain, "", "xyz\r\n")),
    ]
}

fn encodings() -> Vec<Shape> {
    let packed = gzip(BODY);
    let zipped = |end: usize| {
        let head = format!("{OK}\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n");
        [head.as_bytes(), &packed[..end]].concat()
    };
    vec![
        shape(
            "zipped-until-close",
            Fate::Passed(200),
            zipped(packed.len()),
        ),
        shape("half-zipped", Fate::Passed(200), zipped(packed.len() / 2)),
    ]
}

/// Nothing of these is ours: Prometheus shall see what it would see without us.
fn contents() -> Vec<Shape> {
    let passed = |name, body: &str| {
        shape(
            name,
            Fate::Passed(200),
            format!("HTTP/1.0 200 OK\r\n\r\n{body}"),
        )
    };
    let error = with_head(&["HTTP/1.1 500 Oh no", "LENGTH"]);
    let unauthorised = with_head(&["HTTP/1.1 401 No", "WWW-Authenticate: Basic", "LENGTH"]);
    vec![
        shape("error", Fate::Passed(500), error),
        shape("unauthorised", Fate::Passed(401), unauthorised),
        passed("nil", "odd nil\n"),
        passed("crlf", "# TYPE odd gauge\r\nodd 1\r\n"),
        passed("no-last-line-end", "odd 1"),
        passed("byte-order-mark", "\u{feff}odd 1\n"),
        passed("nul", "odd 1\n\0even 2\n"),
        passed("a-page", "<html>please log in</html>"),
    ]
}

fn times() -> Vec<Shape> {
    let slow = with_head(&[OK, "LENGTH"]);
    let pause = Step::Pause(Duration::from_millis(30));
    // As the exporter of a router does it, a command at a time.
    let lines = vec![
        Step::send("HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n# Collecting metrics...\n"),
        pause.clone(),
        Step::send("# TYPE odd gauge\n"),
        pause,
        Step::send("odd{} 1\n"),
    ];
    vec![
        Shape {
            name: "byte-by-byte",
            fate: Fate::Whole,
            steps: vec![Step::Trickle(slow.into(), Duration::from_millis(2))],
        },
        Shape {
            name: "line-by-line",
            fate: Fate::Passed(200),
            steps: lines,
        },
    ]
}
