//! The whole file as it is meant.

use std::path::Path;

use http::HeaderMap;

use super::headers;
use super::rate_limit::RateLimit;
use super::server_tls::ServerTls;
use super::sources::Sources;
use super::users::Users;
use crate::config_file::FileError;

/// What a web configuration asks. The default asks nothing: plain HTTP for everybody.
#[derive(Debug, Default)]
pub struct WebConfig {
    /// TLS, where it is on.
    pub tls: Option<ServerTls>,
    /// Who must say a password, if anybody.
    pub users: Users,
    /// Set on every answer of ours.
    pub headers: HeaderMap,
    /// How many requests are answered.
    pub rate_limit: Option<RateLimit>,
}

impl WebConfig {
    /// Reads the file and the files it names, and checks all that is in them. It blocks. Relative
    /// paths are relative to where the file is.
    ///
    /// # Errors
    /// `PATH:LINE:COLUMN: what is wrong`, or `PATH: the key and what is wrong`; one line, without
    /// any secret.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        Self::of(Sources::read(path))
    }

    /// What the file would mean beside those that can be named in it.
    #[cfg(fuzzing)]
    pub fn given(path: &Path, text: &str, named: &[(&str, &[u8])]) -> Result<Self, FileError> {
        Self::of(Sources::given(path, text, named))
    }

    pub(super) fn of(mut sources: Sources) -> Result<Self, FileError> {
        let written = std::mem::replace(&mut sources.written, Ok(Default::default()))?;
        let path = sources.main().display();
        let wrong = |says: String| FileError::Syntax(format!("{path}: {says}"));
        let tls = written.tls_server_config.unwrap_or_default();
        let tls = ServerTls::read(&tls, &sources).map_err(wrong)?;
        let headers = written.http_server_config.and_then(|http| http.headers);
        let headers = headers::read(&headers.unwrap_or_default()).map_err(wrong)?;
        let users = written.basic_auth_users.as_ref().map(Users::read);
        let users = users.transpose().map_err(wrong)?.unwrap_or_default();
        let rate_limit = RateLimit::read(&written.rate_limit.unwrap_or_default());
        let rate_limit = rate_limit.map_err(wrong)?;
        Ok(Self {
            tls,
            users,
            headers,
            rate_limit,
        })
    }

    /// Whether nobody comes in unknown: there are users, or clients' certificates are required and
    /// verified.
    pub fn asks(&self) -> bool {
        !self.users.is_empty() || self.tls.as_ref().is_some_and(ServerTls::requires_verified)
    }
}
