//! A target is what a scraper names: `host:port`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{Name, NameError};

/// How a target is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Clear text.
    Http,
    /// TLS, ended by the client.
    Https,
}

impl Scheme {
    /// The port a URL without one means (RFC 9110 §4.2).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// As written in a URL, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Reads a scheme in any case (RFC 3986 §3.1).
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("http") {
            Some(Self::Http)
        } else if text.eq_ignore_ascii_case("https") {
            Some(Self::Https)
        } else {
            None
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is scraped: a [`Name`] and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target {
    /// The part that routes.
    pub name: Name,
    /// 1 to 65535.
    pub port: u16,
}

/// Why a text is no [`Target`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No port, and no scheme to take one from.
    #[error("expected HOST:PORT")]
    NoPort,
    /// A port that is no number from 1 to 65535.
    #[error("{0:?} is no port (1 to 65535)")]
    Port(String),
    /// Credentials in front of the host (RFC 9110 §4.2.4 deprecates them).
    #[error("user information does not belong in a target")]
    UserInfo,
    /// The host part.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Target {
    /// Parses an authority; without a port, the default of `scheme` if there is one.
    pub fn parse(authority: &str, scheme: Option<Scheme>) -> Result<Self, TargetError> {
        if authority.contains('@') {
            return Err(TargetError::UserInfo);
        }
        // In brackets every colon belongs to the address.
        let after_host = authority.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match authority[after_host..].rfind(':') {
            Some(colon) => {
                let (host, port) = authority.split_at(after_host + colon);
                (host, Some(&port[1..]))
            }
            None => (authority, None),
        };
        let name = Name::parse(host)?;
        let port = match (port, scheme) {
            // `host:` is legal and means the default (RFC 3986 §3.2.3).
            (None | Some(""), Some(scheme)) => scheme.default_port(),
            (None | Some(""), None) => return Err(TargetError::NoPort),
            (Some(text), _) => parse_port(text)?,
        };
        Ok(Self { name, port })
    }
}

fn parse_port(text: &str) -> Result<u16, TargetError> {
    // `u16::from_str` takes "+80" as well.
    if text.bytes().all(|b| b.is_ascii_digit())
        && let Ok(port) = text.parse::<u16>()
        && port != 0
    {
        return Ok(port);
    }
    let shown: String = text.chars().take(16).collect();
    Err(TargetError::Port(shown))
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        Self::parse(text, None)
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.as_str().contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ports_are_explicit_or_the_schemes() {
        for (text, scheme, shown) in [
            ("pi:9100", None, "pi:9100"),
            ("PI", Some(Scheme::Http), "pi:80"),
            ("pi", Some(Scheme::Https), "pi:443"),
            ("pi:", Some(Scheme::Https), "pi:443"),
            ("pi.:1", None, "pi:1"),
            ("[FD00::1]:9100", None, "[fd00::1]:9100"),
            ("[fd00::1]", Some(Scheme::Http), "[fd00::1]:80"),
            ("10.1.2.3:65535", None, "10.1.2.3:65535"),
        ] {
            assert_eq!(Target::parse(text, scheme).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_target_says_why() {
        for (text, error) in [
            ("pi", TargetError::NoPort),
            ("pi:", TargetError::NoPort),
            ("pi:0", TargetError::Port("0".into())),
            ("pi:65536", TargetError::Port("65536".into())),
            ("pi:+80", TargetError::Port("+80".into())),
            ("pi:http", TargetError::Port("http".into())),
            ("u:p@pi:80", TargetError::UserInfo),
            (":80", TargetError::Name(NameError::Empty)),
            ("fd00::1:80", TargetError::Name(NameError::Ipv6)),
            ("[fd00::1]x:80", TargetError::Name(NameError::Ipv6)),
        ] {
            assert_eq!(text.parse::<Target>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_display_parses_back(text in "\\PC{0,30}(:[0-9]{0,6})?") {
            if let Ok(target) = Target::parse(&text, Some(Scheme::Http)) {
                prop_assert_eq!(target.to_string().parse::<Target>().unwrap(), target);
            }
        }

        #[test]
        fn every_ipv6_address_and_port_round_trips(address: u128, port in 1u16..) {
            let target = Target {
                name: Name::parse(&format!("[{}]", std::net::Ipv6Addr::from(address))).unwrap(),
                port,
            };
            prop_assert_eq!(target.to_string().parse::<Target>().unwrap(), target);
        }
    }
}
