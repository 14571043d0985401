//! Which objects a query asks for.

use std::collections::HashMap;

use serde_json::Value;

/// A query's pairs, percent-decoded; plus signs are spaces, as in Go.
pub(super) fn pairs(query: &str) -> HashMap<String, String> {
    let decoded = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits = [rest.next(), rest.next()].map(|digit| digit.expect("two digits"));
                    let digits = String::from_utf8_lossy(&digits).into_owned();
                    u8::from_str_radix(&digits, 16).expect("hexadecimal")
                }
                byte => byte,
            });
        }
        String::from_utf8(bytes).expect("text")
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect()
}

/// As the server selects: `a=b`, `a!=b`, `a in (b, c)`, with commas between.
pub(super) fn is_selected(object: &Value, query: &HashMap<String, String>) -> bool {
    let label = |key: &str| object["metadata"]["labels"][key.trim()].as_str();
    if let Some(fields) = query.get("fieldSelector") {
        let name = object["metadata"]["name"].as_str().unwrap_or("");
        return *fields == format!("metadata.name={name}");
    }
    let selector = query.get("labelSelector").map_or("", String::as_str);
    let mut depth = 0;
    let terms = selector.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    terms.filter(|term| !term.trim().is_empty()).all(|term| {
        if let Some((key, values)) = term.split_once(" in ") {
            let values = values.trim().trim_start_matches('(').trim_end_matches(')');
            return values
                .split(',')
                .any(|value| label(key) == Some(value.trim()));
        }
        match (term.split_once("!="), term.split_once('=')) {
            (Some((key, value)), _) => label(key) != Some(value.trim()),
            (None, Some((key, value))) => label(key) == Some(value.trim_start_matches('=').trim()),
            (None, None) => label(term).is_some(),
        }
    })
}
