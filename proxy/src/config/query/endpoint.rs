//! Where a server of somebody else's is that tells where backends are.

use std::fmt;

/// A URL that is asked. A password or a token may stand in it, and is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// As it was written, for whoever asks there.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Endpoint {
    fn from(url: String) -> Self {
        Self(url)
    }
}

/// Without a user, and without its query, where tokens stand.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self
            .0
            .split_once(['?', '#'])
            .map_or(&*self.0, |(url, _)| url);
        // What is no URL may be anything.
        let Some((scheme, rest)) = url.split_once("://") else {
            return Ok(());
        };
        // A password that is not encoded may end anywhere.
        let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
        match self.0.contains('@') && !url.contains('@') {
            true => write!(f, "{scheme}://"),
            false => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_password_is_shown() {
        for (url, shown) in [
            ("https://sd.example/x", "https://sd.example/x"),
            ("http://u:s3cret@a:1/x?y", "http://a:1/x"),
            ("http://a:1/x?token=s3cret", "http://a:1/x"),
            ("http://a:1/x#s3cret", "http://a:1/x"),
            ("http://u:s3cret/x@a:1/y", "http://a:1/y"),
            ("http://u:s3cret?x@a:1", "http://"),
            ("http://u:s3cret#x@a:1", "http://"),
            ("s3cret", ""),
        ] {
            let endpoint = Endpoint::from(url.to_owned());
            assert_eq!(
                format!("{endpoint} {endpoint:?}"),
                format!("{shown} {shown}")
            );
            assert_eq!(endpoint.expose(), url);
        }
    }
}
