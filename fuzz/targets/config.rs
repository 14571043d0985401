//! The YAML of both programs.
#![no_main]

use std::path::Path;

use adit_common::config_file::parse;
use adit_proxy::config::query::QueryFlags;
use libfuzzer_sys::fuzz_target;

/// In front of a file, secrets that no error behind them may quote.
const MARK: &str = "s3cretMARKs3cret";
const OF_THE_PROXY: &str = "auth: {clients: [{id: x, names: ['*'], \
                            basic: {username: u, password_hash: s3cretMARKs3cret}}]}\n";
const OF_THE_CLIENT: &str = "labels: {site: s3cretMARKs3cret}\n";

fuzz_target!(|text: &str| {
    match parse::<adit_proxy::config::file::File>(text) {
        Err(error) => one_line(&error),
        // A file that is named is read, and this one names any.
        Ok(file) if names_a_file(&format!("{file:?}")) => {}
        Ok(file) => {
            if let Err(error) = file.settings(Path::new("/nowhere"), None, &QueryFlags::default()) {
                assert!(!error.contains(char::is_control), "{error:?}");
            }
        }
    }
    let both = [OF_THE_PROXY, text].concat();
    if let Err(error) = parse::<adit_proxy::config::file::File>(&both) {
        assert!(!is_told(&error, text), "{error:?}");
    }
    match parse::<adit_client::config::file::File>(text) {
        Err(error) => one_line(&error),
        Ok(file) => {
            let tls = file.tls.resolve(Path::new("/nowhere"));
            let at = |file: Option<std::path::PathBuf>| file.is_none_or(|file| file.is_absolute());
            assert!(at(tls.ca_file) && at(tls.cert_file) && at(tls.key_file));
            for target in file.targets {
                match target.resolve(Path::new("/nowhere")) {
                    Ok(target) => {
                        let shown = target.target.to_string();
                        assert_eq!(shown.parse(), Ok(target.target));
                    }
                    Err(error) => assert!(!error.contains(char::is_control), "{error:?}"),
                }
            }
            for proxy in file.proxies {
                let again = proxy.0.to_string().parse();
                assert!(
                    again.is_ok_and(|again| proxy.0.is_same(&again)),
                    "{}",
                    proxy.0
                );
            }
        }
    }
    let both = [OF_THE_CLIENT, text].concat();
    if let Err(error) = parse::<adit_client::config::file::File>(&both) {
        assert!(!is_told(&error, text), "{error:?}");
    }
});

fn names_a_file(shown: &str) -> bool {
    ["_file: Some(", "_file: \""]
        .iter()
        .any(|key| shown.contains(key))
}

/// What the file says elsewhere is no secret.
fn is_told(error: &str, text: &str) -> bool {
    error.contains(MARK) && !text.contains(MARK)
}

/// As a log and a terminal need it.
fn one_line(error: &str) {
    assert!(error.starts_with(':'), "{error:?}");
    assert!(
        error.bytes().all(|b| (b' '..=b'~').contains(&b)),
        "{error:?}"
    );
}
