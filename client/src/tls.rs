//! TLS towards a proxy or a target: when its connector is made, and whether a reload changed it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::resume_unwind;
use std::sync::Arc;

use adit_common::net::tls::{ClientTls, Connector, TlsError};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

/// Settings for TLS and what was made of them. Clones share the connector.
#[derive(Debug, Clone)]
pub(crate) struct Tls(Arc<Made>);

#[derive(Debug)]
struct Made {
    settings: ClientTls,
    /// Of what stood in the files when they were read.
    files: u64,
    connector: OnceCell<Connector>,
}

impl Tls {
    /// Reads the files that `settings` name, so that what is wrong with them is found now. Where
    /// nothing is said nothing can be wrong, and the system's roots, which take milliseconds to
    /// read, are left until somebody needs them. It blocks.
    ///
    /// # Errors
    /// Which file, and what is wrong with it.
    pub(crate) fn new(settings: &ClientTls) -> Result<Self, TlsError> {
        // Before they are read for use: a file that changes in between differs the next time, which
        // costs some connections and not more.
        let files = fingerprint(settings);
        let connector = match *settings == ClientTls::default() {
            true => None,
            false => Some(settings.build()?),
        };
        Ok(Self(Arc::new(Made {
            settings: settings.clone(),
            files,
            connector: OnceCell::new_with(connector),
        })))
    }

    /// These, where the files say the same as when they were read; else what they say now. It blocks.
    ///
    /// # Errors
    /// Which file, and what is wrong with it.
    pub(crate) fn renewed(&self) -> Result<Self, TlsError> {
        match fingerprint(&self.0.settings) == self.0.files {
            true => Ok(self.clone()),
            false => Self::new(&self.0.settings),
        }
    }

    /// With the system's roots, the name that was dialled, and no certificate of our own.
    pub(crate) fn system() -> Self {
        let settings = ClientTls::default();
        Self(Arc::new(Made {
            files: fingerprint(&settings),
            settings,
            connector: OnceCell::new(),
        }))
    }

    /// To shake hands with; made at the first call where nothing was said.
    ///
    /// # Errors
    /// As [`ClientTls::build`]; with the system's roots there is none.
    pub(crate) async fn connector(&self) -> Result<&Connector, TlsError> {
        let make = || async {
            let settings = self.0.settings.clone();
            match spawn_blocking(move || settings.build()).await {
                Ok(made) => made,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    // The runtime is ending, and we with it.
                    Err(_) => std::future::pending().await,
                },
            }
        };
        self.0.connector.get_or_try_init(make).await
    }

    /// The same was said, and the files say the same: what was connected by one is as good as what
    /// would be by the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0.settings == other.0.settings && self.0.files == other.0.files
    }
}

fn fingerprint(settings: &ClientTls) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in [&settings.ca_file, &settings.cert_file, &settings.key_file] {
        // One that cannot be read is an error for whoever builds.
        let content = file.as_ref().and_then(|path| std::fs::read(path).ok());
        content.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_systems_roots_are_read_when_they_are_needed_and_once() {
        let tls = Tls::new(&ClientTls::default()).unwrap();
        let clone = tls.clone();
        assert!(clone.0.connector.get().is_none(), "nobody asked yet");
        let made: *const Connector = tls.connector().await.unwrap();
        assert!(std::ptr::eq(made, clone.connector().await.unwrap()));
    }

    #[test]
    fn what_is_said_is_checked_at_once() {
        let settings = ClientTls {
            ca_file: Some("/no/such.pem".into()),
            ..ClientTls::default()
        };
        let error = Tls::new(&settings).unwrap_err().to_string();
        assert!(error.contains("/no/such.pem"), "{error}");
    }

    #[test]
    fn a_file_that_changed_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let settings = ClientTls {
            ca_file: Some(path.clone()),
            ..ClientTls::default()
        };
        let mut prints = Vec::new();
        for content in ["one", "two", "one"] {
            std::fs::write(&path, content).unwrap();
            prints.push(fingerprint(&settings));
        }
        assert_eq!(prints[0], prints[2]);
        assert_ne!(prints[0], prints[1]);
    }

    #[test]
    fn the_same_words_are_the_same() {
        let named = ClientTls {
            insecure_skip_verify: true,
            ..ClientTls::default()
        };
        let (system, named) = (Tls::system(), Tls::new(&named).unwrap());
        assert!(system.is_same(&Tls::new(&ClientTls::default()).unwrap()));
        assert!(!system.is_same(&named));
    }
}
