//! How both programs' files write what is behind an HTTP server's door, in the words of Prometheus'
//! own configuration: `authorization` and `basic_auth` in [`credentials`], TLS in [`tls`].

mod credentials;
mod tls;

pub use self::credentials::{CredentialFile, FileAuthorization, FileBasicAuth, either};
pub use self::tls::FileTls;
