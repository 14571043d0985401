use std::fs;

use super::*;

const ARGS: [&str; 2] = ["--proxy-url=http://proxy", "--target=pi:9100"];

fn config(flags: &[String]) -> Config {
    let args = ARGS.map(str::to_owned);
    Config::from_args(args.iter().chain(flags)).unwrap()
}

/// In a folder with the files `token` and `password`.
fn with(flags: &[(&str, &str)]) -> (tempfile::TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "t0ken\n").unwrap();
    fs::write(folder.path().join("password"), "passw0rd\n").unwrap();
    let flags: Vec<String> = flags
        .iter()
        .map(|(flag, value)| match flag.ends_with("-file") {
            true => format!("--auth.{flag}={}", folder.path().join(value).display()),
            false => format!("--auth.{flag}={value}"),
        })
        .collect();
    let config = config(&flags);
    (folder, config)
}

fn shown(identity: &Identity) -> [Option<String>; 2] {
    let mut headers = HeaderMap::new();
    identity.show(&mut headers);
    assert!(headers.values().all(HeaderValue::is_sensitive));
    [&AUTHORIZATION, &TOKEN].map(|name| {
        let value = headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    })
}

const TOKEN_FILE: (&str, &str) = ("token-file", "token");
const USER: (&str, &str) = ("username", "u");
const PASSWORD_FILE: (&str, &str) = ("password-file", "password");

#[test]
fn a_token_is_shown_twice_and_once_beside_a_user() {
    let basic = "Basic dTpwYXNzdzByZA==";
    for (flags, authorization, token) in [
        (&[][..], None, None),
        (&[TOKEN_FILE], Some("Bearer t0ken"), Some("t0ken")),
        (&[USER, PASSWORD_FILE], Some(basic), None),
        (
            &[USER, PASSWORD_FILE, TOKEN_FILE],
            Some(basic),
            Some("t0ken"),
        ),
    ] {
        let (_folder, config) = with(flags);
        let identity = Identity::read(&config).unwrap();
        let expected = [authorization, token].map(|value| value.map(str::to_owned));
        assert_eq!(shown(&identity), expected);
        assert_eq!(identity.has_secret(), !flags.is_empty());
        let debug = format!("{identity:?}");
        assert!(!debug.contains("t0ken") && !debug.contains("passw0rd"));
        let echo = "passw0rd, dTpwYXNzdzByZA== or t0ken?";
        let masked = match flags {
            [] => echo.to_owned(),
            [TOKEN_FILE] => echo.replace("t0ken", "***"),
            [_, _] => "***, *** or t0ken?".to_owned(),
            _ => "***, *** or ***?".to_owned(),
        };
        assert_eq!(identity.masked(echo), masked);
    }
}

#[test]
fn a_file_without_a_secret_is_found_at_the_start() {
    for (flags, says) in [
        (&[("token-file", "no")][..], "auth.token_file: "),
        (
            &[USER, ("password-file", "no")],
            "auth.basic.password_file: ",
        ),
    ] {
        let (_folder, config) = with(flags);
        let error = Identity::read(&config).unwrap_err().to_string();
        assert!(
            error.starts_with(says) && error.contains("No such"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn every_look_reads_again_and_a_file_that_went_bad_changes_nothing() {
    let (folder, config) = with(&[USER, PASSWORD_FILE, TOKEN_FILE]);
    let identities = Identities::new(&config).unwrap();
    let token = folder.path().join("token");
    for (written, expected) in [
        (Some("second"), "second"),
        (Some(""), "second"),
        (None, "second"),
        (Some("two\nlines"), "second"),
        (Some("third"), "third"),
    ] {
        match written {
            Some(text) => fs::write(&token, text).unwrap(),
            None => fs::remove_file(&token).unwrap(),
        }
        let fresh = identities.fresh().await;
        assert_eq!(shown(&fresh)[1].as_deref(), Some(expected));
    }
    fs::write(folder.path().join("password"), "other").unwrap();
    let fresh = identities.fresh().await;
    assert_eq!(shown(&fresh)[0].as_deref(), Some("Basic dTpvdGhlcg=="));
    assert!(
        Arc::ptr_eq(&fresh, &identities.fresh().await),
        "nothing changed"
    );
}

#[tokio::test]
async fn who_waits_for_a_change_is_told_of_it_and_of_nothing_else() {
    let (folder, config) = with(&[TOKEN_FILE]);
    let identities = Identities::new(&config).unwrap();
    let shown = identities.fresh().await;
    let token = folder.path().join("token");
    fs::write(&token, "").unwrap();
    let never = timeout(3 * LOOK / 2, identities.changed(&shown)).await;
    assert!(never.is_err(), "an unusable file is no change");
    fs::write(&token, "second").unwrap();
    let told = timeout(Duration::from_secs(30), identities.changed(&shown)).await;
    told.expect("a change");
    // What somebody else has seen already is news as well.
    let told = timeout(Duration::from_secs(30), identities.changed(&shown)).await;
    told.expect("a change");
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_never_ends_costs_one_thread_and_five_seconds() {
    let (folder, config) = with(&[TOKEN_FILE]);
    let identities = Identities::new(&config).unwrap();
    let token = folder.path().join("token");
    fs::remove_file(&token).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&token).status();
    assert!(made.unwrap().success());
    for _ in 0..2 {
        let identity = timeout(4 * READ_TIME, identities.fresh()).await;
        let identity = identity.expect("an end");
        assert_eq!(shown(&identity)[1].as_deref(), Some("t0ken"));
    }
    assert_eq!(identities.reading.available_permits(), 0, "one reads on");
    // Lets it end: a runtime waits for its threads.
    fs::write(&token, "second").unwrap();
    let identity = timeout(4 * READ_TIME, async {
        loop {
            let identity = identities.last();
            if identities.reading.available_permits() == 1 {
                break identity;
            }
            tokio::task::yield_now().await;
        }
    });
    identity.await.expect("it has ended");
}
