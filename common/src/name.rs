//! Names route: the host part of a target, in the one form both ends compare.

use std::borrow::Borrow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest name in bytes (RFC 1035 §2.3.4: 255 octets on the wire, 253 as text).
pub const MAX_NAME_LENGTH: usize = 253;

/// The host part of a target: lower case, without trailing dot, brackets or port.
///
/// IDNA is taken as sent. An IP literal is a name too, in its canonical text (RFC 5952), so that
/// `[FD00:0::1]` and `[fd00::1]` route alike. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// Why a text is no [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or nothing but a dot.
    #[error("a name must not be empty")]
    Empty,
    /// Over [`MAX_NAME_LENGTH`] bytes.
    #[error("a name has at most {MAX_NAME_LENGTH} bytes, this one has {0}")]
    TooLong(usize),
    /// A byte no host name has.
    #[error("{0:?} must not stand in a name (allowed: letters, digits, '-', '_', '.')")]
    Character(char),
    /// Two dots in a row, or one in front.
    #[error("a name must not have an empty label")]
    EmptyLabel,
    /// Brackets around what is no IPv6 address, or a colon without brackets.
    #[error("an IPv6 address is written in brackets, as in [fd00::1]")]
    Ipv6,
}

impl Name {
    /// The text, without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, when the name is an IP literal.
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// Parses a host as it stands in a URI or a flag: IPv6 in brackets.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner
                .strip_suffix(']')
                .and_then(|inner| inner.parse().ok())
                .ok_or(NameError::Ipv6)?;
            return Ok(Self(address.to_string().into()));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        check(text)?;
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME_LENGTH {
        return Err(NameError::TooLong(text.len()));
    }
    for character in text.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => {}
            // Internationalised names arrive in UTF-8 from some scrapers; what is above ASCII is
            // taken as sent, but nothing that could move a cursor or end a line.
            c if !c.is_ascii() && c.is_alphanumeric() => {}
            ':' => return Err(NameError::Ipv6),
            c => return Err(NameError::Character(c)),
        }
    }
    if text.split('.').any(str::is_empty) {
        return Err(NameError::EmptyLabel);
    }
    Ok(())
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    /// As [`Name::parse`], and an IPv6 address without brackets too: what [`From<Name>`] writes.
    fn try_from(text: String) -> Result<Self, NameError> {
        match text.parse::<Ipv6Addr>() {
            Ok(address) => Ok(Self(address.to_string().into())),
            Err(_) => Self::parse(&text),
        }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_form_for_many_spellings() {
        for (text, name) in [
            ("Pi", "pi"),
            ("pi.", "pi"),
            ("NAS.Example.COM.", "nas.example.com"),
            ("[FD00:0::1]", "fd00::1"),
            ("10.0.0.1", "10.0.0.1"),
            ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
            ("münchen.de", "münchen.de"),
            ("a_b", "a_b"),
        ] {
            assert_eq!(Name::parse(text).unwrap().as_str(), name, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_says_why() {
        for (text, error) in [
            ("", NameError::Empty),
            (".", NameError::Empty),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a b", NameError::Character(' ')),
            ("a\nlevel=error", NameError::Character('\n')),
            ("a\u{1b}[2J", NameError::Character('\u{1b}')),
            ("a\u{202e}b", NameError::Character('\u{202e}')),
            ("a/b", NameError::Character('/')),
            ("user@a", NameError::Character('@')),
            ("pi:9100", NameError::Ipv6),
            ("fd00::1", NameError::Ipv6),
            ("[fd00::1", NameError::Ipv6),
            ("[nas]", NameError::Ipv6),
            ("[fe80::1%eth0]", NameError::Ipv6),
        ] {
            assert_eq!(Name::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(Name::parse(&"a".repeat(254)), Err(NameError::TooLong(254)));
        assert_eq!(
            Name::parse(&"a".repeat(1 << 20)),
            Err(NameError::TooLong(1 << 20))
        );
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_idempotent(text in "\\PC{0,40}") {
            if let Ok(name) = Name::parse(&text) {
                let again = Name::try_from(String::from(name.clone())).unwrap();
                prop_assert_eq!(&again, &name);
                prop_assert!(!name.as_str().ends_with('.'));
                prop_assert!(name.as_str().chars().all(|c| !c.is_control() && !c.is_ascii_uppercase()));
            }
        }

        #[test]
        fn case_and_trailing_dot_do_not_matter(text in "[a-z][a-z0-9-]{0,10}(\\.[a-z0-9]{1,5}){0,3}") {
            let name = Name::parse(&text).unwrap();
            prop_assert_eq!(&Name::parse(&text.to_uppercase()).unwrap(), &name);
            let dotted = format!("{text}.");
            prop_assert_eq!(&Name::parse(&dotted).unwrap(), &name);
        }
    }
}
