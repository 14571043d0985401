//! Backends that are written down: a URL, or a mapping with more to say.

use std::fmt;
use std::path::Path;

use adit_common::config_file::Parsed;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::manner::{manner, spoken_to};
use super::values::check_name;
use crate::config::query::StaticBackend;
use crate::config::query::url::{BackendUrl, Way};

/// As written.
#[derive(Debug)]
pub(super) struct FileBackend(Written);

spoken_to! {
    struct Written {
        url: Parsed<BackendUrl>,
        #[serde(default)]
        name: Option<String>,
    }
}

impl<'de> Deserialize<'de> for FileBackend {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = FileBackend;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("http(s)://HOST:PORT[/PREFIX], tunnel://NAME:PORT[/PREFIX], or {url: URL}")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<FileBackend, E> {
        let url = text.parse().map_err(E::custom)?;
        Ok(FileBackend::of(url))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FileBackend, A::Error> {
        Written::deserialize(MapAccessDeserializer::new(map)).map(FileBackend)
    }
}

impl FileBackend {
    /// With nothing more to say.
    pub(super) fn of(url: BackendUrl) -> Self {
        Self(Written {
            url: Parsed(url),
            name: None,
            tls: None,
            authorization: None,
            basic_auth: None,
            priority: None,
            weight: None,
        })
    }

    /// What is meant. It blocks.
    ///
    /// # Errors
    /// Which key, and why.
    pub(super) fn resolve(self, directory: &Path) -> Result<StaticBackend, String> {
        let mut written = self.0;
        let (door, rank) = written.take_manner();
        let url = written.url.0;
        if url.user.is_some() {
            return Err(
                "url: a password does not belong in this file: put it in one of its own, and name \
                 that by basic_auth"
                    .to_owned(),
            );
        }
        if let (Way::Tunnel, Some(key)) = (url.way, door.given()) {
            return Err(format!(
                "{key}: through a tunnel the client says how the target is spoken to: give it there"
            ));
        }
        if let Some(name) = &written.name {
            check_name(name)?;
        }
        Ok(StaticBackend {
            url,
            name: written.name,
            manner: manner(door, rank, directory)?,
        })
    }
}
