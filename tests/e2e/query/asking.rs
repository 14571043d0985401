//! Asking the query side as its callers do, and what it says of its backends.

use std::net::SocketAddr;

use adit_tests::pair::{self, Client, Proxy};
use adit_tests::scraper::{self, Answer};
use adit_tests::wait::{PATIENCE, eventually};
use serde_json::Value;
use tempfile::TempDir;

/// What switches it on.
pub(super) const LISTEN: &str = "--query.listen-address=127.0.0.1:0";
/// A server is worth as much in a moment as it would be in half a minute.
pub(super) const QUICK: &str = "health: {interval: 1s, timeout: 5s, warm_up: 0s}";
/// Prometheus' forms.
pub(super) const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// A proxy with a query side.
pub(super) struct Side {
    pub(super) proxy: Proxy,
    pub(super) query: SocketAddr,
    _folder: TempDir,
}

impl Side {
    /// With this file.
    pub(super) async fn start(file: &str) -> Self {
        Self::with(file, &[]).await
    }

    /// The same, with more flags.
    pub(super) async fn with(file: &str, flags: &[&str]) -> Self {
        let (folder, config) = pair::config(file);
        let mut all = vec![LISTEN, &config];
        all.extend(flags);
        let proxy = Proxy::start(&all).await;
        Self {
            query: proxy.query.unwrap(),
            proxy,
            _folder: folder,
        }
    }

    /// A client of it, with these flags.
    pub(super) async fn client(&self, flags: &[&str]) -> Client {
        Client::start(&[&self.proxy.url()], flags).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        scraper::page(self.query, path).await
    }

    pub(super) async fn post(&self, path: &str, form: &str) -> Answer {
        scraper::send(self.query, post(path, form)).await
    }

    /// Waits until the backend called `name` is in `state`, and gives all that is said of it.
    pub(super) async fn is(&self, name: &str, state: &str) -> Value {
        self.until(name, &format!("is {state}"), |seen| seen["state"] == state)
            .await
    }

    /// Waits until that holds of it.
    pub(super) async fn until(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(PATIENCE, &format!("{name} {what}"), async || {
            match self.backend(name).await {
                Some(seen) if holds(&seen) => Ok(seen),
                seen => Err(format!("{seen:?}")),
            }
        })
        .await
    }

    /// All that is said of the backend called `name`, if it is in any pool.
    pub(super) async fn backend(&self, name: &str) -> Option<Value> {
        let page = self.get("/api/v1/backends").await.expect(200);
        let page: Value = serde_json::from_slice(&page.body).unwrap();
        let pools = page["data"]["pools"].as_array().unwrap().clone();
        let mut all = pools.into_iter().flat_map(|pool| {
            let backends = pool["backends"].as_array().unwrap().clone();
            backends.into_iter()
        });
        all.find(|backend| backend["name"] == name)
    }
}

/// A form by POST, on a connection of its own.
pub(super) fn post(path: &str, form: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{FORM}Content-Length: {}\r\n\
         Connection: close\r\n\r\n{form}",
        form.len()
    )
}

/// `pairs` as a form, or behind a question mark.
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs).finish()
}

/// Who has answered, after how many tries.
pub(super) fn served(answer: &Answer) -> (String, String) {
    let field = |name| answer.head.field(name).unwrap_or_default();
    (field("adit-served-by"), field("adit-attempts"))
}
