//! Where to listen, as an operator writes it.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// A listen address: `:PORT`, `HOST:PORT` or `unix:/PATH`. It displays as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `:8080`: all interfaces, both families.
    Any(u16),
    /// `1.2.3.4:80` or `[::1]:80`.
    Ip(SocketAddr),
    /// `nas:80`: all addresses of the name.
    Name(String, u16),
    /// `unix:/run/adit.sock`; the path is absolute.
    Unix(PathBuf),
}

/// What was written is no listen address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseListenAddressError {
    /// None of the forms.
    #[error("{0:?}: expected HOST:PORT, :PORT or unix:/PATH")]
    Form(String),
    /// An IPv6 address whose end cannot be told from the port's beginning.
    #[error("{0:?}: an IPv6 address needs brackets, as in [::1]:8080")]
    Brackets(String),
}

impl ListenAddress {
    /// The port; none on a Unix socket.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Any(port) | Self::Name(_, port) => Some(*port),
            Self::Ip(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// Whether only this machine can connect: `unix:`, 127.0.0.0/8, `::1` and `localhost`. Other
    /// names count as reachable from outside, because what they resolve to may change.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Any(_) => false,
            Self::Ip(address) => address.ip().to_canonical().is_loopback(),
            Self::Name(name, _) => super::is_localhost(name),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(port) => write!(f, ":{port}"),
            Self::Ip(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = ParseListenAddressError;

    fn from_str(written: &str) -> Result<Self, Self::Err> {
        let no_form = || ParseListenAddressError::Form(written.to_owned());
        if let Some(path) = written.strip_prefix("unix:") {
            // A relative path would move with the working directory, and so between a shell and systemd.
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(no_form())
            };
        }
        let (host, port) = written.rsplit_once(':').ok_or_else(no_form)?;
        let port = parse_port(port).ok_or_else(no_form)?;
        if host.is_empty() {
            return Ok(Self::Any(port));
        }
        if let Ok(address) = written.parse() {
            return Ok(Self::Ip(address));
        }
        if written.parse::<Ipv6Addr>().or(host.parse()).is_ok() {
            return Err(ParseListenAddressError::Brackets(written.to_owned()));
        }
        if is_name(host) {
            return Ok(Self::Name(host.to_owned(), port));
        }
        Err(no_form())
    }
}

/// Digits only: `u16::from_str` would take a sign too.
fn parse_port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// A host name as DNS has them, underscores included. With a number for its last label it is an
/// IPv4 address gone wrong (`1.2.3`), which the resolver would complete in its own way.
fn is_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    name.len() <= 253 && name.split('.').all(label) && !is_number(last)
}

/// What `inet_aton` takes for a number: decimal, octal or `0x…`.
fn is_number(label: &str) -> bool {
    let lower = label.to_ascii_lowercase();
    match lower.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => lower.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr, SocketAddrV6};

    use proptest::prelude::*;

    use super::ListenAddress;

    #[test]
    fn written_forms_and_who_can_reach_them() {
        let ip = |text: &str| ListenAddress::Ip(text.parse().expect("an address"));
        let name = |text: &str, port| ListenAddress::Name(text.to_owned(), port);
        for (written, meant, loopback) in [
            (":8080", ListenAddress::Any(8080), false),
            (":0", ListenAddress::Any(0), false),
            ("1.2.3.4:80", ip("1.2.3.4:80"), false),
            ("127.8.9.1:80", ip("127.8.9.1:80"), true),
            ("[::1]:80", ip("[::1]:80"), true),
            ("[::ffff:127.0.0.1]:80", ip("[::ffff:127.0.0.1]:80"), true),
            ("[::]:80", ip("[::]:80"), false),
            ("[fe80::1%2]:80", ip("[fe80::1%2]:80"), false),
            ("nas:65535", name("nas", 65535), false),
            ("my_nas.lan.:80", name("my_nas.lan.", 80), false),
            ("3com.example.4you:80", name("3com.example.4you", 80), false),
            ("localhost:80", name("localhost", 80), true),
            ("LOCALHOST.:80", name("LOCALHOST.", 80), true),
            ("pi.localhost:80", name("pi.localhost", 80), true),
            ("localhost.example:80", name("localhost.example", 80), false),
            (
                "unix:/run/a:1.sock",
                ListenAddress::Unix("/run/a:1.sock".into()),
                true,
            ),
        ] {
            let parsed: ListenAddress = written.parse().expect(written);
            assert_eq!(parsed, meant);
            assert_eq!(parsed.to_string(), written);
            assert_eq!(parsed.is_loopback(), loopback, "{written}");
        }
    }

    #[test]
    fn what_is_no_listen_address_is_refused_with_the_forms() {
        for written in [
            "",
            ":",
            "foo",
            "8080",
            "foo:",
            "foo:x",
            "foo:65536",
            "foo:+80",
            "foo:-1",
            "foo: 80",
            " foo:80",
            "*:80",
            "a..b:80",
            ".:80",
            "http://nas:80",
            "[::1]",
            "[::1:80",
            "[nas]:80",
            "[1.2.3.4]:80",
            "1.2.3:80",
            "1.2.3.400:80",
            "0x7f.0x1:80",
            "unix:",
            "unix:a.sock",
            "unix:@a",
        ] {
            let error = written.parse::<ListenAddress>().expect_err(written);
            assert_eq!(
                error.to_string(),
                format!("{written:?}: expected HOST:PORT, :PORT or unix:/PATH")
            );
        }
        let long = format!("{}:80", "a".repeat(64));
        long.parse::<ListenAddress>().expect_err("a label of 64");
        for bare in ["fe80::1:80", "::1"] {
            let error = bare.parse::<ListenAddress>().expect_err(bare);
            let expected = "an IPv6 address needs brackets, as in [::1]:8080";
            assert_eq!(error.to_string(), format!("{bare:?}: {expected}"));
        }
    }

    fn any_address() -> impl Strategy<Value = ListenAddress> {
        prop_oneof![
            any::<u16>().prop_map(ListenAddress::Any),
            any::<(IpAddr, u16)>().prop_map(|parts| ListenAddress::Ip(SocketAddr::from(parts))),
            any::<([u16; 8], u16, u32)>().prop_map(|(ip, port, scope)| {
                ListenAddress::Ip(SocketAddrV6::new(ip.into(), port, 0, scope).into())
            }),
            (
                "([a-zA-Z0-9_-]{1,20}\\.){0,3}[a-zA-Z][a-zA-Z0-9-]{0,20}\\.?",
                any::<u16>()
            )
                .prop_map(|(name, port)| ListenAddress::Name(name, port)),
            "/[^\0]{0,40}".prop_map(|path| ListenAddress::Unix(path.into())),
        ]
    }

    proptest! {
        #[test]
        fn what_is_displayed_parses_to_the_same(address in any_address()) {
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            if let Ok(address) = text.parse::<ListenAddress>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
