//! A browser's backend, in a cookie (RFC 6265). It holds what only this process makes of the backend's
//! name, so that nobody learns from it where backends are.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use ring::hmac;
use ring::rand::SystemRandom;

use crate::config::query::Cookie;
use crate::query::strategy::Candidate;

/// Bytes of the HMAC-SHA256 that are shown: as many as a UUID has, and nothing is gained by a guess.
const SHOWN: usize = 16;

/// One pool's cookie.
#[derive(Debug)]
pub(super) struct Cookies {
    config: Cookie,
    key: hmac::Key,
}

impl Cookies {
    pub(super) fn new(config: &Cookie) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            // Without it no handshake of TLS works, either.
            .expect("the system has randomness");
        Self {
            config: config.clone(),
            key,
        }
    }

    /// Whose cookie this is. One that nobody has is none: another pool's, further up the same host, comes
    /// along. Nor are several: which of them is meant would be the browser's guess.
    pub(super) fn read(&self, headers: &HeaderMap, candidates: &[Candidate]) -> Option<usize> {
        let mut shown = headers
            .get_all(COOKIE)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
            .filter_map(|pair| self.value_of(pair))
            .filter(|shown| shown.len() == SHOWN.div_ceil(3) * 4 - 2)
            .peekable();
        shown.peek()?;
        let values: Vec<String> = candidates.iter().map(|c| self.value(&c.name)).collect();
        let mut ours =
            shown.filter_map(|shown| values.iter().position(|it| it.as_bytes() == shown));
        match (ours.next(), ours.next()) {
            (ours, None) => ours,
            _ => None,
        }
    }

    /// `Set-Cookie` for this backend.
    pub(super) fn set(&self, backend: &str, https: bool) -> Option<HeaderValue> {
        let Cookie {
            name,
            path,
            max_age,
        } = &self.config;
        let mut words = format!(
            "{name}={}; Path={path}; HttpOnly; SameSite=Lax",
            self.value(backend)
        );
        if https {
            words.push_str("; Secure");
        }
        if let Some(max_age) = max_age {
            words.push_str(&format!("; Max-Age={}", max_age.as_secs()));
        }
        HeaderValue::try_from(words).ok()
    }

    /// Leaves all cookies but ours as they are, byte for byte.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        let fields = headers.get_all(COOKIE);
        let is_ours = |value: &HeaderValue| {
            let mut pairs = value.as_bytes().split(|byte| *byte == b';');
            pairs.any(|pair| self.value_of(pair).is_some())
        };
        if !fields.iter().any(is_ours) {
            return;
        }
        let kept: Vec<HeaderValue> = fields.iter().filter_map(|v| self.without_ours(v)).collect();
        headers.remove(COOKIE);
        for value in kept {
            headers.append(COOKIE, value);
        }
    }

    /// The rest of a field, if there is any.
    fn without_ours(&self, field: &HeaderValue) -> Option<HeaderValue> {
        let pairs = field.as_bytes().split(|byte| *byte == b';');
        let others: Vec<&[u8]> = pairs.filter(|pair| self.value_of(pair).is_none()).collect();
        let rest = others.join(&b';');
        let rest = rest.trim_ascii_start();
        // What a valid value has cannot become invalid by having less of it.
        let value = HeaderValue::from_bytes(rest).ok();
        value.filter(|value| !value.is_empty())
    }

    /// What our cookie's pair has behind its `=`; nothing of any other pair.
    fn value_of<'a>(&self, pair: &'a [u8]) -> Option<&'a [u8]> {
        let rest = pair
            .trim_ascii()
            .strip_prefix(self.config.name.as_bytes())?;
        rest.trim_ascii_start().strip_prefix(b"=")
    }

    fn value(&self, backend: &str) -> String {
        let tag = hmac::sign(&self.key, backend.as_bytes());
        URL_SAFE_NO_PAD.encode(&tag.as_ref()[..SHOWN])
    }
}
