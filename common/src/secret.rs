//! What must not be shown: a token, a password.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

/// Longest secret, in bytes. A token of ours has 43; somebody else's JWT has some thousand.
pub const MAX_SECRET: usize = 16 * 1024;

/// A secret in memory. Neither `Debug` nor anything else prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The SHA-256 of a secret: enough to know it by, and not to be it. Only for secrets made by
/// machines: a password has too few bits for it.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

/// Why there is no secret in a file.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// What is in it is none.
    #[error("{}: {reason}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What would be right.
        reason: &'static str,
    },
}

impl Secret {
    /// This one.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The first line of a file, without the spaces around it. A file that others on this machine
    /// may read is warned of. It blocks.
    ///
    /// # Errors
    /// Names the file, and never shows what is in it.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        Self::read_and(path, warn_if_open)
    }

    /// The same of a file that was read before, and warned of then.
    ///
    /// # Errors
    /// As [`Secret::read`].
    pub fn read_again(path: &Path) -> Result<Self, SecretError> {
        Self::read_and(path, |_, _| {})
    }

    /// A whole file, as it is: a secret that has lines, such as a key in PEM. A file that others on
    /// this machine may read is warned of. It blocks.
    ///
    /// # Errors
    /// As [`Secret::read`].
    pub fn read_text(path: &Path) -> Result<Self, SecretError> {
        Self::text_and(path, warn_if_open).map(Self)
    }

    fn read_and(path: &Path, look: impl FnOnce(&Path, &File)) -> Result<Self, SecretError> {
        let text = Self::text_and(path, look)?;
        let content = |reason| SecretError::Content {
            path: path.to_owned(),
            reason,
        };
        let secret = text.trim();
        if secret.is_empty() {
            return Err(content("the file is empty, expected a secret in it"));
        }
        if secret.chars().any(char::is_control) {
            return Err(content("expected one line, the secret, and nothing else"));
        }
        Ok(Self(secret.to_owned()))
    }

    fn text_and(path: &Path, look: impl FnOnce(&Path, &File)) -> Result<String, SecretError> {
        let failed = |error| SecretError::Read {
            path: path.to_owned(),
            error,
        };
        let content = |reason| SecretError::Content {
            path: path.to_owned(),
            reason,
        };
        let file = File::open(path).map_err(failed)?;
        look(path, &file);
        let mut bytes = Vec::new();
        let most = MAX_SECRET as u64 + 1;
        file.take(most).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > MAX_SECRET {
            return Err(content("too long for a secret"));
        }
        String::from_utf8(bytes).map_err(|_| content("a secret is text"))
    }

    /// The secret itself, for where it must go.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What it may be known by.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut value = [0; 32];
        value.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(value)
    }
}

impl PartialEq for Digest {
    /// Takes the same time wherever they differ.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    /// The first bytes: to tell two apart, and nothing to search a table for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "sha256:{a:02x}{b:02x}{c:02x}{d:02x}…")
    }
}

impl std::str::FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "expected a SHA-256: 64 hexadecimal digits";
        let mut value = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(FORM);
        }
        for (byte, at) in value.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| FORM)?;
        }
        Ok(Self(value))
    }
}

/// Warns when others on this machine may read a file with a secret in it.
#[cfg(unix)]
pub(crate) fn warn_if_open(path: &Path, file: &File) {
    use std::os::unix::fs::PermissionsExt;
    /// Read, for everybody.
    const OTHERS: u32 = 0o004;
    if file
        .metadata()
        .is_ok_and(|meta| meta.permissions().mode() & OTHERS != 0)
    {
        tracing::warn!(file = %path.display(), "everybody on this machine may read this secret: chmod o-r");
    }
}

#[cfg(not(unix))]
pub(crate) fn warn_if_open(_: &Path, _: &File) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for (content, secret) in [
            ("s3cret", "s3cret"),
            ("s3cret\n", "s3cret"),
            (" s3 cret \r\n\n", "s3 cret"),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(Secret::read(&path).unwrap().expose(), secret);
        }
        for (content, says) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (b"one\ntwo\n", "one line"),
            (b"\xff\xfe", "text"),
            (&[b'x'; MAX_SECRET + 1], "too long"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = Secret::read(&path).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("token"), "{error}");
            assert!(!error.contains("one\n"), "{error}");
        }
        std::fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(Secret::read_text(&path).unwrap().expose(), "one\ntwo\n");
        std::fs::remove_file(&path).unwrap();
        let error = Secret::read(&path).unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn nothing_shows_it() {
        let secret = Secret::new("s3cret".into());
        assert_eq!(format!("{secret:?}"), "***");
        let shown = format!("{:?}", secret.digest());
        assert!(shown.len() < 24, "{shown}");
    }

    #[test]
    fn a_digest_is_written_and_read() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(empty.to_uppercase().parse::<Digest>(), Ok(Digest::of(b"")));
        assert_ne!(Digest::of(b"x"), Digest::of(b""));
        for text in ["", "e3b0", &"g".repeat(64), &"ä".repeat(32)] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
