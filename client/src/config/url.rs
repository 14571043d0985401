//! The URLs a user writes: of proxies, and of what is behind a target.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use adit_common::name::Name;
use adit_common::target::{Scheme, Target, TargetError};
use adit_common::tunnel;
use http::Uri;
use http::uri::Authority;

/// Why a URL is none we can use. Never quotes the URL: there may be a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No URL, or of another scheme.
    #[error("expected {0}")]
    Form(&'static str),
    /// Credentials in a URL end up in logs and process lists.
    #[error("a user or password does not belong in a URL{0}")]
    UserInfo(&'static str),
    /// Only a path may follow the host.
    #[error("a query does not belong in this URL")]
    Query,
    /// The host and port.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A socket's path.
    #[error("unix: needs an absolute path, as in unix:/run/exporter.sock")]
    UnixPath,
}

/// Behind [`UrlError::UserInfo`]: where they do belong.
const PROXY_AUTH: &str = ", which everybody on this machine may read: give --auth.username and \
                          --auth.password-file, or --auth.token-file";
const PROXY_FORM: &str = "http(s)://HOST[:PORT][/PREFIX], or ws(s)://…";
const UPSTREAM_FORM: &str = "http(s)://HOST[:PORT][/PREFIX] or unix:/PATH";

/// Where a proxy is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProxyUrl {
    /// `https` and `wss`.
    pub tls: bool,
    /// Host as written, for `Host` and logs.
    pub authority: Authority,
    /// What is dialled.
    pub address: Target,
    /// Path of the tunnel, prefix included.
    pub path: String,
}

impl FromStr for ProxyUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, uri) = parse(text, PROXY_FORM)?;
        let scheme = match scheme {
            "http" | "ws" => Scheme::Http,
            "https" | "wss" => Scheme::Https,
            _ => return Err(UrlError::Form(PROXY_FORM)),
        };
        let (authority, address) =
            address(&uri, scheme, PROXY_FORM).map_err(|error| match error {
                UrlError::UserInfo(_) => UrlError::UserInfo(PROXY_AUTH),
                error => error,
            })?;
        let prefix = uri.path().trim_end_matches('/');
        Ok(Self {
            tls: scheme == Scheme::Https,
            authority,
            address,
            path: format!("{prefix}{}", tunnel::PATH),
        })
    }
}

impl ProxyUrl {
    /// Whether others can read what we say to it: no TLS, and not to this machine.
    pub fn is_open(&self) -> bool {
        !self.tls && !is_loopback(&self.address.name)
    }

    /// Whether both lead to the same place, however it is written.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.tls, &self.address, &self.path) == (other.tls, &other.address, &other.path)
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let prefix = self.path.strip_suffix(tunnel::PATH).unwrap_or("");
        write!(f, "{scheme}://{}{prefix}", self.authority)
    }
}

/// By RFC 6761 and RFC 5735.
pub(crate) fn is_loopback(name: &Name) -> bool {
    let last = name.as_str().rsplit('.').next();
    last == Some("localhost") || name.ip().is_some_and(|ip| ip.to_canonical().is_loopback())
}

/// Where a target really is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamUrl {
    /// A host and port.
    Http {
        /// How it is spoken to, whatever the scrape says.
        scheme: Scheme,
        /// As written, for `Host`.
        authority: Authority,
        /// Name and port to dial.
        address: Target,
        /// Put before every path; empty, or with a slash in front and none behind.
        prefix: String,
    },
    /// A socket in the file system, spoken to in clear text.
    Unix(PathBuf),
}

impl FromStr for UpstreamUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///run/x` is how some write it.
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') {
                true => Ok(Self::Unix(path.into())),
                false => Err(UrlError::UnixPath),
            };
        }
        let (scheme, uri) = parse(text, UPSTREAM_FORM)?;
        let scheme = Scheme::parse(scheme).ok_or(UrlError::Form(UPSTREAM_FORM))?;
        let (authority, address) = address(&uri, scheme, UPSTREAM_FORM)?;
        Ok(Self::Http {
            scheme,
            authority,
            address,
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// The scheme, in lower case, and the rest as an http URI: the http crate knows no other schemes.
pub(super) fn parse<'a>(text: &'a str, form: &'static str) -> Result<(&'a str, Uri), UrlError> {
    let (scheme, rest) = text.split_once("://").ok_or(UrlError::Form(form))?;
    let uri: Uri = format!("http://{rest}")
        .parse()
        .map_err(|_| UrlError::Form(form))?;
    match uri.query() {
        Some(_) => Err(UrlError::Query),
        None => Ok((scheme, uri)),
    }
}

pub(super) fn address(
    uri: &Uri,
    scheme: Scheme,
    form: &'static str,
) -> Result<(Authority, Target), UrlError> {
    let authority = uri.authority().ok_or(UrlError::Form(form))?;
    match Target::parse(authority.as_str(), Some(scheme)) {
        Ok(address) => Ok((authority.clone(), address)),
        Err(TargetError::UserInfo) => Err(UrlError::UserInfo("")),
        Err(error) => Err(error.into()),
    }
}

/// `HOST:PORT[=URL]`, as `--target` takes it.
pub(crate) fn target_flag(text: &str) -> Result<(Target, Option<UpstreamUrl>), String> {
    const FORM: &str = "expected HOST:PORT[=URL]";
    let (target, url) = match text.split_once('=') {
        Some((target, url)) => (target, Some(url)),
        None => (text, None),
    };
    let target = target.parse::<Target>().map_err(|error| match error {
        TargetError::NoPort => FORM.to_owned(),
        error => format!("{FORM}: {error}"),
    })?;
    let url = url
        .map(str::parse::<UpstreamUrl>)
        .transpose()
        .map_err(|error| format!("{FORM}: URL: {error}"))?;
    Ok((target, url))
}

/// `--name`: no port, which is a target's.
pub(crate) fn name_flag(text: &str) -> Result<Name, String> {
    text.parse::<Name>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_written_in_several_ways() {
        for (text, shown, dialled, path) in [
            (
                "http://proxy:8080",
                "http://proxy:8080",
                "proxy:8080",
                "/tunnel",
            ),
            (
                "http://proxy:8080/",
                "http://proxy:8080",
                "proxy:8080",
                "/tunnel",
            ),
            ("ws://proxy", "http://proxy", "proxy:80", "/tunnel"),
            (
                "wss://Proxy.Example/adit/",
                "https://Proxy.Example/adit",
                "proxy.example:443",
                "/adit/tunnel",
            ),
            (
                "https://[::1]:1/a/b",
                "https://[::1]:1/a/b",
                "[::1]:1",
                "/a/b/tunnel",
            ),
        ] {
            let url: ProxyUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.address.to_string(), dialled);
            assert_eq!(url.path, path);
        }
    }

    #[test]
    fn what_others_can_read() {
        for (text, open) in [
            ("http://proxy", true),
            ("ws://192.168.1.2:8080", true),
            ("http://localhost.example", true),
            ("https://proxy", false),
            ("http://localhost:8080", false),
            ("http://Proxy.LOCALHOST", false),
            ("http://127.1.2.3", false),
            ("http://[::1]:1", false),
            ("http://[::ffff:127.0.0.1]:1", false),
        ] {
            assert_eq!(text.parse::<ProxyUrl>().unwrap().is_open(), open, "{text}");
        }
    }

    #[test]
    fn what_is_no_proxy_says_what_is_without_the_password() {
        for (text, says) in [
            ("proxy:8080", "http(s)://"),
            ("ftp://proxy", "http(s)://"),
            ("http://", "http(s)://"),
            ("http://user:s3cret@proxy", "give --auth.username"),
            ("http://proxy?x=1", "query"),
            ("http://proxy:0", "no port"),
        ] {
            let error = text.parse::<ProxyUrl>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("s3cret"));
        }
    }

    #[test]
    fn targets_say_where_they_really_are() {
        let (target, url) = target_flag("Pi:9100").unwrap();
        assert_eq!((target.to_string().as_str(), url), ("pi:9100", None));
        let (_, url) = target_flag("nas:9100=https://192.168.1.5/exporters/").unwrap();
        let Some(UpstreamUrl::Http {
            scheme,
            address,
            prefix,
            ..
        }) = url
        else {
            panic!("{url:?}");
        };
        assert_eq!(scheme, Scheme::Https);
        assert_eq!(address.to_string(), "192.168.1.5:443");
        assert_eq!(prefix, "/exporters");
        for text in ["a:1=unix:/run/x.sock", "a:1=unix:///run/x.sock"] {
            let (_, url) = target_flag(text).unwrap();
            assert_eq!(url, Some(UpstreamUrl::Unix("/run/x.sock".into())));
        }
    }

    #[test]
    fn what_is_no_target_says_what_is() {
        for (text, says) in [
            ("pi", "expected HOST:PORT[=URL]"),
            ("pi:9100=localhost:9100", "http(s)://"),
            ("pi:9100=http://u:s3cret@x", "does not belong"),
            ("pi:9100=unix:run/x", "absolute"),
            ("pi:99999", "no port"),
        ] {
            let error = target_flag(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("s3cret"));
        }
    }
}
