//! Who asks for a page, and whether they may see any.

use adit_common::credentials::Credentials;
use adit_common::net::socket::Peer;
use adit_common::web_config::Verdict;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::Client;

/// Seconds until there is time for who came too early.
const RETRY_SECONDS: u64 = 5;

/// At the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visitor {
    pub(super) peer: Peer,
    /// By a certificate that was verified.
    pub(super) is_certified: bool,
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    #[error("no credentials were given")]
    Missing,
    #[error("the credentials are wrong")]
    Wrong,
    #[error("too many passwords wait to be checked, try again later")]
    Busy,
    #[error("too many requests (rate_limit of the web configuration)")]
    TooMany,
}

impl Visitor {
    /// Whether who sends these fields is let in by the web configuration.
    pub(super) async fn check(&self, client: &Client, headers: &HeaderMap) -> Result<(), Denied> {
        let web = client.web.current();
        if web.rate_limit.as_ref().is_some_and(|limit| !limit.allow()) {
            return Err(Denied::TooMany);
        }
        if web.users.is_empty() {
            // A handshake of before certificates were asked for lets nobody in any longer.
            return match !web.asks() || self.is_certified {
                true => Ok(()),
                false => Err(Denied::Missing),
            };
        }
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let (user, password) = match (shown.next(), shown.next()) {
            (None, _) => return Err(Denied::Missing),
            (Some(value), None) => match Credentials::parse(value) {
                Some(Credentials::Basic { user, password }) => (user, password),
                _ => return Err(self.refused()),
            },
            // Of two nobody knows which one counts.
            _ => return Err(self.refused()),
        };
        let hash = web.users.get(&user);
        let cost = web.users.cost();
        match client.passwords.check(hash, cost, &user, &password).await {
            Verdict::Right if hash.is_some() => Ok(()),
            Verdict::Right | Verdict::Wrong => Err(self.refused()),
            Verdict::Busy => Err(Denied::Busy),
        }
    }

    fn refused(&self) -> Denied {
        tracing::debug!(peer = %self.peer, "wrong credentials for our pages");
        Denied::Wrong
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let words = format!("{self}\n");
        match self {
            Self::Missing | Self::Wrong => {
                let basic = HeaderValue::from_static("Basic realm=\"adit\", charset=\"UTF-8\"");
                (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, basic)], words).into_response()
            }
            Self::Busy | Self::TooMany => {
                let later = HeaderValue::from(RETRY_SECONDS);
                (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, later)], words).into_response()
            }
        }
    }
}
