//! The headers that may be set on every answer: exporter-toolkit's five.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Each with the values it may have, where it has not any.
const ALLOWED: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

/// What is said below `headers`; the error names the key.
pub(super) fn read(written: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in written {
        let wrong = |says: String| format!("http_server_config.headers {name:?}: {says}");
        let Some((name, values)) = ALLOWED.iter().find(|(allowed, _)| allowed == name) else {
            let names = ALLOWED.map(|(name, _)| name).join(", ");
            return Err(wrong(format!("can not be set, expected one of {names}")));
        };
        if !values.is_empty() && !values.contains(&value.as_str()) {
            return Err(wrong(format!("expected {}", values.join(" or "))));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| wrong("no value that a header can have".to_owned()))?;
        // The name is one of the five.
        if let Ok(name) = HeaderName::try_from(*name) {
            headers.insert(name, value);
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<HeaderMap, String> {
        read(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn five_headers_may_be_set() {
        for (name, value) in [
            ("Strict-Transport-Security", "max-age=1"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "deny"),
            ("X-Frame-Options", "sameorigin"),
            ("X-XSS-Protection", "1; mode=block"),
            ("Content-Security-Policy", "default-src 'self'"),
        ] {
            let headers = one(name, value).unwrap();
            assert_eq!(headers.get(name).unwrap(), value);
            assert_eq!(headers.len(), 1);
        }
    }

    #[test]
    fn others_may_not() {
        for (name, value, says) in [
            ("X-Content-Type-Options", "sniff", "expected nosniff"),
            ("X-Frame-Options", "DENY", "expected deny or sameorigin"),
            ("Set-Cookie", "a=b", "\"Set-Cookie\": can not be set"),
            ("x-frame-options", "deny", "X-Frame-Options"),
            ("X-XSS-Protection", "a\r\nSet-Cookie: b", "no value"),
        ] {
            let error = one(name, value).unwrap_err();
            assert!(error.contains(says), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
