use proptest::prelude::*;

use super::*;

const ID_TEXT: &str = "7f3c1d2e-0a4b-4c5d-8e6f-102030405060";

/// Every shape the released client writes, as Go 1.26 wrote them; and what is read.
const SHAPES: [(&str, u16, Framing); 17] = [
    (
        "HTTP/0.0 500 Internal Server Error\r\nId: *\r\n",
        500,
        Framing::ToEnd,
    ),
    (
        "HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\nId: *\r\n",
        200,
        Framing::ToEnd,
    ),
    (
        "HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: 4\r\nId: *\r\n",
        200,
        Framing::Length(4),
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nId: *\r\n",
        200,
        Framing::Length(4),
    ),
    (
        "HTTP/1.1 200 OK\r\nId: *\r\nContent-Length: 0\r\n",
        200,
        Framing::Length(0),
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\nId: *\r\n",
        200,
        Framing::Chunked,
    ),
    (
        "HTTP/1.1 200 OK\r\nConnection: close\r\nId: *\r\n",
        200,
        Framing::ToEnd,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nId: *\r\n",
        200,
        Framing::ToEnd,
    ),
    (
        "HTTP/1.1 304 Not Modified\r\nEtag: x\r\nId: *\r\n",
        304,
        Framing::Empty,
    ),
    ("HTTP/1.1 204 No Content\r\nId: *\r\n", 204, Framing::Empty),
    (
        "HTTP/1.1 101 Switching Protocols\r\nId: *\r\nUpgrade: x\r\n",
        101,
        Framing::Empty,
    ),
    ("HTTP/1.1 503 Odd words\r\nid: *\r\n", 503, Framing::ToEnd),
    ("HTTP/1.1 200 200\r\nID: *\r\n", 200, Framing::ToEnd),
    ("HTTP/1.1 299 \r\niD:*\r\n", 299, Framing::ToEnd),
    ("HTTP/1.1 299\r\nId:  \t* \r\n", 299, Framing::ToEnd),
    (
        "HTTP/2.0 200 OK\r\nContent-Length: 2\r\nId: *\r\n",
        200,
        Framing::Length(2),
    ),
    (
        "HTTP/0.0 200 OK\r\nConnection: close\r\nContent-Length: 2\r\nId: *\r\n",
        200,
        Framing::Length(2),
    ),
];

fn message(head: &str) -> String {
    format!("{head}X-Prometheus-Scrape-Timeout: 2.998000\r\n\r\n").replace('*', ID_TEXT)
}

fn read(bytes: &[u8]) -> Result<Option<Head>, Unreadable> {
    HeadReader::default().read(&mut bytes.into())
}

/// Fed in these pieces; with what is left behind the head.
fn read_in<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Result<Option<Head>, Unreadable>, Vec<u8>) {
    let (mut reader, mut buffer) = (HeadReader::default(), BytesMut::new());
    let mut read = Ok(None);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if read == Ok(None) {
            read = reader.read(&mut buffer);
        }
    }
    (read, buffer.to_vec())
}

fn why(head: &str) -> HeadError {
    read(head.as_bytes()).unwrap_err().why
}

fn framing_of(fields: &str) -> Result<Framing, HeadError> {
    let head = read(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes());
    head.unwrap().unwrap().framing(&Method::GET)
}

#[test]
fn every_shape_of_the_released_client_is_read() {
    for (head, status, framing) in SHAPES {
        let message = message(head);
        let whole = read(message.as_bytes()).unwrap().unwrap();
        assert_eq!(whole.id.unwrap().to_string(), ID_TEXT, "{head}");
        assert_eq!(whole.status.as_u16(), status, "{head}");
        assert_eq!(whole.framing(&Method::GET), Ok(framing), "{head}");
        assert_eq!(whole.own_error, head.starts_with("HTTP/0.0 500"), "{head}");
        assert_eq!(whole.length, message.len(), "{head}");
        assert!(!whole.headers.contains_key("id"), "{head}");
        let timeout = "x-prometheus-scrape-timeout";
        assert!(!whole.headers.contains_key(timeout), "{head}");
        let behind = message.clone() + "\r\n\r\n body";
        let (bytewise, left) = read_in(behind.as_bytes().chunks(1));
        assert_eq!(bytewise.unwrap().unwrap(), whole, "{head}");
        assert_eq!(left, b"\r\n\r\n body");
        for cut in 0..message.len() {
            assert_eq!(read(&message.as_bytes()[..cut]), Ok(None), "{head} {cut}");
        }
    }
}

#[test]
fn the_method_of_the_scrape_counts() {
    for (head, _, framing) in SHAPES {
        let head = read(message(head).as_bytes()).unwrap().unwrap();
        let expected = match head.own_error {
            true => framing,
            false => Framing::Empty,
        };
        assert_eq!(head.framing(&Method::HEAD), Ok(expected), "{head:?}");
        assert_eq!(head.framing(&Method::POST), Ok(framing), "{head:?}");
    }
}

#[test]
fn the_targets_fields_pass_and_ours_do_not() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nId: *\r\nid: mine\r\nX-Foo: a\r\nx-foo: b\r\n\
                X-Raw: \u{e9}\t x\r\nX-Empty:\r\nAdit-Fault: refused\r\nadit-token: t\r\n\
                X-Prometheus-Scrape-Timeout-Seconds: 9\r\nConnection: close\r\n";
    let head = read(message(head).as_bytes()).unwrap().unwrap();
    let mut fields: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    fields.sort_unstable();
    let expected: [(&str, &[u8]); 6] = [
        ("connection", b"close"),
        ("content-length", b"4"),
        ("x-empty", b""),
        ("x-foo", b"a"),
        ("x-foo", b"b"),
        ("x-raw", "\u{e9}\t x".as_bytes()),
    ];
    assert_eq!(fields, expected);
    assert_eq!(head.id.unwrap().to_string(), ID_TEXT);
}

#[test]
fn an_id_that_is_none_of_ours_is_none() {
    for fields in [
        "",
        "Id:\r\n",
        "Id: mine\r\n",
        "Id: mine\r\nId: *\r\n",
        "X-Id: *\r\n",
    ] {
        let head = message(&format!("HTTP/1.1 200 OK\r\n{fields}"));
        let head = read(head.as_bytes()).unwrap().unwrap();
        assert_eq!(head.id, None, "{fields:?}");
    }
}

#[test]
fn where_the_body_ends() {
    const TE: HeadError = HeadError::Malformed("its Transfer-Encoding");
    const CL: HeadError = HeadError::Malformed("its Content-Length");
    for (fields, framing) in [
        ("", Ok(Framing::ToEnd)),
        ("Content-Length: 0\r\n", Ok(Framing::Length(0))),
        (
            "Content-Length: 18446744073709551615\r\n",
            Ok(Framing::Length(u64::MAX)),
        ),
        (
            "Content-Length: 7\r\nContent-Length: 7\r\n",
            Ok(Framing::Length(7)),
        ),
        ("Content-Length: 7, 07\r\n", Ok(Framing::Length(7))),
        ("Content-Length: 7\r\nContent-Length: 8\r\n", Err(CL)),
        ("Content-Length: 7, 8\r\n", Err(CL)),
        ("Content-Length: 7,\r\n", Err(CL)),
        ("Content-Length:\r\n", Err(CL)),
        ("Content-Length: +7\r\n", Err(CL)),
        ("Content-Length: -7\r\n", Err(CL)),
        ("Content-Length: 0x7\r\n", Err(CL)),
        ("Content-Length: 7 7\r\n", Err(CL)),
        ("Content-Length: 18446744073709551616\r\n", Err(CL)),
        ("Transfer-Encoding: chunked\r\n", Ok(Framing::Chunked)),
        (
            "Transfer-Encoding: Chunked \r\nContent-Length: 7\r\n",
            Ok(Framing::Chunked),
        ),
        (
            "Content-Length: nonsense\r\nTransfer-Encoding: chunked\r\n",
            Ok(Framing::Chunked),
        ),
        ("Transfer-Encoding: gzip, chunked\r\n", Err(TE)),
        ("Transfer-Encoding: chunked, gzip\r\n", Err(TE)),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            Err(TE),
        ),
        ("Transfer-Encoding: identity\r\n", Err(TE)),
        ("Transfer-Encoding:\r\n", Err(TE)),
        ("Transfer-Encoding: chunked;q=1\r\n", Err(TE)),
    ] {
        assert_eq!(framing_of(fields), framing, "{fields}");
    }
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let old = read(old.as_bytes()).unwrap().unwrap();
    assert_eq!(old.framing(&Method::GET), Err(TE));
    assert_eq!(old.framing(&Method::HEAD), Ok(Framing::Empty));
}

#[test]
fn one_length_passes_at_most() {
    for (fields, passes) in [
        ("Content-Length: 7\r\nContent-Length: 7\r\n", vec!["7"]),
        ("Content-Length: 7\r\nContent-Length: 8\r\n", vec![]),
    ] {
        let head = format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n");
        let head = read(head.as_bytes()).unwrap().unwrap();
        let lengths: Vec<_> = head.headers.get_all(CONTENT_LENGTH).iter().collect();
        assert_eq!(lengths, passes, "{fields}");
    }
}

#[test]
fn what_is_no_head_says_why() {
    const LINE: HeadError = HeadError::Malformed("the status line");
    const FIELD: HeadError = HeadError::Malformed("a field");
    const END: HeadError = HeadError::Malformed("the end of a line");
    for (head, error) in [
        ("<html>\r\n\r\n", LINE),
        ("\r\n\r\n", LINE),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", LINE),
        (" HTTP/1.1 200 OK\r\n\r\n", LINE),
        ("http/1.1 200 OK\r\n\r\n", LINE),
        ("HTTP/1 200 OK\r\n\r\n", LINE),
        ("HTTP/1.x 200 OK\r\n\r\n", LINE),
        ("HTTP/11.1 200 OK\r\n\r\n", LINE),
        ("HTTP/1.1  200 OK\r\n\r\n", LINE),
        ("HTTP/1.1 20 OK\r\n\r\n", LINE),
        ("HTTP/1.1 2000 OK\r\n\r\n", LINE),
        ("HTTP/1.1 042 042 Low\r\n\r\n", LINE),
        ("HTTP/1.1 200 O\rK\r\n\r\n", LINE),
        ("HTTP/1.1 200\tOK\r\n\r\n", LINE),
        ("HTTP/1.1 200 OK\nId: *\r\n\r\n", END),
        ("\nHTTP/1.1 200 OK\r\n\r\n", END),
        ("HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n", END),
        ("HTTP/1.1 200 OK\r\nX: a\n\nid: b\r\n\r\n", END),
        ("HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n", FIELD),
        ("HTTP/1.1 200 OK\r\n X: a\r\n\r\n", FIELD),
        ("HTTP/1.1 200 OK\r\nX : a\r\n\r\n", FIELD),
        ("HTTP/1.1 200 OK\r\nX y: a\r\n\r\n", FIELD),
        ("HTTP/1.1 200 OK\r\nX\r\n\r\n", FIELD),
        ("HTTP/1.1 200 OK\r\n: a\r\n\r\n", FIELD),
        ("HTTP/1.1 200 OK\r\nX: a\u{1}\r\n\r\n", FIELD),
        ("HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", FIELD),
    ] {
        assert_eq!(why(head), error, "{head:?}");
    }
}

#[test]
fn an_unreadable_head_still_says_whose_it_is() {
    for (head, told) in [
        ("HTTP/1.1 042 Low\r\nA: b\r\niD: *\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nId:*\r\nX: a\r\n folded\r\n\r\n", true),
        ("HTTP/1.1 042 Low\r\nid: mine\r\nId: *\r\n\r\n", false),
        ("<html>\r\n\r\n", false),
    ] {
        let unreadable = read(head.replace('*', ID_TEXT).as_bytes()).unwrap_err();
        let id = unreadable.id.map(|id| id.to_string());
        assert_eq!(id.as_deref(), told.then_some(ID_TEXT), "{head:?}");
    }
    let started = format!("HTTP/1.1 200 OK\r\nId: {ID_TEXT}\r\nX");
    let ended = HeadReader::default().ended(started.as_bytes());
    assert_eq!(ended.why, HeadError::Ended);
    assert_eq!(ended.id.unwrap().to_string(), ID_TEXT);
}

#[test]
fn a_head_has_bounds() {
    let long = |room: usize| {
        let mut head = message("HTTP/1.1 200 OK\r\nId: *\r\nX: ").into_bytes();
        head.splice(
            head.len() - 4..head.len() - 4,
            vec![b'a'; room - head.len()],
        );
        head
    };
    let fits = long(MAX_HEAD);
    assert_eq!(read(&fits).unwrap().unwrap().length, MAX_HEAD);
    let over = long(MAX_HEAD + 1);
    let too_long = Err(Unreadable {
        id: Some(ID_TEXT.parse().unwrap()),
        why: HeadError::TooLong,
    });
    assert_eq!(read(&over), too_long);
    // No later than at the bound, and however it comes.
    assert_eq!(read(&over[..MAX_HEAD - 1]), Ok(None));
    assert_eq!(read(&over[..MAX_HEAD]), too_long);
    assert_eq!(read_in(over.chunks(1)).0, too_long);
    let many = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
    let fits = read(many(MAX_FIELDS).as_bytes()).unwrap().unwrap();
    assert_eq!(fits.headers.len(), MAX_FIELDS);
    assert_eq!(why(&many(MAX_FIELDS + 1)), HeadError::TooManyFields);
}

/// Something like a head, mostly.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let text = "(HTTP/[0-2]\\.[0-2] [0-9]{3}( [ -~]{0,9})?|[ -~]{0,20})\r\n\
                ((Id|Content-Length|Transfer-Encoding|X-[a-z]|[ -~]{0,4}):[ -~]{0,12}(\r\n|\n|\r\n ))*\
                (\r\n)?[ -~]{0,9}";
    prop_oneof![
        4 => proptest::string::string_regex(text).unwrap().prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..60),
    ]
}

proptest! {
    #[test]
    fn nothing_panics_and_the_pieces_do_not_matter(
        bytes in heads(),
        cuts in proptest::collection::vec(0..80_usize, 0..6),
    ) {
        let (whole, left) = read_in(std::iter::once(&bytes[..]));
        prop_assert_eq!(&read_in(bytes.chunks(1)).0, &whole);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
        prop_assert_eq!(read_in(pieces), (whole.clone(), left));
        if let Ok(Some(head)) = whole {
            for method in [Method::GET, Method::HEAD] {
                let _ = head.framing(&method);
            }
        }
    }
}
