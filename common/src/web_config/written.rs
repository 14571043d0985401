//! What the file says, key by key, before anything of it is looked at.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::secret::Secret;

/// The whole file. A key without a value says nothing, as in Go.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    pub tls_server_config: Option<Tls>,
    pub http_server_config: Option<Http>,
    pub basic_auth_users: Option<Hidden>,
    pub rate_limit: Option<Rate>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub cert: Option<String>,
    pub cert_file: Option<String>,
    pub key: Option<HiddenText>,
    pub key_file: Option<String>,
    pub client_ca: Option<String>,
    pub client_ca_file: Option<String>,
    pub client_auth_type: Option<String>,
    pub client_allowed_sans: Option<Vec<String>>,
    pub min_version: Option<String>,
    pub max_version: Option<String>,
    pub cipher_suites: Option<Vec<String>>,
    pub prefer_server_cipher_suites: Option<bool>,
    pub curve_preferences: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Http {
    /// Read and not followed: our listeners speak HTTP/1.1.
    #[allow(dead_code)]
    pub http2: Option<bool>,
    pub headers: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rate {
    pub interval: Option<String>,
    pub burst: Option<u32>,
}

/// A text that no error shows, not even one that says it is of the wrong kind.
#[derive(Debug, PartialEq)]
pub(super) struct HiddenText(pub Secret);

impl<'de> Deserialize<'de> for HiddenText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)
            .map_err(|_| de::Error::custom("expected a text"))?;
        Ok(Self(Secret::new(text.unwrap_or_default())))
    }
}

/// Users and their hashes, as they stand there.
#[derive(Debug)]
pub(super) struct Hidden(pub BTreeMap<String, Secret>);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Users)
    }
}

struct Users;

const USERS: &str = "expected users and their bcrypt hashes, USER: HASH, a line each";

impl<'de> Visitor<'de> for Users {
    type Value = Hidden;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(USERS)
    }

    // serde's own error would quote the text.
    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(E::custom(USERS))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut users = BTreeMap::new();
        while let Some(user) = map.next_key::<String>()? {
            users.insert(user, map.next_value::<HiddenText>()?.0);
        }
        Ok(Hidden(users))
    }
}
