//! What a target wants of whoever asks it, so that its secret need not leave its network.

use std::path::{Path, PathBuf};

use http::HeaderValue;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::credentials::Credentials;
use crate::secret::{Secret, SecretError};

/// Where the credentials for a target are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialFile {
    /// A token, RFC 6750.
    Bearer(PathBuf),
    /// A user, and the password in a file; RFC 7617.
    Basic {
        /// Has no colon.
        username: String,
        /// The password alone.
        password_file: PathBuf,
    },
}

impl CredentialFile {
    /// Reads the file and gives what is sent as `Authorization`, marked as sensitive. It blocks.
    ///
    /// # Errors
    /// Names the file and never shows what is in it.
    pub fn read(&self) -> Result<HeaderValue, SecretError> {
        self.read_by(Secret::read)
    }

    /// The same of a file that was read before, and warned of then if others may read it.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_again(&self) -> Result<HeaderValue, SecretError> {
        self.read_by(Secret::read_again)
    }

    fn read_by(
        &self,
        read: impl FnOnce(&Path) -> Result<Secret, SecretError>,
    ) -> Result<HeaderValue, SecretError> {
        let (path, credentials) = match self {
            Self::Bearer(path) => (path, Credentials::Bearer(read(path)?)),
            Self::Basic {
                username,
                password_file,
            } => {
                let credentials = Credentials::Basic {
                    user: username.clone(),
                    password: read(password_file)?,
                };
                (password_file, credentials)
            }
        };
        credentials.to_value().ok_or_else(|| SecretError::Content {
            path: path.clone(),
            reason: "what is in it cannot stand in a header field",
        })
    }
}

/// `authorization`, as in Prometheus' configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileAuthorization {
    credentials_file: PathBuf,
    #[serde(default, rename = "credentials")]
    _credentials: Option<Inline>,
}

/// `basic_auth`, as in Prometheus' configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileBasicAuth {
    username: String,
    password_file: PathBuf,
    #[serde(default, rename = "password")]
    _password: Option<Inline>,
}

impl FileAuthorization {
    /// With its file found.
    pub fn resolve(self, directory: &Path) -> CredentialFile {
        CredentialFile::Bearer(directory.join(self.credentials_file))
    }
}

impl FileBasicAuth {
    /// With its file found.
    ///
    /// # Errors
    /// A user that RFC 7617 has no way to write.
    pub fn resolve(self, directory: &Path) -> Result<CredentialFile, String> {
        if self.username.contains(':') || self.username.chars().any(char::is_control) {
            return Err("basic_auth: a username has no colon and no control character".to_owned());
        }
        Ok(CredentialFile::Basic {
            username: self.username,
            password_file: directory.join(self.password_file),
        })
    }
}

/// The one of two that was given.
///
/// # Errors
/// Both were, or a user that RFC 7617 has no way to write.
pub fn either(
    authorization: Option<FileAuthorization>,
    basic_auth: Option<FileBasicAuth>,
    directory: &Path,
) -> Result<Option<CredentialFile>, String> {
    match (authorization, basic_auth) {
        (None, None) => Ok(None),
        (Some(bearer), None) => Ok(Some(bearer.resolve(directory))),
        (None, Some(basic)) => basic.resolve(directory).map(Some),
        (Some(_), Some(_)) => {
            Err("authorization and basic_auth exclude each other: keep one".to_owned())
        }
    }
}

/// A secret in the configuration itself: never read, always an error.
#[derive(Debug)]
struct Inline;

impl<'de> Deserialize<'de> for Inline {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        let words = "a secret does not belong in this file: put it in one of its own, and name \
                     that by credentials_file or password_file";
        Err(D::Error::custom(words))
    }
}

#[cfg(test)]
mod tests {
    use crate::config_file::parse;

    use super::*;

    #[test]
    fn credentials_come_from_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "t0ken\n").unwrap();
        std::fs::write(folder.path().join("password"), "open sesame\n").unwrap();
        let bearer: FileAuthorization = parse("credentials_file: token\n").unwrap();
        let value = bearer.resolve(folder.path()).read().unwrap();
        assert_eq!(value, "Bearer t0ken");
        assert!(value.is_sensitive());
        assert_eq!(format!("{value:?}"), "Sensitive");
        let basic: FileBasicAuth = parse("{username: Aladdin, password_file: password}\n").unwrap();
        let value = basic.resolve(folder.path()).unwrap().read().unwrap();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(value.is_sensitive());
    }

    #[test]
    fn a_secret_in_the_configuration_is_refused_and_not_repeated() {
        let error = parse::<FileAuthorization>("credentials: s3cret\n").unwrap_err();
        assert!(error.contains("credentials_file"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
        for text in [
            "{username: x, password: s3cret}\n",
            "{username: x, password_file: p, password: s3cret}\n",
        ] {
            let error = parse::<FileBasicAuth>(text).unwrap_err();
            assert!(error.contains("password_file"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        let colon: FileBasicAuth = parse("{username: 'a:b', password_file: p}\n").unwrap();
        let error = colon.resolve(Path::new("")).unwrap_err();
        assert!(error.contains("no colon"), "{error}");
    }
}
