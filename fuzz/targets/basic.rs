//! Credentials in a header field.
#![no_main]

use adit_common::credentials::Credentials;
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    let Some(credentials) = Credentials::parse(&value) else {
        return;
    };
    let written = credentials.to_value().unwrap();
    assert!(written.is_sensitive());
    assert_eq!(Credentials::parse(&written).as_ref(), Some(&credentials));
    // Nothing but the user is shown.
    let shown = match &credentials {
        Credentials::Basic { user, password } => {
            assert!(!user.contains(':') && !user.contains(char::is_control));
            assert!(!password.expose().contains(char::is_control));
            format!("Basic {user:?}:***")
        }
        Credentials::Bearer(token) => {
            assert!(!token.expose().is_empty());
            "Bearer ***".to_owned()
        }
    };
    assert_eq!(format!("{credentials:?}"), shown);
});
