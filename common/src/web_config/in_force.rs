//! The configuration in force, which follows its files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::config::WebConfig;
use super::sources::{Seen, Sources};
use crate::config_file::FileError;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The configuration in force. A file that turns bad changes nothing: the last good one stays.
#[derive(Debug)]
pub struct Web {
    path: Option<PathBuf>,
    files: Mutex<Files>,
    current: watch::Sender<Arc<WebConfig>>,
}

/// The files as they were last read, whatever was in them.
#[derive(Debug, Default)]
struct Files {
    seen: Seen,
    digest: [u8; 32],
}

impl Web {
    /// Reads the file; without one nothing is asked. It blocks.
    ///
    /// # Errors
    /// As [`WebConfig::read`]: there is no good one yet to keep.
    pub fn open(path: Option<PathBuf>) -> Result<Self, FileError> {
        let mut files = Files::default();
        let config = match &path {
            Some(path) => files
                .read(path, true)
                .unwrap_or_else(|| Ok(Default::default()))?,
            None => WebConfig::default(),
        };
        Ok(Self {
            path,
            files: Mutex::new(files),
            current: watch::Sender::new(Arc::new(config)),
        })
    }

    /// Where it stands; nothing, when nothing is asked.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The one in force now.
    pub fn current(&self) -> Arc<WebConfig> {
        self.current.borrow().clone()
    }

    /// The one in force, and each that follows.
    pub fn subscribe(&self) -> watch::Receiver<Arc<WebConfig>> {
        self.current.subscribe()
    }

    /// Reads the files again, changed or not. It blocks.
    ///
    /// # Errors
    /// What is wrong, and nothing has changed; or what takes effect with a restart only, and all
    /// else is in force.
    pub fn reread(&self) -> Result<(), String> {
        self.look(true).unwrap_or(Ok(()))
    }

    /// Looks at the files once a second, off the runtime, for ever: give it a task, and drop that.
    /// `told` hears of every change once, and of what came of it.
    pub async fn keep_fresh(
        self: Arc<Self>,
        told: impl Fn(&Result<(), String>) + Send + Sync + 'static,
    ) {
        if self.path.is_none() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(LOOK).await;
            let web = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || web.look(false)).await;
            // It fails when the program ends.
            if let Ok(Some(result)) = looked {
                told(&result);
            }
        }
    }

    /// Nothing where nothing has changed, unless it `must` read.
    pub(super) fn look(&self, must: bool) -> Option<Result<(), String>> {
        let path = self.path.as_deref()?;
        // Held while it reads: whoever reads last has read what is in force.
        let mut files = self.files();
        if !must && !files.seen.may_have_changed() {
            return None;
        }
        let config = files.read(path, must)?;
        Some(match config {
            Ok(config) => self.put(config),
            Err(error) => Err(error.to_string()),
        })
    }

    fn put(&self, mut config: WebConfig) -> Result<(), String> {
        let before = self.current();
        let mut fixed = Vec::new();
        if config.tls.is_some() != before.tls.is_some() {
            config.tls.clone_from(&before.tls);
            fixed.push("whether there is TLS");
        }
        if config.rate_limit != before.rate_limit {
            fixed.push("rate_limit");
        }
        // Also where it says the same: what was taken of it stays taken.
        config.rate_limit.clone_from(&before.rate_limit);
        self.current.send_replace(Arc::new(config));
        if fixed.is_empty() {
            return Ok(());
        }
        let path = self.path.as_deref().unwrap_or(Path::new("")).display();
        let fixed = fixed.join(" and ");
        Err(format!(
            "{path}: {fixed} changed, which takes a restart; the rest is in force"
        ))
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        // What it holds is only ever replaced whole.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    /// Nothing where the content is what it was, unless it `must` be given.
    fn read(&mut self, path: &Path, must: bool) -> Option<Result<WebConfig, FileError>> {
        let mut sources = Sources::read(path);
        let same = sources.digest == self.digest;
        self.digest = sources.digest;
        self.seen = std::mem::take(&mut sources.seen);
        (must || !same).then(|| WebConfig::of(sources))
    }
}
