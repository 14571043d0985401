//! Who is meant by the target of a request, in every form it may have.
#![no_main]

use adit_common::name::{MAX_NAME_LENGTH, Name};
use adit_common::target::{Scheme, Target};
use adit_proxy::fuzzing;
use http::Uri;
use libfuzzer_sys::fuzz_target;

/// PushProx' way to ask for TLS at the client.
const PARAMETER: &str = "_scheme=https";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        // hyper hands on what http takes for a URI, and that need not be UTF-8.
        let _ = Uri::try_from(data).map(|uri| forms(&uri));
        return;
    };
    name(text);
    for scheme in [None, Some(Scheme::Http), Some(Scheme::Https)] {
        if let Ok(parsed) = Target::parse(text, scheme) {
            target(&parsed);
        }
    }
    let Ok(uri) = text.parse::<Uri>() else {
        return;
    };
    forms(&uri);
    if let Some((passed, meant)) = fuzzing::absolute(&uri) {
        absolute(text, &uri, &passed, &meant);
    }
    for prefix in ["", "/adit"] {
        let rest = text.strip_prefix(prefix);
        let rest = rest.and_then(|rest| rest.strip_prefix("/scrape/"));
        if let (Some(rest), Some((passed, meant))) = (rest, fuzzing::path_style(&uri, prefix)) {
            path_style(rest, &passed, &meant);
        }
    }
});

/// All of them, whatever is meant.
fn forms(uri: &Uri) {
    for meant in [
        fuzzing::connect(uri),
        fuzzing::absolute(uri).map(|(_, meant)| meant),
        fuzzing::path_style(uri, "").map(|(_, meant)| meant),
        fuzzing::path_style(uri, "/a-longer-prefix").map(|(_, meant)| meant),
    ] {
        if let Some(meant) = meant {
            target(&meant);
        }
    }
}

fn name(text: &str) {
    let Ok(name) = Name::parse(text) else {
        return;
    };
    check(&name);
    assert_eq!(Name::try_from(String::from(name.clone())), Ok(name.clone()));
    if name.ip().is_none_or(|address| address.is_ipv4()) {
        assert_eq!(Name::parse(name.as_str()), Ok(name));
    }
}

fn check(name: &Name) {
    let text = name.as_str();
    assert!(
        !text.is_empty() && text.len() <= MAX_NAME_LENGTH,
        "{text:?}"
    );
    let is_strange = |c: char| {
        c.is_control() || c.is_whitespace() || c.is_ascii_uppercase() || "/@?#%[]\\\"<>".contains(c)
    };
    assert!(!text.contains(is_strange), "{text:?}");
    assert!(!text.starts_with('.') && !text.ends_with('.'), "{text:?}");
}

/// What parses is printed, and what is printed parses to the same.
fn target(target: &Target) {
    check(&target.name);
    assert_ne!(target.port, 0);
    let shown = target.to_string();
    assert_eq!(shown.parse::<Target>(), Ok(target.clone()), "{shown:?}");
    let written = serde_json::to_string(target).unwrap();
    assert_eq!(serde_json::from_str::<Target>(&written).unwrap(), *target);
}

/// `text` is a URI, `passed` what was made of it.
fn absolute(text: &str, uri: &Uri, passed: &Uri, meant: &Target) {
    let (_, rest) = text.split_once("://").unwrap();
    let rest = &rest[rest.find(['/', '?', '#']).unwrap_or(rest.len())..];
    // A fragment is never sent (RFC 9112 §3.2); http leaves it off.
    let rest = rest.split('#').next().unwrap_or_default();
    let (expected, is_tls) = without_parameter(rest);
    assert_eq!(rest_of(passed), expected, "{text:?}");
    let scheme = Scheme::parse(passed.scheme_str().unwrap()).unwrap();
    let written = Scheme::parse(uri.scheme_str().unwrap()).unwrap();
    assert_eq!(scheme, if is_tls { Scheme::Https } else { written });
    let authority = passed.authority().unwrap().as_str();
    assert_eq!(authority, uri.authority().unwrap().as_str());
    assert_eq!(Target::parse(authority, Some(scheme)).as_ref(), Ok(meant));
    if is_tls {
        return;
    }
    // The same by path, and by CONNECT.
    if let Ok(by_path) = format!("/scrape/{scheme}/{authority}{rest}").parse::<Uri>()
        && !authority.contains('%')
    {
        match fuzzing::path_style(&by_path, "") {
            Some((by_path, same)) => {
                assert_eq!((rest_of(&by_path), &same), (rest_of(passed), meant));
                assert_eq!(by_path.authority(), passed.authority());
            }
            None => assert!(!stays(passed.path()), "{text:?}"),
        }
    }
    if let Ok(by_connect) = authority.parse::<Uri>()
        && passed.port().is_some_and(|port| !port.as_str().is_empty())
    {
        assert_eq!(fuzzing::connect(&by_connect).as_ref(), Some(meant));
    }
}

/// `rest` stood behind `/scrape/`.
fn path_style(rest: &str, passed: &Uri, meant: &Target) {
    target(meant);
    let (scheme, rest) = rest.split_once('/').unwrap();
    assert_eq!(
        Scheme::parse(scheme),
        passed.scheme_str().and_then(Scheme::parse)
    );
    let rest = &rest[rest.find(['/', '?', '#']).unwrap_or(rest.len())..];
    let rest = rest.split('#').next().unwrap_or_default();
    assert_eq!(rest_of(passed), with_slash(rest));
    assert!(stays(passed.path()), "{passed}");
    assert_eq!(
        fuzzing::absolute(&without_tls(passed))
            .map(|(_, same)| same)
            .as_ref(),
        Some(meant)
    );
}

/// What a front proxy may take it for.
fn decoded(path: &str) -> String {
    let mut decoded = path.to_owned();
    for (encoded, plain) in [
        ("%2e", "."),
        ("%2E", "."),
        ("%2f", "/"),
        ("%2F", "/"),
        ("%5c", "\\"),
        ("%5C", "\\"),
        ("%3b", ";"),
        ("%3B", ";"),
    ] {
        decoded = decoded.replace(encoded, plain);
    }
    decoded
}

/// Whether a front proxy that resolves it is still at a target, wherever on the way it is; to some two
/// slashes are one, a backslash is a slash, or a semicolon ends a segment.
fn stays(path: &str) -> bool {
    let path = decoded(path);
    (0..8).all(|reading| {
        let [is_one, slashes, parameters] = [1, 2, 4].map(|bit| reading & bit != 0);
        let mut segments = vec!["scrape", "http", "pi:9100"];
        let mut pieces = path[1..].split(|c| c == '/' || (slashes && c == '\\'));
        pieces.all(|segment| {
            let segment = match parameters {
                true => segment.split(';').next().unwrap_or_default(),
                false => segment,
            };
            match segment {
                "" if is_one => {}
                "." => {}
                ".." => drop(segments.pop()),
                segment => segments.push(segment),
            }
            segments.starts_with(&["scrape", "http", "pi:9100"])
        })
    })
}

/// Path and query, byte for byte.
fn rest_of(uri: &Uri) -> String {
    uri.path_and_query()
        .map_or("", |rest| rest.as_str())
        .to_owned()
}

fn with_slash(rest: &str) -> String {
    match rest.starts_with('/') {
        true => rest.to_owned(),
        false => format!("/{rest}"),
    }
}

/// What has to pass of path and query, and whether the client is to speak TLS.
fn without_parameter(rest: &str) -> (String, bool) {
    let Some((path, query)) = rest.split_once('?') else {
        return (with_slash(rest), false);
    };
    let pairs = query.split('&');
    let kept: Vec<&str> = pairs.clone().filter(|pair| *pair != PARAMETER).collect();
    let is_tls = kept.len() < pairs.count();
    match kept.join("&") {
        query if is_tls && query.is_empty() => (with_slash(path), true),
        query => (with_slash(&format!("{path}?{query}")), is_tls),
    }
}

/// A path-style scrape says its scheme in the path: `_scheme` is the target's own there.
fn without_tls(uri: &Uri) -> Uri {
    let text = uri.to_string();
    let (before, _) = text.split_once('?').unwrap_or((&text, ""));
    before.parse().unwrap()
}
