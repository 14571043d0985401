//! The file and the files it names: read once, and known again.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ring::digest::{Context, SHA256};

use super::written::Written;
use crate::config_file::{self, FileError};
use crate::secret::warn_if_open;

/// Largest certificate, key or CA file, in bytes: the roots of a whole system are a fifth of it.
const MAX_SIZE: u64 = 1 << 20;

/// Whether a file is still the one that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    #[cfg(unix)]
    unix: (u64, u64, i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt as _;
        Self {
            modified: meta.modified().ok(),
            size: meta.len(),
            // What was renamed into its place, and what was written within one tick of the clock
            // that `modified` is taken from.
            #[cfg(unix)]
            unix: (meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec()),
        }
    }

    fn look(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|meta| Self::of(&meta))
    }

    /// Before Linux 6.13 a file's time is that of the last tick, some milliseconds ago: what was
    /// written just now may be written again and bear the same.
    fn may_hide_a_change(&self) -> bool {
        let age = self.modified.and_then(|at| at.elapsed().ok());
        age.is_none_or(|age| age < Duration::from_secs(2))
    }
}

/// One file as it was read.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    content: io::Result<Vec<u8>>,
}

/// The files as they were found: whether to read them again.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<(PathBuf, Option<Stamp>)>);

impl Seen {
    /// Whether one of them is another now, as far as can be told without reading it.
    pub(super) fn may_have_changed(&self) -> bool {
        self.0.iter().any(|(path, seen)| {
            let now = Stamp::look(path);
            now != *seen || now.is_some_and(|now| now.may_hide_a_change())
        })
    }
}

/// What the file says, and what is in the files it names.
pub(super) struct Sources {
    pub written: Result<Written, FileError>,
    pub seen: Seen,
    /// Of all content, and of what could not be read.
    pub digest: [u8; 32],
    main: PathBuf,
    named: Vec<Source>,
}

impl Sources {
    /// Reads them all. It blocks. What cannot be read is found out by who wants it.
    pub(super) fn read(path: &Path) -> Self {
        let mut digest = Context::new(&SHA256);
        // Before it is read: what changes meanwhile is seen the next time.
        let mut seen = vec![(path.to_owned(), Stamp::look(path))];
        let written = config_file::text(path).and_then(|text| {
            digest.update(text.as_bytes());
            config_file::parse_of::<Written>(path, &text)
        });
        if let Err(error) = &written {
            digest.update(error.to_string().as_bytes());
        }
        let mut named = Vec::new();
        let tls = written
            .as_ref()
            .ok()
            .and_then(|it| it.tls_server_config.as_ref());
        if let Some(tls) = tls {
            for file in [&tls.cert_file, &tls.key_file, &tls.client_ca_file] {
                let Some(file) = file.as_deref().filter(|file| !file.is_empty()) else {
                    continue;
                };
                let path = beside(path, file);
                seen.push((path.clone(), Stamp::look(&path)));
                let content = content(&path);
                match &content {
                    Ok(content) => {
                        digest.update(&content.len().to_be_bytes());
                        digest.update(content);
                    }
                    Err(error) => digest.update(error.to_string().as_bytes()),
                }
                named.push(Source { path, content });
            }
        }
        let mut value = [0; 32];
        value.copy_from_slice(digest.finish().as_ref());
        Self {
            written,
            seen: Seen(seen),
            digest: value,
            main: path.to_owned(),
            named,
        }
    }

    /// This file, and those beside it that can be named: nothing is read.
    #[cfg(fuzzing)]
    pub(super) fn given(path: &Path, text: &str, named: &[(&str, &[u8])]) -> Self {
        let named = named.iter().map(|(file, content)| Source {
            path: beside(path, file),
            content: Ok(content.to_vec()),
        });
        Self {
            written: config_file::parse_of::<Written>(path, text),
            seen: Seen::default(),
            digest: [0; 32],
            main: path.to_owned(),
            named: named.collect(),
        }
    }

    /// Where the file is.
    pub(super) fn main(&self) -> &Path {
        &self.main
    }

    /// The content of a file that is named so in it.
    pub(super) fn named(&self, file: &str) -> io::Result<&[u8]> {
        let path = beside(&self.main, file);
        let source = self.named.iter().find(|source| source.path == path);
        match source.map(|source| &source.content) {
            Some(Ok(content)) => Ok(content),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Warns when others on this machine may read a file that has a key in it.
    pub(super) fn warn_if_open(&self, file: Option<&str>) {
        let path = file.map_or_else(|| self.main.clone(), |file| beside(&self.main, file));
        if let Ok(file) = File::open(&path) {
            warn_if_open(&path, &file);
        }
    }
}

/// Relative to where the file is that names it.
pub(super) fn beside(main: &Path, file: &str) -> PathBuf {
    main.parent().unwrap_or(Path::new("")).join(file)
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let file = File::open(path)?;
    file.take(MAX_SIZE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_SIZE {
        return Err(io::Error::other(format!("has over {MAX_SIZE} bytes")));
    }
    Ok(content)
}
