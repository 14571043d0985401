//! The way to each proxy: straight, or through an HTTP proxy.

use std::collections::HashMap;

use http::HeaderValue;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::config::url::is_loopback;
use crate::config::{Config, HttpProxyChoice, HttpProxyUrl, ProxyUrl, SettingsError};

/// Which proxies are reached by which HTTP proxy; the others are dialled.
#[derive(Debug)]
pub(crate) struct Routes(HashMap<ProxyUrl, Hop>);

/// An HTTP proxy on the way.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    pub(crate) url: HttpProxyUrl,
    /// `Proxy-Authorization`, where the environment says it, marked as sensitive.
    pub(crate) authorization: Option<HeaderValue>,
}

/// What the environment says, by the convention of curl and Go, upper case first.
struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];
const NO: [&str; 2] = ["NO_PROXY", "no_proxy"];

impl Routes {
    /// To every proxy of `config`.
    ///
    /// # Errors
    /// The environment names an HTTP proxy for one of them that cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Self, SettingsError> {
        Self::with(config, &|name| std::env::var(name).ok())
    }

    fn with(
        config: &Config,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let mut routes = HashMap::new();
        for proxy in &config.proxies {
            let hop = match &config.http_proxy.choice {
                HttpProxyChoice::None => None,
                HttpProxyChoice::Url(url) => Some(Hop {
                    url: url.clone(),
                    authorization: None,
                }),
                HttpProxyChoice::Environment => Environment(variable).hop(proxy)?,
            };
            if let Some(hop) = hop {
                routes.insert(proxy.clone(), hop);
            }
        }
        Ok(Self(routes))
    }

    /// The HTTP proxy on the way to `proxy`, if there is one.
    pub(crate) fn hop(&self, proxy: &ProxyUrl) -> Option<&Hop> {
        self.0.get(proxy)
    }
}

impl Environment<'_> {
    /// Nothing on this machine is asked for elsewhere, as in Go.
    fn hop(&self, proxy: &ProxyUrl) -> Result<Option<Hop>, SettingsError> {
        if is_loopback(&proxy.address.name) {
            return Ok(None);
        }
        let own = if proxy.tls { HTTPS } else { HTTP };
        let Some((variable, value)) = self.first(own).or_else(|| self.first(ALL)) else {
            return Ok(None);
        };
        let scheme = if proxy.tls { "https" } else { "http" };
        let uri = format!("{scheme}://{}", proxy.authority).parse();
        // It was an authority before.
        let Ok(uri) = uri else { return Ok(None) };
        let no = self.first(NO).map(|(_, value)| value).unwrap_or_default();
        // The matcher takes `*` for every name, and not for addresses.
        let nobody = no.split(',').any(|entry| entry.trim() == "*");
        let any = Matcher::builder().all("http://any").no(no).build();
        if nobody || any.intercept(&uri).is_none() {
            return Ok(None);
        }
        let unusable = |reason| SettingsError::Environment { variable, reason };
        let form = || unusable("expected http(s)://[USER:PASSWORD@]HOST:PORT");
        let matcher = Matcher::builder().all(value).build();
        let intercept = matcher.intercept(&uri).ok_or_else(form)?;
        if intercept.uri().scheme_str().is_some_and(is_socks) {
            return Err(unusable("SOCKS is not spoken here"));
        }
        let url = url(&intercept).ok_or_else(form)?;
        let authorization = intercept.basic_auth().cloned();
        Ok(Some(Hop { url, authorization }))
    }

    /// The first that says something, with its name.
    fn first(&self, names: [&'static str; 2]) -> Option<(&'static str, String)> {
        let mut set = names.into_iter().map(|name| (name, (self.0)(name)));
        set.find_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
    }
}

fn is_socks(scheme: &str) -> bool {
    scheme.starts_with("socks")
}

fn url(intercept: &Intercept) -> Option<HttpProxyUrl> {
    intercept.uri().to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Vec<Option<String>>, SettingsError> {
        let proxies = [
            "--proxy-url=https://tls.example",
            "--proxy-url=http://clear.example:8080",
            "--proxy-url=http://127.0.0.1:1",
            "--proxy-url=https://localhost:1",
            "--proxy-url=https://[2001:db8::1]",
            "--target=pi:9100",
        ];
        let config = Config::from_args(proxies.iter().chain(flags)).unwrap();
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let routes = Routes::with(&config, &variable)?;
        assert!(!format!("{routes:?}").contains("cGFzcw"), "{routes:?}");
        let show = |hop: &Hop| {
            let authorization = hop.authorization.as_ref();
            let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
            let scheme = if hop.url.tls { "https://" } else { "" };
            format!(
                "{scheme}{}{}",
                hop.url,
                authorization.map_or(String::new(), |value| format!(" {value}"))
            )
        };
        let hops = config.proxies.iter().map(|proxy| routes.hop(proxy));
        Ok(hops.map(|hop| hop.map(show)).collect())
    }

    /// The ways to `https://tls.example`, `http://clear.example:8080`, two of this machine, and an
    /// IPv6 address.
    #[test]
    fn the_environment_is_read_as_curl_and_go_do() {
        let (one, two) = ("one:3128", "two:80");
        for (environment, expected) in [
            (&[][..], [None, None, None]),
            (
                &[("HTTPS_PROXY", "http://one:3128")],
                [Some(one), None, Some(one)],
            ),
            (&[("http_proxy", "two")], [None, Some(two), None]),
            (
                &[("HTTPS_PROXY", ""), ("https_proxy", "one:3128")],
                [Some(one), None, Some(one)],
            ),
            (
                &[("HTTPS_PROXY", "one:3128"), ("https_proxy", "two")],
                [Some(one), None, Some(one)],
            ),
            (
                &[("ALL_PROXY", "one:3128"), ("HTTP_PROXY", "http://two/")],
                [Some(one), Some(two), Some(one)],
            ),
            (
                &[("all_proxy", "one:3128"), ("NO_PROXY", "other, .example")],
                [None, None, Some(one)],
            ),
            (
                &[("ALL_PROXY", "one:3128"), ("no_proxy", "2001:db8::/32")],
                [Some(one), Some(one), None],
            ),
            (&[("ALL_PROXY", "one:3128"), ("no_proxy", "*")], [None; 3]),
            (
                &[("HTTP_PROXY", "https://u%40x:pass@one")],
                [None, Some("https://one:443 Basic dUB4OnBhc3M="), None],
            ),
        ] {
            let ways = routes(&[], environment).unwrap();
            let expected = expected.map(|hop| hop.map(str::to_owned));
            assert_eq!([&ways[0], &ways[1], &ways[4]], expected.each_ref());
            assert_eq!([&ways[2], &ways[3]], [&None, &None], "this machine");
            assert_eq!(
                routes(&["--http-proxy=none"], environment).unwrap(),
                [None, None, None, None, None]
            );
            let all = routes(&["--http-proxy=http://own:1"], environment).unwrap();
            assert!(all.iter().all(|hop| hop.as_deref() == Some("own:1")));
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_ways_out() {
        for (value, says) in [
            ("socks5://u:s3cret@one:1080", "SOCKS"),
            ("ftp://u:s3cret@one", "expected http(s)://"),
            ("http://u:s3cret@one two", "expected http(s)://"),
            ("http://u:s3cret@one:99999", "expected http(s)://"),
        ] {
            let error = routes(&[], &[("HTTPS_PROXY", value)]).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with("HTTPS_PROXY: "), "{error}");
            assert!(error.contains(says) && error.contains("--http-proxy=none"));
            assert!(!error.contains("s3cret"), "{error}");
            // Who does not use it is not bothered by it.
            routes(&["--http-proxy=none"], &[("HTTPS_PROXY", value)]).unwrap();
            routes(&[], &[("HTTPS_PROXY", value), ("NO_PROXY", "*")]).unwrap();
        }
    }
}
