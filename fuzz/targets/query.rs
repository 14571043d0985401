//! What the query side reads: requests, addresses and lists of backends, what backends say, mpp's flags.
//!
//! An input is a letter and what it is about: `Q` a method, a path, a query and a form, a line each; `B`
//! an address; `L` a list; `M` a page of metrics; `S` a backend's answer; `A` mpp's arguments, a line
//! each, and its variables as `NAME=VALUE`.
#![no_main]

use adit_proxy::fuzzing;
use http::Method;
use libfuzzer_sys::fuzz_target;

/// A password that no error may quote.
const MARK: &str = "s3cretMARKs3cret";

fuzz_target!(|data: &[u8]| {
    match data {
        [b'Q', rest @ ..] => request(rest),
        [b'B', rest @ ..] => address(rest),
        [b'L', rest @ ..] => list(rest),
        [b'M', rest @ ..] => metrics(rest),
        [b'S', rest @ ..] => drop(fuzzing::said(rest)),
        [b'A', rest @ ..] => arguments(rest),
        _ => {}
    }
});

fn request(bytes: &[u8]) {
    let mut lines = bytes.splitn(4, |byte| *byte == b'\n');
    let mut text = || lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let (Some(method), Some(path), Some(query)) = (text(), text(), text()) else {
        return;
    };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return;
    };
    let repeatable = fuzzing::is_repeatable(&method, path) == Some(true);
    assert!(!repeatable || method.is_safe() || method == Method::POST);
    if repeatable && !method.is_safe() {
        // However it is spelled, nothing that changes something is sent twice.
        let path = path.to_ascii_lowercase();
        for never in ["/-/quit", "/-/reload", "delete_series", "/admin/", "/write"] {
            assert!(
                !path.ends_with(never) && !path.contains("/tsdb/delete"),
                "{path}"
            );
        }
    }
    let form = lines.next();
    let (said, _) = fuzzing::params(Some(query), form);
    let most = query.len() + form.map_or(0, <[u8]>::len);
    // What is no UTF-8 takes three bytes each.
    assert!(said.is_none_or(|said| said.len() <= 3 * most));
}

/// An address is the same when it is read again as it is shown, and a password is nowhere.
fn address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match fuzzing::backend_url(text) {
        Ok(url) => {
            let shown = url.to_string();
            assert_eq!(fuzzing::backend_url(&shown).as_ref(), Ok(&url), "{shown:?}");
            assert!(!shown.contains('@'), "{shown:?}");
        }
        Err(error) => one_line(&error),
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return;
    };
    // Where it stands already, it may be a name's.
    if text.contains(MARK) {
        return;
    }
    let (before, after) = rest.split_at(rest.find(['/', '?', '#', ':']).unwrap_or(0));
    for user in [
        format!("{scheme}://{MARK}@{rest}"),
        format!("{scheme}://u:{MARK}@{rest}"),
        format!("{scheme}://u:{MARK}{before}@{after}"),
    ] {
        let shown = match fuzzing::backend_url(&user) {
            Ok(url) => format!("{url} {url:?}"),
            Err(error) => error,
        };
        assert!(!shown.contains(MARK), "{user:?}: {shown:?}");
    }
}

fn list(bytes: &[u8]) {
    for read in fuzzing::backends(bytes) {
        match read {
            Ok(urls) => {
                for url in urls {
                    let shown = url.to_string();
                    assert_eq!(fuzzing::backend_url(&shown), Ok(url), "{shown:?}");
                }
            }
            Err(error) => {
                assert!(error.starts_with(':'), "{error:?}");
                one_line(&error);
            }
        }
    }
    let both = [b"http://u:s3cretMARKs3cret@a:1/\n", bytes].concat();
    for error in fuzzing::backends(&both).into_iter().filter_map(Result::err) {
        let is_theirs = String::from_utf8_lossy(bytes).contains(MARK);
        assert!(is_theirs || !error.contains(MARK), "{error:?}");
    }
}

/// In whatever pieces it comes.
fn metrics(bytes: &[u8]) {
    let whole = fuzzing::exposition(&[bytes]);
    let half = bytes.split_at(bytes.len() / 2);
    assert_eq!(fuzzing::exposition(&[half.0, half.1]), whole);
    let each: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(fuzzing::exposition(&each), whole);
}

fn arguments(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let secret = ("MPP_MARATHON_PRINCIPAL_SECRET", MARK);
    let (mut flags, mut variables) = (vec!["--compat.mpp".to_owned()], vec![secret]);
    for line in text.lines() {
        match line.split_once('=') {
            Some((name, value)) if name.starts_with("MPP_") => variables.push((name, value)),
            _ => flags.push(line.to_owned()),
        }
    }
    let said = fuzzing::mpp(flags, &variables).unwrap_or_else(|error| error);
    assert!(text.contains(MARK) || !said.contains(MARK), "{said:?}");
}

/// As a log and a terminal need it.
fn one_line(error: &str) {
    assert!(!error.contains(char::is_control), "{error:?}");
}
