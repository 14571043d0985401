//! What a backend is shown, instead of what its caller shows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_common::http_config::CredentialFile;
use http::HeaderValue;
use tokio::time::{Instant, timeout};

use crate::discovery::Found;

/// A file is looked at so often at most, and only when somebody asks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A request waits so long for a file; what was read before is sent when it takes longer.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a backend is shown.
#[derive(Debug)]
pub(super) enum Shown {
    /// What the caller shows, if anything.
    Callers,
    /// What its URL says.
    Written(HeaderValue),
    /// What is in a file, as of now.
    Kept(Arc<Kept>),
}

/// The credentials in a file, which may change.
#[derive(Debug)]
pub(super) struct Kept {
    file: CredentialFile,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    value: HeaderValue,
    looked: Instant,
    /// Somebody reads it. No second one does, however long that takes.
    is_read: bool,
    /// It could not be read the last time.
    is_bad: bool,
}

impl Shown {
    /// Those in the URL come first. It blocks: a file is read.
    pub(super) fn of(found: &Found) -> Result<Self, String> {
        if let Some(user) = &found.url.user {
            let value = user.to_value();
            let words = || "the user and password cannot stand in a header field".to_owned();
            return value.map(Self::Written).ok_or_else(words);
        }
        match &found.manner.credentials {
            None => Ok(Self::Callers),
            Some(file) => Ok(Self::Kept(Arc::new(Kept::new(file.clone())?))),
        }
    }

    /// Instead of the caller's; nothing: those pass.
    pub(super) async fn now(&self) -> Option<HeaderValue> {
        match self {
            Self::Callers => None,
            Self::Written(value) => Some(value.clone()),
            Self::Kept(kept) => Some(Kept::now(kept).await),
        }
    }
}

impl Kept {
    fn new(file: CredentialFile) -> Result<Self, String> {
        let value = file.read().map_err(|error| error.to_string())?;
        Ok(Self {
            file,
            state: Mutex::new(State {
                value,
                looked: Instant::now(),
                is_read: false,
                is_bad: false,
            }),
        })
    }

    async fn now(kept: &Arc<Self>) -> HeaderValue {
        if kept.is_due() {
            let reader = Arc::clone(kept);
            let reading = tokio::task::spawn_blocking(move || reader.read_again());
            let _ = timeout(PATIENCE, reading).await;
        }
        kept.lock().value.clone()
    }

    /// Whether it is time to look; then whoever asks is the one who does.
    fn is_due(&self) -> bool {
        let mut state = self.lock();
        let is_due = !state.is_read && state.looked.elapsed() >= LOOK_EVERY;
        state.is_read |= is_due;
        is_due
    }

    fn read_again(&self) {
        let read = self.file.read_again();
        let mut state = self.lock();
        state.looked = Instant::now();
        state.is_read = false;
        let was_bad = std::mem::replace(&mut state.is_bad, read.is_err());
        match read {
            Ok(value) => state.value = value,
            Err(error) => {
                drop(state);
                if !was_bad {
                    tracing::warn!(%error, "credentials of a backend: what was read before is still sent");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::query::Manner;

    fn found(url: &str, credentials: Option<CredentialFile>) -> Found {
        let manner = Manner {
            credentials,
            ..Manner::default()
        };
        Found::new(url.parse().unwrap(), &manner)
    }

    /// Case 51, of a backend's token.
    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_rotated_is_sent_and_one_that_vanished_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "first").unwrap();
        let file = CredentialFile::Bearer(path.clone());
        let shown = Shown::of(&found("http://a:1", Some(file))).unwrap();
        assert_eq!(shown.now().await.unwrap(), "Bearer first");
        for (write, sent) in [
            (Some("second"), "Bearer second"),
            (Some(""), "Bearer second"),
            (None, "Bearer second"),
            (Some("third"), "Bearer third"),
        ] {
            match write {
                Some(text) => fs::write(&path, text).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            tokio::time::advance(LOOK_EVERY).await;
            assert_eq!(shown.now().await.unwrap(), sent, "{write:?}");
        }
        assert!(!format!("{shown:?}").contains("third"), "{shown:?}");
    }

    #[tokio::test]
    async fn the_urls_own_come_first_and_without_any_the_callers_pass() {
        let nowhere = CredentialFile::Bearer("/nonexistent/token".into());
        let own = Shown::of(&found(
            "http://Aladdin:open%20sesame@a:1",
            Some(nowhere.clone()),
        ));
        let value = own.unwrap().now().await.unwrap();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(value.is_sensitive());
        assert_eq!(
            Shown::of(&found("http://a:1", None)).unwrap().now().await,
            None
        );
        let error = Shown::of(&found("http://a:1", Some(nowhere))).unwrap_err();
        assert!(error.contains("/nonexistent/token"), "{error}");
    }
}
