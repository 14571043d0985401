//! How backends are spoken to, in the words of Prometheus' own configuration.

use std::num::NonZero;
use std::path::Path;

use adit_common::http_config::{CredentialFile, FileAuthorization, FileBasicAuth, FileTls, either};
use adit_common::net::tls::ClientTls;
use serde::Deserialize;

use crate::config::limits::Count;
use crate::config::limits::bounded;
use crate::config::query::Manner;

/// Shares are summed up.
const MOST_WEIGHT: usize = 1_000_000;

/// TLS and credentials towards a server.
#[derive(Debug, Default)]
pub(super) struct Door {
    pub(super) tls: Option<FileTls>,
    pub(super) authorization: Option<FileAuthorization>,
    pub(super) basic_auth: Option<FileBasicAuth>,
}

/// A preference among backends.
#[derive(Debug, Default)]
pub(super) struct Rank {
    pub(super) priority: Option<u32>,
    pub(super) weight: Option<Count>,
}

/// A mapping with the keys of [`Door`] and [`Rank`] beside its own: serde cannot flatten one that refuses
/// unknown keys.
macro_rules! spoken_to {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $($(#[$meta:meta])* $key:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        $vis struct $name {
            $($(#[$meta])* $key: $type,)*
            #[serde(default)]
            tls: Option<adit_common::http_config::FileTls>,
            #[serde(default)]
            authorization: Option<adit_common::http_config::FileAuthorization>,
            #[serde(default)]
            basic_auth: Option<adit_common::http_config::FileBasicAuth>,
            #[serde(default)]
            priority: Option<u32>,
            #[serde(default)]
            weight: Option<crate::config::limits::Count>,
        }

        impl $name {
            /// How backends are spoken to; it is given once.
            fn take_manner(
                &mut self,
            ) -> (super::manner::Door, super::manner::Rank) {
                let door = super::manner::Door {
                    tls: self.tls.take(),
                    authorization: self.authorization.take(),
                    basic_auth: self.basic_auth.take(),
                };
                let rank = super::manner::Rank {
                    priority: self.priority.take(),
                    weight: self.weight.take(),
                };
                (door, rank)
            }
        }
    };
}
pub(super) use spoken_to;

spoken_to! {
    /// How what is found is spoken to, where the source itself has such keys, too.
    pub(super) struct FileManner {}
}

impl FileManner {
    /// With its files found, and read once to see that they can be.
    ///
    /// # Errors
    /// Which file, and what is wrong with it.
    pub(super) fn resolve(mut self, directory: &Path) -> Result<Manner, String> {
        let (door, rank) = self.take_manner();
        manner(door, rank, directory)
    }
}

impl Door {
    /// With its files found, and read once to see that they can be: a backend that is refused for it
    /// later would look like one that is down. It blocks.
    ///
    /// # Errors
    /// Which file, and what is wrong with it.
    pub(super) fn resolve(
        self,
        directory: &Path,
    ) -> Result<(ClientTls, Option<CredentialFile>), String> {
        let tls = self.tls.unwrap_or_default().resolve(directory);
        let named = tls.ca_file.is_some() || tls.cert_file.is_some() || tls.key_file.is_some();
        if named || tls.server_name.is_some() {
            tls.build().map_err(|error| format!("tls: {error}"))?;
        }
        let credentials = either(self.authorization, self.basic_auth, directory)?;
        if let Some(file) = &credentials {
            let key = match file {
                CredentialFile::Bearer(_) => "authorization",
                CredentialFile::Basic { .. } => "basic_auth",
            };
            file.read().map_err(|error| format!("{key}: {error}"))?;
        }
        Ok((tls, credentials))
    }

    /// The first key that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        match self {
            Self { tls: Some(_), .. } => Some("tls"),
            Self {
                authorization: Some(_),
                ..
            } => Some("authorization"),
            Self {
                basic_auth: Some(_),
                ..
            } => Some("basic_auth"),
            _ => None,
        }
    }
}

/// What is meant by both.
///
/// # Errors
/// Which key, and why.
pub(super) fn manner(door: Door, rank: Rank, directory: &Path) -> Result<Manner, String> {
    let (tls, credentials) = door.resolve(directory)?;
    let weight = bounded("weight", rank.weight, 1, 1..=MOST_WEIGHT)?;
    let weight = u32::try_from(weight).ok().and_then(NonZero::new);
    Ok(Manner {
        tls,
        credentials,
        priority: rank.priority.unwrap_or_default(),
        // Its bounds are those of a u32 above zero.
        weight: weight.unwrap_or(NonZero::<u32>::MIN),
    })
}

/// The key `backend`.
pub(super) fn backend(written: Option<FileManner>, directory: &Path) -> Result<Manner, String> {
    let manner = written.map(|written| written.resolve(directory));
    let manner = manner
        .transpose()
        .map_err(|error| format!("backend.{error}"))?;
    Ok(manner.unwrap_or_default())
}
