//! The HTTP proxy that a network may have on the way to ours: a company's squid.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use adit_common::config_file::Parsed;
use adit_common::http_config::FileTls;
use adit_common::net::tls::ClientTls;
use adit_common::target::{Scheme, Target};
use serde::Deserialize;

use super::auth::Basic;
use super::url::{UrlError, address, parse};

/// Which one, and what it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpProxy {
    /// Which.
    pub choice: HttpProxyChoice,
    /// For one that asks for a user, other than the environment's, which brings its own.
    pub basic: Option<Basic>,
    /// Towards it, where its URL is https.
    pub tls: ClientTls,
}

/// By which HTTP proxy ours are dialled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HttpProxyChoice {
    /// As `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    #[default]
    Environment,
    /// None, whatever the environment says.
    None,
    /// This one for all of them.
    Url(HttpProxyUrl),
}

/// Where an HTTP proxy is. Displays as its host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProxyUrl {
    /// `https`.
    pub tls: bool,
    /// What is dialled.
    pub address: Target,
}

const FORM: &str = "http(s)://HOST[:PORT], or none";
/// Behind [`UrlError::UserInfo`].
const AUTH: &str = ", which everybody on this machine may read: give http_proxy: {username, \
                    password_file} in the configuration file";

impl FromStr for HttpProxyChoice {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text == "none" {
            return Ok(Self::None);
        }
        text.parse().map(Self::Url)
    }
}

impl FromStr for HttpProxyUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, uri) = parse(text, FORM)?;
        let scheme = Scheme::parse(scheme).ok_or(UrlError::Form(FORM))?;
        if uri.path() != "/" {
            return Err(UrlError::Form(FORM));
        }
        match address(&uri, scheme, FORM) {
            Ok((_, address)) => Ok(Self {
                tls: scheme == Scheme::Https,
                address,
            }),
            Err(UrlError::UserInfo(_)) => Err(UrlError::UserInfo(AUTH)),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for HttpProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// The key `http_proxy`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileHttpProxy {
    url: Option<Parsed<HttpProxyChoice>>,
    username: Option<String>,
    password_file: Option<PathBuf>,
    tls: FileTls,
}

impl FileHttpProxy {
    /// With its files found, and `flag` instead of its URL.
    ///
    /// # Errors
    /// What does not go together.
    pub(super) fn resolve(
        self,
        directory: &Path,
        flag: Option<HttpProxyChoice>,
    ) -> Result<HttpProxy, String> {
        let choice = flag.or(self.url.map(|url| url.0)).unwrap_or_default();
        let password_file = self.password_file.map(|file| directory.join(file));
        let basic = Basic::of(self.username, password_file)?;
        if basic.is_some() && choice == HttpProxyChoice::Environment {
            return Err("a username needs a url; the environment's has its own user".to_owned());
        }
        Ok(HttpProxy {
            choice,
            basic,
            tls: self.tls.resolve(directory),
        })
    }
}

#[cfg(test)]
mod tests {
    use adit_common::config_file;

    use super::*;

    fn file(text: &str, flag: Option<&str>) -> Result<HttpProxy, String> {
        let file: FileHttpProxy = config_file::parse(text)?;
        let flag = flag.map(|flag| flag.parse().unwrap());
        file.resolve(Path::new("/etc/adit"), flag)
    }

    #[test]
    fn an_http_proxy_is_written_in_several_ways() {
        for (text, tls, shown) in [
            ("http://squid:3128", false, "squid:3128"),
            ("http://Squid/", false, "squid:80"),
            ("https://[::1]:3129", true, "[::1]:3129"),
            ("https://squid", true, "squid:443"),
        ] {
            let url: HttpProxyUrl = text.parse().unwrap();
            assert_eq!((url.tls, url.to_string().as_str()), (tls, shown));
        }
        assert_eq!("none".parse(), Ok(HttpProxyChoice::None));
    }

    #[test]
    fn what_is_none_says_what_is() {
        for (text, says) in [
            ("squid:3128", "or none"),
            ("", "or none"),
            ("socks5://squid:1080", "or none"),
            ("http://squid:3128/path", "or none"),
            ("http://u:s3cret@squid:3128", "username"),
            ("http://squid:3128?x", "query"),
        ] {
            let error = text.parse::<HttpProxyChoice>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("s3cret"));
        }
    }

    #[test]
    fn flag_and_file() {
        let text = "url: http://squid:3128\nusername: u\npassword_file: squid-password\n";
        let both = file(text, Some("http://other:1")).unwrap();
        assert!(matches!(&both.choice, HttpProxyChoice::Url(url) if url.to_string() == "other:1"));
        let password_file = both.basic.unwrap().password_file;
        assert_eq!(password_file, Path::new("/etc/adit/squid-password"));
        assert_eq!(
            file(text, Some("none")).unwrap().choice,
            HttpProxyChoice::None
        );
        let nothing = file("", None).unwrap();
        assert_eq!(nothing, HttpProxy::default());
        for (text, says) in [
            ("url: http://squid\nusername: u\n", "one is missing"),
            ("username: u\npassword_file: p\n", "needs a url"),
            ("uri: http://squid\n", "did you mean \"url\""),
        ] {
            let error = file(text, None).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
