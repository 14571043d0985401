//! A placeholder until the web configuration is merged: it asks nothing of anybody.
#![allow(missing_docs)]
use crate::secret::Secret;
use http::HeaderMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
#[derive(Debug, Default)]
pub struct WebConfig {
    pub users: Users,
    pub headers: HeaderMap,
    pub tls: Option<ServerTls>,
    pub rate_limit: Option<RateLimit>,
}
impl WebConfig {
    pub fn asks(&self) -> bool {
        false
    }
}
#[derive(Debug)]
pub struct RateLimit;
impl RateLimit {
    pub fn admit(&self) -> bool {
        true
    }
}
#[derive(Debug)]
pub struct ServerTls;
#[derive(Debug, Default)]
pub struct Users;
impl Users {
    pub fn get(&self, _: &str) -> Option<&PasswordHash> {
        None
    }
    pub fn is_empty(&self) -> bool {
        true
    }
    pub fn cost(&self) -> u32 {
        10
    }
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
}
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct PasswordHash(String);
impl TryFrom<String> for PasswordHash {
    type Error = &'static str;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        if s.starts_with("$2") {
            Ok(Self(s))
        } else {
            Err("expected a bcrypt hash")
        }
    }
}
impl PasswordHash {
    pub fn cost(&self) -> u32 {
        4
    }
}
#[derive(Debug, Default)]
pub struct Passwords;
pub enum Verdict {
    Right,
    Wrong,
    Busy,
}
impl Passwords {
    pub fn new() -> Self {
        Self
    }
    pub fn known(&self, _: Option<&PasswordHash>, _: &str, _: &Secret) -> Option<bool> {
        None
    }
    pub async fn check(&self, _: Option<&PasswordHash>, _: u32, _: &str, _: &Secret) -> Verdict {
        Verdict::Wrong
    }
}
#[derive(Debug, Clone)]
pub struct PeerNames;
impl PeerNames {
    pub fn verified(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
    pub fn is_verified(&self) -> bool {
        false
    }
}
#[derive(Debug)]
pub struct Web(watch::Sender<Arc<WebConfig>>);
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct WebConfigError;
impl Web {
    pub fn open(_: Option<PathBuf>) -> Result<Self, WebConfigError> {
        Ok(Self(watch::Sender::new(Arc::default())))
    }
    pub fn current(&self) -> Arc<WebConfig> {
        Arc::clone(&self.0.borrow())
    }
    pub fn subscribe(&self) -> watch::Receiver<Arc<WebConfig>> {
        self.0.subscribe()
    }
    pub fn path(&self) -> Option<&Path> {
        None
    }
    pub fn reread(&self) -> Result<(), String> {
        Ok(())
    }
    pub async fn keep_fresh(
        self: Arc<Self>,
        _told: impl Fn(&Result<(), String>) + Send + Sync + 'static,
    ) {
        std::future::pending().await
    }
}
pub fn unused(_: &Path) {}
