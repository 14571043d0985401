//! What we show to proxies, and by what we know them. It is made of files, and files are replaced
//! while we run: every dial looks, off the runtime. What has become unusable is warned of, and what
//! was read last stays.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_common::credentials::Credentials;
use adit_common::headers::TOKEN;
use adit_common::secret::{Secret, SecretError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::config::auth::Basic;
use crate::config::{Config, SettingsError};
use crate::tls::Tls;

/// For looking at the files: a dead NFS server never says anything.
const READ_TIME: Duration = Duration::from_secs(5);
/// Between two looks, for who waits for a change.
const LOOK: Duration = Duration::from_secs(1);

/// What the files said when somebody looked.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// With our certificate, and the roots we trust.
    pub(crate) tls: Tls,
    token: Option<FromFile>,
    basic: Option<User>,
    /// Towards an HTTP proxy on the way, like the next.
    pub(crate) hop_tls: Tls,
    hop_basic: Option<User>,
}

/// A user with a password.
type User = (String, FromFile);

/// A secret, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FromFile {
    what: &'static str,
    path: PathBuf,
    secret: Secret,
}

/// Whether what is wrong with a file is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tell {
    Warn,
    Nothing,
}

impl Identity {
    /// Reads every file that `config` names for it. It blocks.
    ///
    /// # Errors
    /// Which file, and what is wrong with it.
    fn read(config: &Config) -> Result<Self, SettingsError> {
        let tls = |what: &str, tls| {
            let what = what.to_owned();
            Tls::new(tls).map_err(|error| SettingsError::Tls { what, error })
        };
        let user = |what, basic: &Option<Basic>| {
            let basic = basic.as_ref().map(|basic| {
                let password = FromFile::read(what, &basic.password_file);
                password.map(|password| (basic.username.clone(), password))
            });
            basic.transpose()
        };
        let (auth, hop) = (&config.auth, &config.http_proxy);
        let token = auth.token_file.as_deref();
        let token = token.map(|path| FromFile::read("auth.token_file", path));
        Ok(Self {
            tls: tls("tls", &config.tls)?,
            token: token.transpose()?,
            basic: user("auth.basic.password_file", &auth.basic)?,
            hop_tls: tls("http_proxy.tls", &hop.tls)?,
            hop_basic: user("http_proxy.password_file", &hop.basic)?,
        })
    }

    /// What the files say now; what of them cannot be used is as it was. It blocks.
    fn again(&self, tell: Tell) -> Self {
        let tls = |what: &str, tls: &Tls| {
            tls.renewed().unwrap_or_else(|error| {
                if tell == Tell::Warn {
                    tracing::warn!(err = %error, "{what} is not read again, the files before stay");
                }
                tls.clone()
            })
        };
        let user = |user: &Option<User>| {
            let user = user.as_ref();
            user.map(|(user, password)| (user.clone(), password.again(tell)))
        };
        Self {
            tls: tls("tls", &self.tls),
            token: self.token.as_ref().map(|token| token.again(tell)),
            basic: user(&self.basic),
            hop_tls: tls("http_proxy.tls", &self.hop_tls),
            hop_basic: user(&self.hop_basic),
        }
    }

    /// Whether there is anything a listener on the way could steal.
    pub(crate) fn has_secret(&self) -> bool {
        self.token.is_some() || self.basic.is_some()
    }

    /// Whether nobody would see a difference.
    fn is_same(&self, other: &Self) -> bool {
        (&self.token, &self.basic, &self.hop_basic)
            == (&other.token, &other.basic, &other.hop_basic)
            && self.tls.is_same(&other.tls)
            && self.hop_tls.is_same(&other.hop_tls)
    }

    /// `Proxy-Authorization` for the HTTP proxy on the way, where it has a user.
    pub(crate) fn hop_authorization(&self) -> Option<HeaderValue> {
        self.hop_basic.as_ref().and_then(basic)
    }

    /// Without our secrets, of which some echo what they were sent.
    pub(crate) fn masked(&self, text: &str) -> String {
        let user = |user: &Option<User>| {
            let (name, password) = user.as_ref()?;
            let pair = format!("{name}:{}", password.secret.expose());
            Some([password.secret.expose().to_owned(), STANDARD.encode(pair)])
        };
        let token = self.token.iter().map(|t| t.secret.expose().to_owned());
        let users = [user(&self.basic), user(&self.hop_basic)];
        let secrets = token.chain(users.into_iter().flatten().flatten());
        secrets.fold(text.to_owned(), |text, secret| text.replace(&secret, "***"))
    }

    /// Says in the head of an upgrade who we are. A token goes by a field of its own, and by
    /// `Authorization` too unless a front of the proxy wants that for its user.
    pub(crate) fn show(&self, headers: &mut HeaderMap) {
        let token = self.token.as_ref().map(|token| &token.secret);
        let authorization = match &self.basic {
            Some(user) => basic(user),
            None => token.and_then(|token| Credentials::Bearer(token.clone()).to_value()),
        };
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value);
        }
        // A secret is one line of text, and so always a value.
        if let Some(Ok(mut value)) = token.map(|token| HeaderValue::from_str(token.expose())) {
            value.set_sensitive(true);
            headers.insert(TOKEN, value);
        }
    }
}

fn basic((user, password): &User) -> Option<HeaderValue> {
    let basic = Credentials::Basic {
        user: user.clone(),
        password: password.secret.clone(),
    };
    basic.to_value()
}

impl FromFile {
    fn read(what: &'static str, path: &Path) -> Result<Self, SettingsError> {
        match Secret::read(path) {
            Ok(secret) => Ok(Self {
                what,
                path: path.to_owned(),
                secret,
            }),
            Err(error) => Err(SettingsError::Secret {
                what: what.to_owned(),
                error,
            }),
        }
    }

    fn again(&self, tell: Tell) -> Self {
        let secret = Secret::read_again(&self.path).unwrap_or_else(|error: SecretError| {
            if tell == Tell::Warn {
                let what = self.what;
                tracing::warn!(err = %error, "{what} is not read again, the secret before stays");
            }
            self.secret.clone()
        });
        Self {
            secret,
            ..self.clone()
        }
    }
}

/// The identity in force, and the files it is of.
#[derive(Debug)]
pub(crate) struct Identities {
    now: Mutex<Arc<Identity>>,
    /// Whoever reads: one at a time, so that a file that hangs costs one thread.
    reading: Arc<Semaphore>,
}

impl Identities {
    /// What `config` says. It blocks.
    ///
    /// # Errors
    /// Which file, and what is wrong with it.
    pub(crate) fn new(config: &Config) -> Result<Self, SettingsError> {
        Ok(Self {
            now: Mutex::new(Arc::new(Identity::read(config)?)),
            reading: Arc::new(Semaphore::new(1)),
        })
    }

    /// As last read.
    pub(crate) fn last(&self) -> Arc<Identity> {
        Arc::clone(&self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the files say now, or said last where they say nothing sensible within five seconds.
    pub(crate) async fn fresh(&self) -> Arc<Identity> {
        self.look(Tell::Warn).await
    }

    /// Waits until the files say something else than when `shown` was read.
    pub(crate) async fn changed(&self, shown: &Identity) {
        while self.look(Tell::Nothing).await.is_same(shown) {
            sleep(LOOK).await;
        }
    }

    async fn look(&self, tell: Tell) -> Arc<Identity> {
        let reading = async {
            // Never closed.
            let permit = Arc::clone(&self.reading).acquire_owned().await.ok()?;
            let last = self.last();
            let read = spawn_blocking(move || {
                let _permit = permit;
                let again = last.again(tell);
                // The same one stays the same one, and so does its connector.
                if again.is_same(&last) {
                    last
                } else {
                    Arc::new(again)
                }
            });
            // An error: the runtime is ending.
            read.await.ok()
        };
        match timeout(READ_TIME, reading).await {
            Ok(Some(identity)) => {
                *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&identity);
                identity
            }
            Ok(None) => self.last(),
            Err(_) => {
                if tell == Tell::Warn {
                    tracing::warn!(
                        "the files of tokens, passwords and certificates were not read within \
                         {READ_TIME:?}, what was read before stays"
                    );
                }
                self.last()
            }
        }
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
