//! `adit-proxy token`: a new token for a client.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use adit_common::secret::Secret;

/// A new token, with 244 random bits: two UUIDs of version 4 (RFC 9562), without their dashes.
pub fn new() -> Secret {
    let [a, b] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    Secret::new(format!("{}{}", a.simple(), b.simple()))
}

/// Writes it to a new file that only its owner may read.
///
/// # Errors
/// Names the file. One that is there stays as it is.
pub fn write(token: &Secret, path: &Path) -> Result<(), String> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(path)
        .and_then(|mut file| writeln!(file, "{}", token.expose()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "{}: there is such a file, and it may be in use: name another",
            path.display()
        ),
        _ => format!("{}: {error}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_new_and_goes_into_a_file_of_its_own() {
        let (one, two) = (new(), new());
        assert_ne!(one.expose(), two.expose());
        assert_eq!(one.expose().len(), 64);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write(&one, &path).unwrap();
        assert_eq!(Secret::read(&path).unwrap(), one);
        let error = write(&two, &path).unwrap_err();
        assert!(error.contains("name another"), "{error}");
        assert_eq!(Secret::read(&path).unwrap(), one);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
