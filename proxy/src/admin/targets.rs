//! What may be scraped here, for Prometheus' service discovery (`http_sd_configs`).
//!
//! Labels are what clients say of their own targets, and no more than that: none of them may lead a
//! Prometheus elsewhere, or make one target pass for another.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_common::registration::{Offered, Registration};
use adit_common::target::Scheme;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use http::header::{CONTENT_TYPE, HOST, HeaderMap};
use http::uri::Authority;
use http::{StatusCode, Uri};
use serde::Serialize;

use crate::Proxy;
use crate::auth::Caller;
use crate::config::external::ExternalUrl;
use crate::scrape::PATH_STYLE;

/// How the targets will be scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// With us as `proxy_url`.
    Proxy,
    /// At a path of ours, without any `proxy_url`.
    Path,
}

impl Style {
    fn asked(query: Option<&str>) -> Option<Self> {
        let mut pairs = query.unwrap_or_default().split('&');
        match pairs.find_map(|pair| pair.strip_prefix("style=")) {
            None | Some("proxy") => Some(Self::Proxy),
            Some("path") => Some(Self::Path),
            Some(_) => None,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Group {
    targets: [String; 1],
    labels: BTreeMap<String, String>,
}

pub(super) async fn targets(
    State(proxy): State<Arc<Proxy>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let Some(style) = Style::asked(uri.query()) else {
        let words = "expected /sd/targets?style=proxy or /sd/targets?style=path\n";
        return (StatusCode::BAD_REQUEST, words).into_response();
    };
    let place = match style {
        Style::Proxy => None,
        Style::Path => match ours(&proxy, &headers) {
            Some(url) => Some(url),
            None => {
                let words =
                    "the request does not say what we are called: give --web.external-url\n";
                return (StatusCode::BAD_REQUEST, words).into_response();
            }
        },
    };
    let offers = proxy.registry.offers();
    let mut groups = Vec::new();
    for (name, offer) in &offers {
        let targets = offer.targets.iter();
        let own = targets.filter(|offered| offered.target.name == *name);
        let shown = own.filter(|offered| caller.may_scrape(&offered.target).is_ok());
        groups.extend(shown.map(|offered| group(offer, offered, place.as_ref())));
    }
    // Prometheus takes exactly this type, or one with charset=utf-8.
    ([(CONTENT_TYPE, "application/json")], written(&groups)).into_response()
}

/// What one client offers, as if it had all of its names and everybody might scrape everything.
#[cfg(fuzzing)]
pub(crate) fn page(offer: &Registration, place: Option<&ExternalUrl>) -> Vec<u8> {
    let targets = offer.targets.iter();
    let groups: Vec<Group> = targets.map(|one| group(offer, one, place)).collect();
    written(&groups)
}

fn written(groups: &[Group]) -> Vec<u8> {
    // Texts and maps of them: serialising them cannot fail.
    let mut page = serde_json::to_vec(groups).unwrap_or_default();
    page.push(b'\n');
    page
}

/// What we are called by whoever asks, when nothing was configured.
fn ours(proxy: &Proxy, headers: &HeaderMap) -> Option<ExternalUrl> {
    if let Some(url) = &proxy.config.external_url {
        return Some(url.clone());
    }
    let authority: Authority = headers.get(HOST)?.to_str().ok()?.parse().ok()?;
    let is_tls = proxy.auth.web().current().tls.is_some();
    Some(ExternalUrl {
        scheme: if is_tls { Scheme::Https } else { Scheme::Http },
        authority,
        path: proxy.config.route_prefix.clone(),
    })
}

fn group(offer: &Registration, offered: &Offered, place: Option<&ExternalUrl>) -> Group {
    let target = offered.target.to_string();
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in offer.labels.iter().chain(&offered.labels) {
        if is_harmless(name) {
            labels.insert(name.clone(), value.clone());
        }
    }
    let said = offered
        .labels
        .get(METRICS_PATH)
        .or_else(|| offer.labels.get(METRICS_PATH));
    let path = said.filter(|path| is_path(path));
    // Whatever it says of itself, it is this one.
    labels.insert("instance".to_owned(), target.clone());
    let Some(place) = place else {
        if let Some(path) = path {
            labels.insert(METRICS_PATH.to_owned(), path.clone());
        }
        return Group {
            targets: [target],
            labels,
        };
    };
    let scheme = offered.scheme.unwrap_or(Scheme::Http).as_str();
    let path = path.map_or("/metrics", String::as_str);
    let path = format!("{}{PATH_STYLE}{scheme}/{target}{path}", place.path);
    labels.insert(METRICS_PATH.to_owned(), path);
    labels.insert("__scheme__".to_owned(), place.scheme.as_str().to_owned());
    Group {
        targets: [place.host_and_port()],
        labels,
    }
}

const METRICS_PATH: &str = "__metrics_path__";
/// What a Prometheus sends as `?x=` to a target.
const PARAM: &str = "__param_";

/// Whether a client may set this label of its target. Prometheus refuses a whole list for one name it
/// does not know; other names with two underscores lead a scrape elsewhere or change its pace.
fn is_harmless(name: &str) -> bool {
    let legal = |name: &str| {
        let mut bytes = name.bytes();
        let start = bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        start && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    legal(name) && (!name.starts_with("__") || name.strip_prefix(PARAM).is_some_and(legal))
}

/// Whether it is a path and stays below whatever it is put behind, also where a front proxy resolves
/// what looks like a step up.
fn is_path(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&b);
    let steps = |segment: &str| segment == "." || segment == "..";
    path.starts_with('/') && path.bytes().all(plain) && !path.split('/').any(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(labels: &[(&str, &str)], scheme: Option<Scheme>) -> Offered {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Offered {
            target: "pi:9100".parse().unwrap(),
            scheme,
            labels: labels.iter().map(owned).collect(),
        }
    }

    fn label<'a>(group: &'a Group, name: &str) -> Option<&'a str> {
        group.labels.get(name).map(String::as_str)
    }

    #[test]
    fn a_target_is_scraped_by_proxy_or_by_path() {
        let offer = Registration {
            labels: BTreeMap::from([("site".into(), "berlin".into()), ("job".into(), "a".into())]),
            ..Registration::default()
        };
        let pi = offered(
            &[("job", "b"), (METRICS_PATH, "/probe")],
            Some(Scheme::Https),
        );
        let by_proxy = group(&offer, &pi, None);
        assert_eq!(by_proxy.targets, ["pi:9100"]);
        assert_eq!(
            label(&by_proxy, "job"),
            Some("b"),
            "the target's own word counts"
        );
        assert_eq!(label(&by_proxy, "site"), Some("berlin"));
        assert_eq!(label(&by_proxy, METRICS_PATH), Some("/probe"));
        assert_eq!(label(&by_proxy, "__scheme__"), None);
        let url = "https://x.example/adit".parse().unwrap();
        let by_path = group(&offer, &pi, Some(&url));
        assert_eq!(by_path.targets, ["x.example:443"]);
        let path = label(&by_path, METRICS_PATH);
        assert_eq!(path, Some("/adit/scrape/https/pi:9100/probe"));
        assert_eq!(label(&by_path, "__scheme__"), Some("https"));
        assert_eq!(label(&by_path, "instance"), Some("pi:9100"));
    }

    #[test]
    fn a_client_leads_nobody_elsewhere() {
        let hostile = offered(
            &[
                ("__address__", "169.254.169.254:80"),
                ("__scheme__", "https"),
                ("__scrape_interval__", "1ms"),
                ("__param_match[]", "x"),
                ("__param_module", "fine"),
                ("instance", "nas:9100"),
                ("a-b", "x"),
                ("", "x"),
                (METRICS_PATH, "/../nas:9100/metrics"),
            ],
            None,
        );
        let url = "https://x.example".parse().unwrap();
        for place in [None, Some(&url)] {
            let group = group(&Registration::default(), &hostile, place);
            let mut names: Vec<&str> = group.labels.keys().map(String::as_str).collect();
            names.retain(|name| ![METRICS_PATH, "__scheme__"].contains(name));
            assert_eq!(names, ["__param_module", "instance"]);
            assert_eq!(label(&group, "instance"), Some("pi:9100"));
            let path = place.map(|_| "/scrape/http/pi:9100/metrics");
            assert_eq!(label(&group, METRICS_PATH), path);
        }
    }

    #[test]
    fn steps_up_are_no_path() {
        for path in ["/", "/metrics", "/a/..b/c.", "/probe:x@y"] {
            assert!(is_path(path), "{path}");
        }
        for path in [
            "",
            "metrics",
            "/..",
            "/a/../b",
            "/./a",
            "/%2e%2e/b",
            "/a?b",
            "/a#b",
            "/a\\b",
        ] {
            assert!(!is_path(path), "{path}");
        }
    }
}
