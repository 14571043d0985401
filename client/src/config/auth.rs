//! Who we say we are to the proxies, and where the secrets for it are. Never the secrets.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What we show to a proxy, or to a front of it. Nothing: nobody asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// Holds our token.
    pub token_file: Option<PathBuf>,
    /// For a proxy, or a front of it, that asks for a user.
    pub basic: Option<Basic>,
}

/// A user, and where the password is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basic {
    /// Who. It has no colon (RFC 7617 §2).
    pub username: String,
    /// Holds the password.
    pub password_file: PathBuf,
}

/// The key `auth`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileAuth {
    pub(super) token_file: Option<PathBuf>,
    pub(super) basic: FileBasic,
}

/// A user and a password, as the file has them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileBasic {
    pub(super) username: Option<String>,
    pub(super) password_file: Option<PathBuf>,
}

impl FileAuth {
    /// With its files found.
    pub(super) fn resolve(self, directory: &Path) -> Self {
        let at = |file: Option<PathBuf>| file.map(|file| directory.join(file));
        Self {
            token_file: at(self.token_file),
            basic: FileBasic {
                password_file: at(self.basic.password_file),
                ..self.basic
            },
        }
    }
}

impl Basic {
    /// Of two halves; nothing of none.
    ///
    /// # Errors
    /// One is missing, or the user is none.
    pub(super) fn of(
        username: Option<String>,
        password_file: Option<PathBuf>,
    ) -> Result<Option<Self>, &'static str> {
        match (username, password_file) {
            (None, None) => Ok(None),
            (Some(username), Some(password_file)) => {
                if username.contains(|c: char| c == ':' || c.is_control()) {
                    return Err("a username has no colon and no control characters");
                }
                Ok(Some(Self {
                    username,
                    password_file,
                }))
            }
            _ => Err("a username and a password_file go together, one is missing"),
        }
    }
}
