//! The secret of a DC/OS service account, and how one logs in with it.
//!
//! What is wrong with it is said by the names of its keys alone.

use std::time::{SystemTime, UNIX_EPOCH};

use adit_common::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};

use crate::config::query::PrincipalSecret;

/// How long what we sign can be used to log in, in seconds.
const GOOD_FOR: u64 = 300;

/// A principal, and where it logs in.
#[derive(Debug)]
pub(super) struct Principal {
    uid: String,
    /// As the secret says.
    pub(super) login_endpoint: Option<String>,
    proof: Proof,
}

enum Proof {
    Key(Box<RsaKeyPair>),
    Password(Secret),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key(***)",
            Self::Password(_) => "Password(***)",
        })
    }
}

impl Principal {
    /// Reads a secret. It blocks.
    ///
    /// # Errors
    /// Which key is missing or of no use, and never what it says.
    pub(super) fn read(secret: &PrincipalSecret) -> Result<Self, String> {
        match secret {
            PrincipalSecret::File(path) => {
                let text = Secret::read_text(path).map_err(|error| error.to_string())?;
                Self::parse(&text).map_err(|why| format!("{}: {why}", path.display()))
            }
            PrincipalSecret::Value(text) => {
                Self::parse(text).map_err(|why| format!("principal secret: {why}"))
            }
        }
    }

    fn parse(text: &Secret) -> Result<Self, String> {
        // What serde says could quote it.
        let fields: Map<String, Value> = serde_json::from_str(text.expose()).map_err(|_| {
            "expected a JSON object with uid, login_endpoint, and private_key or password"
                .to_owned()
        })?;
        let field = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("{name}: expected a string")),
        };
        let proof = match (field("private_key")?, field("password")?) {
            (Some(pem), _) => Proof::Key(Box::new(key(&pem)?)),
            (None, Some(password)) => Proof::Password(Secret::new(password)),
            (None, None) => return Err("private_key is missing, and so is password".to_owned()),
        };
        Ok(Self {
            uid: field("uid")?.ok_or("uid is missing")?,
            login_endpoint: field("login_endpoint")?,
            proof,
        })
    }

    /// What is sent to log in.
    ///
    /// # Errors
    /// The key cannot sign.
    pub(super) fn login(&self) -> Result<Secret, String> {
        let uid = &self.uid;
        let body = match &self.proof {
            Proof::Password(password) => json!({"uid": uid, "password": password.expose()}),
            Proof::Key(key) => json!({"uid": uid, "token": self.signed(key)?}),
        };
        Ok(Secret::new(body.to_string()))
    }

    /// A JWT (RFC 7519) with RS256 (RFC 7518 §3.3). mpp's had no `exp`, so that whoever saw one could
    /// log in with it for ever.
    fn signed(&self, key: &RsaKeyPair) -> Result<String, String> {
        // A clock before 1970 makes one that has expired, which the login will say.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let exp = now.unwrap_or_default().as_secs() + GOOD_FOR;
        let encoded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = encoded(json!({"alg": "RS256", "typ": "JWT"}));
        let claims = encoded(json!({"uid": self.uid, "exp": exp}));
        let text = format!("{head}.{claims}");
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            text.as_bytes(),
            &mut signature,
        )
        .map_err(|_| "private_key: it cannot sign".to_owned())?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn key(pem: &str) -> Result<RsaKeyPair, String> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| "private_key: expected an RSA key in PEM".to_owned())?;
    let pair = match &key {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err("private_key: expected an RSA key".to_owned()),
    };
    // The reason is a word such as `TooSmall`.
    pair.map_err(|why| format!("private_key: no RSA key of 2048 to 4096 bits ({why})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &Value) -> Result<Principal, String> {
        let text = value.to_string();
        Principal::read(&PrincipalSecret::Value(Secret::new(text)))
    }

    /// Case 54: mpp panicked.
    #[test]
    fn what_is_missing_is_named_and_nothing_is_shown() {
        for (secret, says) in [
            (json!("s3cret"), "expected a JSON object with uid"),
            (json!(["s3cret"]), "expected a JSON object"),
            (json!({}), "private_key is missing, and so is password"),
            (json!({"uid": "s3cret"}), "private_key is missing"),
            (json!({"password": "s3cret"}), "uid is missing"),
            (json!({"uid": "", "password": "s3cret"}), "uid is missing"),
            (
                json!({"uid": 3, "password": "s3cret"}),
                "uid: expected a string",
            ),
            (
                json!({"uid": "x", "password": ["s3cret"]}),
                "password: expected a string",
            ),
            (
                json!({"uid": "x", "private_key": "s3cret"}),
                "private_key: expected an RSA key in PEM",
            ),
            (
                json!({"uid": "x", "private_key": "-----BEGIN PRIVATE KEY-----\nczNjcmV0\n-----END PRIVATE KEY-----\n"}),
                "private_key: no RSA key",
            ),
            (
                json!({"uid": "x", "private_key": "-----BEGIN EC PRIVATE KEY-----\nczNjcmV0\n-----END EC PRIVATE KEY-----\n"}),
                "private_key: expected an RSA key",
            ),
        ] {
            let error = parse(&secret).unwrap_err();
            assert!(error.contains(says), "{secret}: {error}");
            assert!(
                !error.contains("s3cret") && !error.contains("czNj"),
                "{error}"
            );
        }
        let good = parse(&json!({"uid": "x", "password": "s3cret"})).unwrap();
        let shown = format!("{good:?} {:?}", good.login());
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn a_secret_is_in_a_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.json");
        let secret = PrincipalSecret::File(path.clone());
        let error = Principal::read(&secret).unwrap_err();
        assert!(error.contains("secret.json: No such file"), "{error}");
        std::fs::write(&path, "{\n \"uid\": \"x\",\n \"password\": \"p\"\n}\n").unwrap();
        let body = Principal::read(&secret).unwrap().login().unwrap();
        assert_eq!(body.expose(), r#"{"password":"p","uid":"x"}"#);
        std::fs::write(&path, "{\"uid\": \"x\"}").unwrap();
        let error = Principal::read(&secret).unwrap_err();
        assert!(
            error.contains("secret.json: private_key is missing"),
            "{error}"
        );
    }
}
