//! The web configuration, beside files that can be named in it: `cert.pem` and its `key.pem`, `ca.pem`,
//! and `bad.pem`, which is none of them.
#![no_main]

use std::path::Path;

use adit_common::web_config::WebConfig;
use libfuzzer_sys::fuzz_target;

/// Parts of a password, a hash and a key, which nothing may show.
const SECRETS: [&str; 3] = ["s3cretMARK", "iVpfkrXJlRRTTbqaW2eN", "MIGHAgEAMBMGByqGSM49"];

/// What may stand before the rest of a file.
const BEFORE: [&str; 5] = [
    "",
    "basic_auth_users: {alice: s3cretMARK}\n",
    "basic_auth_users:\n  alice: $2y$04$1iVpfkrXJlRRTTbqaW2eNOUyxQqvpTKZPRHBsEIGvNQAhEsXzNCi6\n",
    "tls_server_config:\n  cert_file: cert.pem\n  key: s3cretMARK\n",
    "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n",
];

const NAMED: [(&str, &[u8]); 4] = [
    ("cert.pem", include_bytes!("../named/cert.pem")),
    ("key.pem", include_bytes!("../named/key.pem")),
    ("ca.pem", include_bytes!("../named/cert.pem")),
    ("bad.pem", include_bytes!("../named/bad.pem")),
];

fuzz_target!(|text: &str| {
    for before in BEFORE {
        let both = [before, text].concat();
        let shown = match WebConfig::given(Path::new("/nowhere/web.yml"), &both, &NAMED) {
            Ok(config) => {
                assert!(config.tls.is_some() || config.asks() != config.users.is_empty());
                assert_eq!(config.users.names().count() == 0, config.users.is_empty());
                format!("{config:?}")
            }
            Err(error) => {
                let error = error.to_string();
                assert!(error.starts_with("/nowhere/web.yml:"), "{error:?}");
                assert!(error.chars().all(is_printed), "{error:?}");
                error
            }
        };
        // What the file says elsewhere is no secret.
        let is_told = |secret: &&str| shown.contains(*secret) && !text.contains(*secret);
        assert!(!SECRETS.iter().any(|secret| is_told(&secret)), "{shown:?}");
    }
});

/// A letter, in whatever script a file's name may be: nothing that ends a line or moves a cursor.
fn is_printed(character: char) -> bool {
    matches!(character, '"' | '\'' | '\\') || character.escape_debug().len() == 1
}
