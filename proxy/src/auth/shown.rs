//! What a request and its connection show of who is asking.

use std::net::IpAddr;

use adit_common::credentials::Credentials;
use adit_common::headers::TOKEN;
use adit_common::net::socket::Peer;
use adit_common::secret::{Digest, MAX_SECRET, Secret};
use adit_common::web_config::{PeerNames, San};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    peer: Peer,
    names: PeerNames,
}

impl Visitor {
    /// At this address, with the certificate that was verified if there was one.
    pub(crate) fn new(peer: Peer, names: PeerNames) -> Self {
        Self { peer, names }
    }

    /// Address and port, for logs.
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// The address; none on a Unix socket.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.peer.ip()
    }

    /// The same certificate, from where a front proxy says that the request came.
    pub(crate) fn forwarded_from(&self, peer: Peer) -> Self {
        Self {
            peer,
            names: self.names.clone(),
        }
    }

    /// The names in the certificate that was verified.
    pub(super) fn sans(&self) -> impl Iterator<Item = &San> {
        self.names.iter()
    }

    /// Whether a certificate was shown and verified.
    pub(super) fn is_certified(&self) -> bool {
        self.names.is_verified()
    }
}

/// Tokens that a request shows, wherever it may: a front proxy may keep `Authorization` for itself,
/// and PushProx's clients know only users and passwords.
pub(super) fn tokens(headers: &HeaderMap) -> Vec<Digest> {
    let own = headers.get_all(TOKEN).iter().filter_map(|value| {
        let token = value.to_str().ok()?.trim();
        (!token.is_empty() && token.len() <= MAX_SECRET).then(|| Digest::of(token.as_bytes()))
    });
    let other = credentials(headers, &AUTHORIZATION).map(|shown| match shown {
        Credentials::Bearer(token) => token.digest(),
        Credentials::Basic { password, .. } => password.digest(),
    });
    own.take(1).chain(other).collect()
}

/// A user with a password.
pub(super) fn basic(headers: &HeaderMap, field: &HeaderName) -> Option<(String, Secret)> {
    match credentials(headers, field)? {
        Credentials::Basic { user, password } => Some((user, password)),
        Credentials::Bearer(_) => None,
    }
}

/// Whether anything is shown at all, by field.
pub(super) fn shows(headers: &HeaderMap, field: &HeaderName) -> bool {
    headers.contains_key(field)
}

/// Of two fields nobody knows which one a front proxy looked at: then there are none.
fn credentials(headers: &HeaderMap, field: &HeaderName) -> Option<Credentials> {
    let mut values = headers.get_all(field).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Credentials::parse(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_token_may_stand_in_three_places() {
        let token = [Digest::of(b"s3cret")];
        for fields in [
            &[(TOKEN, "s3cret")][..],
            &[(AUTHORIZATION, "Bearer s3cret")],
            // x:s3cret
            &[(AUTHORIZATION, "Basic eDpzM2NyZXQ=")],
        ] {
            assert_eq!(tokens(&headers(fields)), token, "{fields:?}");
        }
        let both = headers(&[(TOKEN, "s3cret"), (AUTHORIZATION, "Basic eDp5")]);
        assert_eq!(tokens(&both), [Digest::of(b"s3cret"), Digest::of(b"y")]);
        for fields in [&[][..], &[(TOKEN, "")], &[(AUTHORIZATION, "Digest x")]] {
            assert!(tokens(&headers(fields)).is_empty(), "{fields:?}");
        }
    }

    #[test]
    fn two_fields_are_none() {
        let twice = headers(&[(AUTHORIZATION, "Bearer a"), (AUTHORIZATION, "Bearer b")]);
        assert!(tokens(&twice).is_empty());
        let one = headers(&[(AUTHORIZATION, "Basic eDpzM2NyZXQ=")]);
        assert_eq!(basic(&one, &AUTHORIZATION).unwrap().0, "x");
    }
}
