//! Scrapers and people: who may scrape which target, see which page, and query which pool.

use std::sync::Arc;

use adit_common::name::Name;
use adit_common::target::Target;
use http::HeaderMap;

use super::Auth;
use super::denied::{Denied, Way};
use super::shown::{Visitor, basic, shows};
use crate::config::access::Access;
use crate::config::access::scrapers::{Page, Rights, Whom};

/// Who scrapes or looks at a page, and what they may.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    visitor: Visitor,
    id: Option<Arc<str>>,
    /// Nothing: everything.
    rights: Option<Arc<Rights>>,
    /// Whether there are users, one of whom they may be.
    asked: bool,
}

impl Caller {
    /// From where they come.
    pub(crate) fn visitor(&self) -> &Visitor {
        &self.visitor
    }

    /// Whether they may scrape it.
    ///
    /// # Errors
    /// In words, with who and what.
    pub(crate) fn may_scrape(&self, target: &Target) -> Result<(), String> {
        match &self.rights {
            Some(rights) if !rights.may_scrape(target) => {
                Err(format!("{} may not scrape {target}", self.id()))
            }
            _ => Ok(()),
        }
    }

    /// Whether they may know of it.
    pub(crate) fn may_know(&self, name: &Name) -> bool {
        self.rights
            .as_ref()
            .is_none_or(|rights| rights.may_know(name))
    }

    /// Whether they may see it.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn may_see(&self, page: Page) -> Result<(), Denied> {
        match &self.rights {
            Some(rights) if !rights.may_see(page) => {
                let words = format!("{} may not see this page", self.id());
                Err(Denied::Forbidden(words))
            }
            _ => Ok(()),
        }
    }

    /// Whether they may ask it.
    ///
    /// # Errors
    /// In words, with who and what.
    pub(crate) fn may_query(&self, pool: &str) -> Result<(), String> {
        match &self.rights {
            Some(rights) if !rights.may_query(pool) => {
                Err(format!("{} may not query pool {pool}", self.id()))
            }
            _ => Ok(()),
        }
    }

    /// Whether we ask for users: then what stands in `Authorization` is for us, also where a certificate
    /// was enough, and nobody else's business.
    pub(crate) fn asked_by_us(&self) -> bool {
        self.asked
    }

    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or("whoever gives no credentials")
    }
}

impl Auth {
    /// Who scrapes, or looks at a page.
    ///
    /// # Errors
    /// Why they are not let in; it is counted, and said in the log.
    pub(crate) async fn scraper(
        &self,
        visitor: &Visitor,
        headers: &HeaderMap,
        way: Way,
    ) -> Result<Caller, Denied> {
        let found = self.find_scraper(visitor, headers, way).await;
        if let Err(denied) = &found {
            self.note("scraper", visitor, denied);
            super::others_first().await;
        }
        found
    }

    async fn find_scraper(
        &self,
        visitor: &Visitor,
        headers: &HeaderMap,
        way: Way,
    ) -> Result<Caller, Denied> {
        let web = self.web.current();
        let access = self.access();
        let asked = !web.users.is_empty();
        if let Some((san, rights)) = by_certificate(&access, visitor) {
            return Ok(Caller {
                visitor: visitor.clone(),
                id: Some(san.into()),
                rights: Some(Arc::new(rights)),
                asked,
            });
        }
        if !asked {
            if web.asks() && !visitor.is_certified() {
                return Err(Denied::Missing);
            }
            return Ok(Caller {
                visitor: visitor.clone(),
                id: None,
                // With rules nobody is everybody.
                rights: access.scrapers.is_some().then(Arc::default),
                asked,
            });
        }
        let field = way.field();
        let Some((user, password)) = basic(headers, &field) else {
            return Err(match shows(headers, &field) {
                true => Denied::Wrong,
                false => Denied::Missing,
            });
        };
        let hash = web.users.get(&user);
        let cost = web.users.cost();
        let right = self.is_password(visitor, hash, cost, &user, &password);
        match right.await? && hash.is_some() {
            true => Ok(Caller {
                visitor: visitor.clone(),
                rights: of_user(&access, &user).map(Arc::new),
                id: Some(user.into()),
                asked,
            }),
            false => Err(Denied::Wrong),
        }
    }

    /// They may not do what they ask: counted, and said in the log.
    pub(crate) fn note_forbidden(&self, caller: &Caller, words: &str) {
        let denied = Denied::Forbidden(words.to_owned());
        self.note("scraper", &caller.visitor, &denied);
    }
}

fn by_certificate(access: &Access, visitor: &Visitor) -> Option<(String, Rights)> {
    let scrapers = access.scrapers.as_deref()?;
    visitor.sans().find_map(|san| {
        let mut rights: Option<Rights> = None;
        for scraper in scrapers {
            if matches!(&scraper.whom, Whom::San(pattern) if pattern.matches(san)) {
                rights.get_or_insert_default().join(&scraper.rights);
            }
        }
        rights.map(|rights| (san.text(), rights))
    })
}

/// Nothing, where nothing is said of anybody: everything. Of whom nothing is said where something is
/// said of others, they may nothing.
fn of_user(access: &Access, user: &str) -> Option<Rights> {
    let mut rights = Rights::default();
    for scraper in access.scrapers.as_deref()? {
        if matches!(&scraper.whom, Whom::User(name) if name == user) {
            rights.join(&scraper.rights);
        }
    }
    Some(rights)
}

#[cfg(test)]
mod tests {
    use adit_common::net::socket::Peer;
    use adit_common::web_config::{PeerNames, Web};
    use http::HeaderValue;
    use http::header::AUTHORIZATION;

    use super::*;
    use crate::config::access::FileAuth;
    use crate::metrics::Metrics;

    /// `pw-of-prometheus`
    const USERS: &str = "basic_auth_users: {prometheus: \
                         $2y$04$qJzForUol1eJmZqAi7OVw.fBZbmBpqynVqN1MFLNBvSMgrsoJNT9W}\n";
    const BASIC: &str = "Basic cHJvbWV0aGV1czpwdy1vZi1wcm9tZXRoZXVz";

    async fn caller(users: &str, scrapers: &str) -> Caller {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yml");
        std::fs::write(&path, users).unwrap();
        let web = Arc::new(Web::open(Some(path)).unwrap());
        let access: FileAuth = adit_common::config_file::parse(scrapers).unwrap();
        let access = access.resolve(folder.path(), None).unwrap();
        let auth = Auth::new(access, web, 1, &Metrics::new().unwrap());
        let visitor = Visitor::new(Peer::Ip(([127, 0, 0, 1], 1).into()), PeerNames::default());
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(BASIC));
        let caller = auth.scraper(&visitor, &headers, Way::Origin).await;
        caller.unwrap()
    }

    #[tokio::test]
    async fn pools_are_for_those_who_may_and_credentials_for_whoever_asked() {
        let rights = "scrapers: [{user: prometheus, pools: [main]}]\n";
        for (users, scrapers, asked, main, other) in [
            // Nobody asks: what they show is for the backend.
            ("", "", false, true, true),
            (USERS, "", true, true, true),
            (USERS, rights, true, true, false),
            (
                USERS,
                "scrapers: [{user: prometheus, pools: ['*']}]\n",
                true,
                true,
                true,
            ),
            (
                USERS,
                "scrapers: [{user: ops, pools: ['*']}]\n",
                true,
                false,
                false,
            ),
            // With rules nobody is everybody.
            ("", rights, false, false, false),
        ] {
            let caller = caller(users, scrapers).await;
            let may = ["main", "other"].map(|pool| caller.may_query(pool).is_ok());
            assert_eq!(caller.asked_by_us(), asked, "{users}{scrapers}");
            assert_eq!(may, [main, other], "{users}{scrapers}");
        }
        let caller = caller(USERS, rights).await;
        let words = caller.may_query("other").unwrap_err();
        assert_eq!(words, "prometheus may not query pool other");
    }
}
