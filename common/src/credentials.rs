//! Credentials as HTTP carries them: Basic (RFC 7617) and Bearer (RFC 6750).

use std::fmt;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use http::HeaderValue;

use crate::secret::{MAX_SECRET, Secret};

/// Padding is left off by some.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a field of `Authorization` or `Proxy-Authorization` says.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user, who may be named empty, and a password.
    Basic {
        /// Who.
        user: String,
        /// How it is known to be them.
        password: Secret,
    },
    /// A token.
    Bearer(Secret),
}

impl Credentials {
    /// Reads a field's value; `None` for what is malformed or of another scheme.
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let value = value.to_str().ok()?.trim();
        let (scheme, rest) = value.split_once(' ')?;
        let rest = rest.trim_start();
        if rest.len() > MAX_SECRET * 2 {
            return None;
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            return (!rest.is_empty()).then(|| Self::Bearer(Secret::new(rest.to_owned())));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(LENIENT.decode(rest).ok()?).ok()?;
        // RFC 7617 §2: a user has no colon, a password may; neither has control characters.
        let (user, password) = text.split_once(':')?;
        if text.chars().any(char::is_control) {
            return None;
        }
        Some(Self::Basic {
            user: user.to_owned(),
            password: Secret::new(password.to_owned()),
        })
    }

    /// As a field's value, marked as sensitive; `None` where it cannot be one.
    pub fn to_value(&self) -> Option<HeaderValue> {
        let text = match self {
            Self::Basic { user, password } => {
                let pair = format!("{user}:{}", password.expose());
                format!("Basic {}", STANDARD.encode(pair))
            }
            Self::Bearer(token) => format!("Bearer {}", token.expose()),
        };
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => write!(f, "Basic {user:?}:***"),
            Self::Bearer(_) => f.write_str("Bearer ***"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<Credentials> {
        Credentials::parse(&HeaderValue::from_str(text).unwrap())
    }

    fn basic(user: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Basic {
            user: user.into(),
            password: Secret::new(password.into()),
        })
    }

    #[test]
    fn what_prometheus_and_go_send() {
        for (text, read) in [
            (
                "Basic c2NyYXBlcjpzM2NyZXRAeA==",
                basic("scraper", "s3cret@x"),
            ),
            ("Basic dG9rZW5vbmx5Og==", basic("tokenonly", "")),
            ("basic dG9rZW5vbmx5Og", basic("tokenonly", "")),
            ("Basic OjphOg==", basic("", ":a:")),
            ("Basic  w6Q6w7w=", basic("ä", "ü")),
            (
                "BEARER abc",
                Some(Credentials::Bearer(Secret::new("abc".into()))),
            ),
        ] {
            assert_eq!(parse(text), read, "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "Basic",
            "Basic ",
            "Bearer ",
            "Basic dXNlcg==",
            "Basic !!!!",
            "Digest x=y",
            "Basic dXNlcjoAeA==",
            "Basic dTpw dTpw",
            "Basic /w==",
            "Basicc2NyYXBlcjp4",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_shows_a_password() {
        let shown = format!("{:?} {:?}", basic("u", "s3cret"), parse("Bearer s3cret"));
        assert!(shown.contains('u') && !shown.contains("s3cret"), "{shown}");
        assert!(basic("u", "p").unwrap().to_value().unwrap().is_sensitive());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(user in "[^:\\pC]{0,20}", password in "[^\\pC]{0,40}") {
            let written = basic(&user, &password).unwrap();
            let value = written.to_value().unwrap();
            prop_assert_eq!(Credentials::parse(&value), Some(written));
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = Credentials::parse(&value);
            }
        }
    }
}
