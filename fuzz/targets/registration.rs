//! What a client offers, and what service discovery says of it.
#![no_main]

use std::sync::LazyLock;

use adit_common::registration::{
    MAX_LABELS, MAX_LINE, MAX_NAMES, MAX_TARGETS, Offered, Registration,
};
use adit_proxy::config::external::ExternalUrl;
use adit_proxy::fuzzing;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

static PLACE: LazyLock<ExternalUrl> = LazyLock::new(|| "https://x.example/adit".parse().unwrap());

fuzz_target!(|line: &[u8]| {
    let offer = match Registration::from_line(line) {
        Ok(offer) => offer,
        Err(error) => {
            let words = error.to_string();
            assert!(
                words.bytes().all(|b| (b' '..=b'~').contains(&b)),
                "{words:?}"
            );
            return;
        }
    };
    assert!((1..=MAX_NAMES).contains(&offer.names.len()));
    assert!(offer.targets.len() <= MAX_TARGETS);
    let labels = offer.targets.iter().map(|offered| &offered.labels);
    assert!(
        labels
            .chain([&offer.labels])
            .all(|labels| labels.len() <= MAX_LABELS)
    );
    let again = offer.to_line();
    let (end, again) = again.split_last().unwrap();
    assert!(*end == b'\n' && !again.contains(&b'\n'));
    if again.len() <= MAX_LINE {
        assert_eq!(Registration::from_line(again).unwrap(), offer);
    }
    for place in [None, Some(&*PLACE)] {
        page(&offer, place);
    }
});

/// The page is what Prometheus reads, and leads to the target it is about.
fn page(offer: &Registration, place: Option<&ExternalUrl>) {
    let page = fuzzing::targets_page(offer, place);
    let groups: Vec<Map<String, Value>> = serde_json::from_slice(&page).unwrap();
    assert_eq!(groups.len(), offer.targets.len());
    for (group, offered) in groups.iter().zip(&offer.targets) {
        assert!(group.keys().eq(["labels", "targets"]), "{group:?}");
        let target = offered.target.to_string();
        let address = match place {
            Some(_) => "x.example:443",
            None => &target,
        };
        assert_eq!(group["targets"], serde_json::json!([address]));
        let labels = group["labels"].as_object().unwrap();
        assert_eq!(labels["instance"], *target);
        for (name, value) in labels {
            assert!(is_allowed(name, place.is_some()), "{name:?}");
            assert!(value.is_string());
        }
        let path = labels.get("__metrics_path__").and_then(Value::as_str);
        match place {
            Some(_) => {
                assert_eq!(labels["__scheme__"], "https");
                by_path(path.unwrap(), offered);
            }
            None => assert!(path.is_none_or(|path| path.starts_with('/'))),
        }
    }
}

fn is_allowed(name: &str, is_by_path: bool) -> bool {
    let mut bytes = name.bytes();
    let is_legal = bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let is_known = name == "__metrics_path__"
        || name.starts_with("__param_")
        || name == "__scheme__" && is_by_path;
    is_legal && (is_known || !name.starts_with("__"))
}

/// However a front proxy resolves the path, it stays at this target.
fn by_path(path: &str, offered: &Offered) {
    let scheme = offered.scheme.map_or("http", |scheme| scheme.as_str());
    let place = format!("/adit/scrape/{scheme}/{}/", offered.target);
    assert!(path.starts_with(&place), "{path:?}");
    assert!(
        !path[place.len()..].contains(['%', '?', '#', '\\', ' ']),
        "{path:?}"
    );
    assert!(
        !path.split('/').any(|step| step == "." || step == ".."),
        "{path:?}"
    );
    // Go would write other letters with percent signs.
    if path.is_ascii() {
        let (_, meant) = fuzzing::path_style(&path.parse().unwrap(), "/adit").unwrap();
        assert_eq!(meant, offered.target);
    }
}
