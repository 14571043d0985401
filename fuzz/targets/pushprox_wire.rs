//! What crosses in the bodies of `/poll` and `/push`.
//!
//! An input is a letter and what it is about: `A` or `H`, a byte that chooses the pieces, and a push
//! that answers a GET or a HEAD; `R` and a scrape by lines: name, port or nothing, method, URI, fields,
//! an empty line and a body.
#![no_main]

use adit_proxy::fuzzing::{self, Pushed};
use http::{HeaderName, Method, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match data {
        [b'A', pieces, push @ ..] => pushed(*pieces, push, &Method::GET),
        [b'H', pieces, push @ ..] => pushed(*pieces, push, &Method::HEAD),
        [b'R', scrape @ ..] => {
            let _ = instruction(scrape);
        }
        _ => {}
    }
});

/// However it comes, it is the same.
fn pushed(seed: u8, push: &[u8], method: &Method) {
    let whole = fuzzing::pushed(&[push], false, method);
    let pieces = split(seed, push);
    assert_eq!(fuzzing::pushed(&pieces, false, method), whole);
    let measured = fuzzing::pushed(&[push], true, method);
    let both = fuzzing::pushed(&pieces, true, method);
    // Why a body is none may be known sooner.
    match (&whole, &measured, &both) {
        (Ok(whole), Ok(measured), Ok(both)) if whole.body.is_err() => {
            assert!(measured.body.is_err() && both.body.is_err());
        }
        _ => assert!(measured == whole && both == whole),
    }
    if let Ok(pushed) = whole {
        head(&pushed, push);
        body(&pushed, &push[pushed.length..]);
    }
}

/// One byte each, or pieces of up to sixteen.
fn split(seed: u8, bytes: &[u8]) -> Vec<&[u8]> {
    let (mut pieces, mut rest, mut seed) = (Vec::new(), bytes, u32::from(seed));
    while !rest.is_empty() {
        let length = match seed {
            0 => 1,
            _ => 1 + (seed >> 16) as usize % 16,
        };
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = behind;
        seed = seed
            .wrapping_mul(1_664_525)
            .wrapping_add(u32::from(seed != 0) * 1_013_904_223);
    }
    pieces
}

fn head(pushed: &Pushed, push: &[u8]) {
    assert!(push[..pushed.length].ends_with(b"\r\n\r\n"));
    for name in pushed.headers.keys() {
        let name = name.as_str();
        assert!(name != "id" && !name.starts_with("adit-"), "{name}");
    }
}

fn body(pushed: &Pushed, rest: &[u8]) {
    let (Ok(body), Some(framing)) = (&pushed.body, &pushed.framing) else {
        return;
    };
    match framing.as_str() {
        "Empty" => assert!(body.is_empty() && rest.is_empty()),
        "Chunked" => assert_eq!(dechunked(rest).as_ref(), Some(body)),
        _ => assert_eq!(body, rest),
    }
}

/// Another reading of a chunked body that is known to be whole.
fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(rest) else {
            return None;
        };
        if size == 0 {
            return rest[start..].ends_with(b"\r\n").then_some(body);
        }
        let (chunk, behind) = rest[start..].split_at_checked(size.try_into().ok()?)?;
        body.extend_from_slice(chunk);
        rest = behind.strip_prefix(b"\r\n")?;
    }
}

fn instruction(scrape: &[u8]) -> Option<()> {
    let mut lines = scrape.splitn(5, |byte| *byte == b'\n');
    let mut line = || std::str::from_utf8(lines.next()?).ok();
    let (fqdn, port) = (line()?, line()?.parse().ok());
    let mut request = Request::builder().method(line()?).uri(line()?);
    let mut rest = lines.next().unwrap_or_default();
    while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..at];
        rest = &rest[at + 1..];
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], &line[colon + 1..]);
    }
    let head = request.body(()).ok()?.into_parts().0;
    let text = fuzzing::instruction(fqdn, port, &head, rest)?;
    written(&text, fqdn, port, &head, rest);
    Some(())
}

/// One request, to that client, and nothing that anyone wrote ends a line.
fn written(text: &[u8], fqdn: &str, port: Option<u16>, head: &http::request::Parts, body: &[u8]) {
    // Half of the longest input; hyper takes no more than a hundred of a scraper.
    let mut fields = vec![httparse::EMPTY_HEADER; 4096];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = request.parse(text) else {
        panic!("no request: {:?}", String::from_utf8_lossy(text));
    };
    assert_eq!(&text[length..], body);
    let lines = text[..length].split(|byte| *byte == b'\n').count();
    // The request line, the empty one, and what is behind its end.
    assert_eq!(lines, request.headers.len() + 3);
    assert_eq!(request.method, Some(head.method.as_str()));
    let find = |name: &str| {
        let mut values = request
            .headers
            .iter()
            .filter(|f| f.name.eq_ignore_ascii_case(name));
        let value = values.next().map(|field| field.value);
        assert!(values.next().is_none(), "{name} twice");
        value
    };
    let brackets = fqdn.contains(':') && !fqdn.starts_with('[');
    let host = if brackets {
        format!("[{fqdn}]")
    } else {
        fqdn.to_owned()
    };
    let host = port.map_or(host.clone(), |port| format!("{host}:{port}"));
    assert_eq!(find("host"), Some(host.as_bytes()));
    assert_eq!(
        find("id"),
        Some(&b"00000000-0000-0000-0000-000000000000"[..])
    );
    assert_eq!(
        find("x-prometheus-scrape-timeout-seconds"),
        Some(&b"9.8"[..])
    );
    assert!(find("proxy-authorization").is_none() && find("transfer-encoding").is_none());
    assert!(find("content-length").is_none() == body.is_empty());
    let own =
        |name: &str| HeaderName::try_from(name).is_ok_and(|n| n.as_str().starts_with("adit-"));
    assert!(!request.headers.iter().any(|field| own(field.name)));
    let target = request.path.unwrap();
    let rest = target.strip_prefix(&format!("http://{host}")).unwrap();
    let passed = head.uri.path_and_query().map_or("", |rest| rest.as_str());
    if head.uri.scheme_str() != Some("https") {
        assert_eq!(
            rest.strip_prefix('/').unwrap(),
            passed.strip_prefix('/').unwrap_or(passed)
        );
    }
}
