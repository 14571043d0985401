//! Clients: who may open a tunnel or poll, and under which names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use adit_common::name::Name;
use adit_common::web_config::{PasswordHash, San, WebConfig};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::Auth;
use super::denied::Denied;
use super::shown::{Visitor, basic, shows, tokens};
use crate::config::access::clients::{Client, Clients, Shown, covers};
use crate::config::pattern::Pattern;

/// What somebody was let in by, and what for.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    by: By,
    names: Arc<[Pattern]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    /// Nobody is asked.
    Nothing,
    /// A certificate that the web configuration demands.
    Certificate,
    /// A user of the web configuration, by this password.
    User { user: String, hash: PasswordHash },
    /// An entry of the configuration, in whose certificate this name stands.
    Entry {
        client: Arc<Client>,
        san: Option<San>,
    },
}

impl Grant {
    fn all(by: By) -> Self {
        Self {
            by,
            names: Arc::new([Pattern::Any]),
        }
    }

    fn entry(client: &Arc<Client>, san: Option<&San>) -> Self {
        let rules = client.names.iter();
        let text = san.map(San::text);
        Self {
            names: rules
                .filter_map(|rule| rule.pattern(text.as_deref()))
                .collect(),
            by: By::Entry {
                client: Arc::clone(client),
                san: san.cloned(),
            },
        }
    }

    /// Whether it covers all of them.
    ///
    /// # Errors
    /// The first name it is not good for.
    pub(crate) fn may_take(&self, names: &[Name]) -> Result<(), Denied> {
        match names.iter().find(|name| !covers(&self.names, name)) {
            None => Ok(()),
            Some(name) => {
                let words = format!(
                    "these credentials ({}) are not for the name {name}",
                    self.id()
                );
                Err(Denied::Forbidden(words))
            }
        }
    }

    /// Whose it is, for logs. Never the secret.
    pub(crate) fn id(&self) -> String {
        match &self.by {
            By::Nothing => "anybody".to_owned(),
            By::Certificate => "a certificate".to_owned(),
            By::User { user, .. } => user.clone(),
            By::Entry { client, san } => san.as_ref().map_or_else(|| client.id.clone(), San::text),
        }
    }

    /// Who shares a place with it: one credential.
    fn key(&self) -> String {
        match &self.by {
            By::Nothing => String::new(),
            By::Certificate => "certificate".to_owned(),
            By::User { user, .. } => format!("web user {user}"),
            By::Entry { client, san } => match (&client.shown, san) {
                (Shown::Token(digest), _) => format!("token {digest}"),
                (Shown::Basic { user, .. }, _) => format!("user {user}"),
                (Shown::San(_), san) => format!("san {san:?}"),
            },
        }
    }
}

impl Auth {
    /// Who asks for a tunnel, polls or pushes.
    ///
    /// # Errors
    /// Why they are not let in; it is counted, and said in the log.
    pub(crate) async fn client(
        &self,
        visitor: &Visitor,
        headers: &HeaderMap,
    ) -> Result<Grant, Denied> {
        let found = self.find_client(visitor, headers).await;
        if let Err(denied) = &found {
            self.note("client", visitor, denied);
            super::others_first().await;
        }
        found
    }

    async fn find_client(&self, visitor: &Visitor, headers: &HeaderMap) -> Result<Grant, Denied> {
        let access = self.access();
        let web = self.web.current();
        if let Some(clients) = &access.clients {
            return self.listed(clients, visitor, headers).await;
        }
        if !web.asks() {
            return Ok(Grant::all(By::Nothing));
        }
        if web.users.is_empty() {
            return match visitor.is_certified() {
                true => Ok(Grant::all(By::Certificate)),
                false => Err(Denied::Missing),
            };
        }
        let user = self.user(&web, visitor, headers).await?;
        Ok(Grant::all(user))
    }

    /// One of the entries, by whatever of it is shown.
    async fn listed(
        &self,
        clients: &Clients,
        visitor: &Visitor,
        headers: &HeaderMap,
    ) -> Result<Grant, Denied> {
        let by_token = tokens(headers)
            .iter()
            .find_map(|digest| clients.by_token(digest).cloned());
        if let Some(client) = by_token {
            return Ok(Grant::entry(&client, None));
        }
        for san in visitor.sans() {
            if let Some(client) = clients.by_san(san) {
                return Ok(Grant::entry(client, Some(san)));
            }
        }
        if let Some(cost) = clients.cost()
            && let Some((user, password)) = basic(headers, &AUTHORIZATION)
        {
            let client = clients.by_user(&user);
            let hash = client.and_then(|client| match &client.shown {
                Shown::Basic { hash, .. } => Some(hash),
                _ => None,
            });
            let right = self.is_password(visitor, hash, cost, &user, &password);
            if right.await?
                && let Some(client) = client
            {
                return Ok(Grant::entry(client, None));
            }
        }
        Err(nothing_or_wrong(headers))
    }

    async fn user(
        &self,
        web: &WebConfig,
        visitor: &Visitor,
        headers: &HeaderMap,
    ) -> Result<By, Denied> {
        let Some((user, password)) = basic(headers, &AUTHORIZATION) else {
            return Err(nothing_or_wrong(headers));
        };
        let hash = web.users.get(&user);
        let cost = web.users.cost();
        let right = self.is_password(visitor, hash, cost, &user, &password);
        match (right.await?, hash) {
            (true, Some(hash)) => {
                let hash = hash.clone();
                Ok(By::User { user, hash })
            }
            _ => Err(Denied::Wrong),
        }
    }

    /// The grant as of now; nothing, when what it was given for is good no longer.
    pub(crate) fn renew(&self, grant: &Grant) -> Option<Grant> {
        let access = self.access();
        let web = self.web.current();
        match (&grant.by, &access.clients) {
            (By::Nothing, None) => (!web.asks()).then(|| grant.clone()),
            (By::Certificate, None) => (web.asks() && web.users.is_empty()).then(|| grant.clone()),
            (By::User { user, hash }, None) => {
                (web.users.get(user) == Some(hash)).then(|| grant.clone())
            }
            (By::Entry { client, san }, Some(clients)) => {
                let now = match (&client.shown, san) {
                    (Shown::Token(digest), _) => clients.by_token(digest),
                    (Shown::Basic { user, .. }, _) => clients
                        .by_user(user)
                        // Another password is another credential.
                        .filter(|now| now.shown == client.shown),
                    (Shown::San(_), san) => clients.by_san(san.as_ref()?),
                };
                now.map(|client| Grant::entry(client, san.as_ref()))
            }
            _ => None,
        }
    }

    /// A place among the sessions of these credentials.
    ///
    /// # Errors
    /// When there are as many as may be; it is counted.
    pub(crate) fn place(&self, visitor: &Visitor, grant: &Grant) -> Result<Place, Denied> {
        let most = match &grant.by {
            By::Entry { client, .. } => client.sessions.map(std::num::NonZero::get),
            _ => None,
        };
        let most = most.unwrap_or(self.sessions_per_credential);
        let place = Places::take(&self.places, grant.key(), most);
        place.ok_or_else(|| {
            let denied = Denied::Sessions(most);
            self.note("client", visitor, &denied);
            denied
        })
    }

    /// It is not for that: counted, and said in the log.
    pub(crate) fn note_denied(&self, visitor: &Visitor, denied: &Denied) {
        self.note("client", visitor, denied);
    }
}

fn nothing_or_wrong(headers: &HeaderMap) -> Denied {
    match shows(headers, &AUTHORIZATION) || shows(headers, &adit_common::headers::TOKEN) {
        true => Denied::Wrong,
        false => Denied::Missing,
    }
}

/// Sessions by credential.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<HashMap<String, usize>>);

/// One of them; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    key: String,
}

impl Places {
    fn take(places: &Arc<Self>, key: String, most: usize) -> Option<Place> {
        let mut table = places.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = table.get(&key).copied().unwrap_or(0);
        if taken >= most {
            return None;
        }
        table.insert(key.clone(), taken + 1);
        drop(table);
        Some(Place {
            places: Arc::clone(places),
            key,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = table.get_mut(&self.key) {
            *taken -= 1;
            if *taken == 0 {
                table.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back_and_the_table_is_emptied() {
        let places = Arc::new(Places::default());
        let take = |key: &str| Places::take(&places, key.to_owned(), 2);
        let (one, two) = (take("a").unwrap(), take("a").unwrap());
        assert!(take("a").is_none());
        let other = take("b").unwrap();
        drop(one);
        let three = take("a").unwrap();
        drop((two, three, other));
        assert!(places.0.lock().unwrap().is_empty());
    }
}
