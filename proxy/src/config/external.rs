//! What others call us.

use std::str::FromStr;

use adit_common::target::Scheme;
use http::Uri;
use http::uri::Authority;

/// Where scrapers find us: `--web.external-url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalUrl {
    /// How they speak to us, or to the front proxy.
    pub scheme: Scheme,
    /// Host, and a port where one is written.
    pub authority: Authority,
    /// Before every path of ours, the route prefix included; empty, or with a slash in front and none
    /// behind.
    pub path: String,
}

impl FromStr for ExternalUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "expected http(s)://HOST[:PORT][/PREFIX]";
        let uri: Uri = text.parse().map_err(|_| FORM)?;
        let scheme = uri.scheme_str().and_then(Scheme::parse).ok_or(FORM)?;
        let authority = uri.authority().ok_or(FORM)?;
        if authority.as_str().contains('@') {
            return Err("a user or password does not belong in this URL");
        }
        if uri.query().is_some() {
            return Err("a query does not belong in this URL");
        }
        Ok(Self {
            scheme,
            authority: authority.clone(),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl ExternalUrl {
    /// Host and port, also where the port is the scheme's own.
    pub fn host_and_port(&self) -> String {
        match self.authority.port() {
            Some(_) => self.authority.to_string(),
            None => format!("{}:{}", self.authority, self.scheme.default_port()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form() {
        for (text, at, path) in [
            ("https://x.example", "x.example:443", ""),
            ("http://x.example/", "x.example:80", ""),
            ("https://x.example:8443/adit/", "x.example:8443", "/adit"),
            ("http://[::1]:1/a/b", "[::1]:1", "/a/b"),
        ] {
            let url: ExternalUrl = text.parse().unwrap();
            assert_eq!(
                (url.host_and_port().as_str(), url.path.as_str()),
                (at, path)
            );
        }
        for text in [
            "x.example",
            "/x",
            "ftp://x",
            "https://u:p@x",
            "https://x?y",
            "",
        ] {
            assert!(text.parse::<ExternalUrl>().is_err(), "{text}");
        }
    }
}
