//! Where a backend is: `http(s)://HOST:PORT[/PREFIX]`, or `tunnel://NAME:PORT[/PREFIX]`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use adit_common::credentials::Credentials;
use adit_common::secret::Secret;
use adit_common::target::{Scheme, Target, TargetError};
use http::Uri;
use http::uri::Authority;
use percent_encoding::percent_decode_str;

/// Where a backend is. Two are the same that lead to the same place, however they are written and
/// whoever asks there.
#[derive(Clone)]
pub struct BackendUrl {
    /// By which way.
    pub way: Way,
    /// What is dialled, or what a client offers.
    pub address: Target,
    /// Put before every path; empty, or with a slash in front and none behind.
    pub prefix: String,
    /// As written, for `Host`.
    pub authority: Authority,
    /// Who asks there, if the URL says so.
    pub user: Option<Credentials>,
}

/// By which way a backend is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// We dial it.
    Direct(Scheme),
    /// A client offers it as a target, and says how it is spoken to.
    Tunnel,
}

/// Not a backend's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendUrlError {
    /// Something else altogether.
    #[error("expected http(s)://HOST:PORT[/PREFIX] or tunnel://NAME:PORT[/PREFIX]")]
    Form,
    /// A query string.
    #[error("a query string does not belong in a backend's address")]
    Query,
    /// A user where nobody could be shown one.
    #[error(
        "user information does not belong in a tunnel's address: the client has the target's credentials"
    )]
    User,
    /// A password that is not written as it has to be.
    #[error("a user's '/', '?', '#', '@' and ':' are percent-encoded, as is an '@' in a path")]
    Torn,
    /// The host or the port.
    #[error(transparent)]
    Address(#[from] TargetError),
}

impl BackendUrl {
    /// Without its prefix.
    pub(crate) fn origin(&self) -> String {
        let scheme = match self.way {
            Way::Direct(scheme) => scheme.as_str(),
            Way::Tunnel => "tunnel",
        };
        format!("{scheme}://{}", self.address)
    }

    fn key(&self) -> (Way, &Target, &str) {
        (self.way, &self.address, &self.prefix)
    }
}

impl PartialEq for BackendUrl {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for BackendUrl {}

impl Hash for BackendUrl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Debug for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A token may stand in the user's place: neither is shown.
        f.debug_struct("BackendUrl")
            .field("url", &self.to_string())
            .field("has_user", &self.user.is_some())
            .finish()
    }
}

impl fmt::Display for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.prefix)
    }
}

impl FromStr for BackendUrl {
    type Err = BackendUrlError;

    fn from_str(text: &str) -> Result<Self, BackendUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(BackendUrlError::Form)?;
        let way = match Scheme::parse(scheme) {
            Some(scheme) => Way::Direct(scheme),
            None if scheme.eq_ignore_ascii_case("tunnel") => Way::Tunnel,
            None => return Err(BackendUrlError::Form),
        };
        // The http crate knows no other schemes.
        let uri: Uri = format!("http://{rest}")
            .parse()
            .map_err(|_| BackendUrlError::Form)?;
        if uri.query().is_some() {
            return Err(BackendUrlError::Query);
        }
        let whole = uri.authority().ok_or(BackendUrlError::Form)?;
        let (user, authority) = match whole.as_str().rsplit_once('@') {
            None => (None, whole.clone()),
            Some((user, host)) => (Some(user), host.parse().map_err(|_| BackendUrlError::Form)?),
        };
        let (default, user) = match (way, user) {
            (Way::Tunnel, Some(_)) => return Err(BackendUrlError::User),
            (Way::Tunnel, None) => (None, None),
            (Way::Direct(scheme), user) => (Some(scheme), user.map(credentials)),
        };
        let prefix = uri.path().trim_end_matches('/').to_owned();
        // '/', '?' or '#' in a password ends what is the host, and a part of it would be shown.
        let behind = rest.get(whole.as_str().len()..).unwrap_or_default();
        let torn = behind.contains('@');
        let address = match Target::parse(authority.as_str(), default) {
            Ok(address) if !torn => address,
            Err(error) if !torn => return Err(error.into()),
            _ => return Err(BackendUrlError::Torn),
        };
        Ok(Self {
            way,
            address,
            prefix,
            authority,
            user,
        })
    }
}

/// `user:password`, percent-encoded (RFC 3986 §3.2.1).
fn credentials(text: &str) -> Credentials {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Credentials::Basic {
        user: decoded(user),
        password: Secret::new(decoded(password)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_is_the_same_however_it_is_written() {
        for (one, other, shown) in [
            ("http://A:80", "HTTP://a/", "http://a:80"),
            ("https://a", "https://u:p@a:443/", "https://a:443"),
            (
                "http://[::1]:9090/p/",
                "http://[::1]:9090/p",
                "http://[::1]:9090/p",
            ),
            ("tunnel://Pi:9090", "tunnel://pi:9090/", "tunnel://pi:9090"),
        ] {
            let [one, other] = [one, other].map(|text| text.parse::<BackendUrl>().unwrap());
            assert_eq!(one, other);
            assert_eq!(one.to_string(), shown);
            assert_eq!(other.to_string(), shown);
        }
        let differs = |a: &str, b: &str| a.parse::<BackendUrl>() != b.parse::<BackendUrl>();
        assert!(differs("http://a:1", "https://a:1") && differs("http://a:1", "http://a:1/x"));
    }

    #[test]
    fn a_user_is_kept_and_never_shown() {
        let url: BackendUrl = "http://us%40er:p%3Aa+s=&s@a:1".parse().unwrap();
        let Some(Credentials::Basic { user, password }) = &url.user else {
            panic!("{url:?}");
        };
        assert_eq!((user.as_str(), password.expose()), ("us@er", "p:a+s=&s"));
        assert_eq!(url.authority.as_str(), "a:1");
        assert!(!format!("{url:?} {url}").contains("a+s="));
    }

    #[test]
    fn what_is_no_backend_says_what_is() {
        for (text, says) in [
            ("a:9090", "expected http(s)://"),
            ("ftp://a:1", "expected http(s)://"),
            ("http://", "expected http(s)://"),
            ("http://a?x", "query"),
            ("tunnel://pi", "HOST:PORT"),
            ("tunnel://u:s3cret@pi:1", "user information"),
            ("http://a:0", "no port"),
            ("http://u:s3cret/x@a:1", "percent-encoded"),
            ("http://u:12/s3cret@a:1", "percent-encoded"),
            ("http://s3cret@u:12#x@a:1", "percent-encoded"),
            ("http://u:s3cret#x@a:1", "percent-encoded"),
            ("http://u:12#s3cret@a:1", "percent-encoded"),
        ] {
            let error = text.parse::<BackendUrl>().unwrap_err().to_string();
            assert!(
                error.contains(says) && !error.contains("s3cret"),
                "{text}: {error}"
            );
        }
    }
}
