use proptest::prelude::*;

use crate::web_config::lab::{HASH, Lab, TLS};
use crate::web_config::*;

#[test]
fn what_is_wrong_below_tls_is_said() {
    let lab = Lab::new();
    lab.write("other.pem", &lab.ca.issue("x", |_| {}).pem[1]);
    lab.write("damaged.pem", "-----BEGIN PRIVATE KEY-----\ns3cret");
    lab.write("empty.pem", "");
    lab.write(
        "odd.pem",
        "-----BEGIN PRIVATE KEY-----\nczNjcmV0\n-----END PRIVATE KEY-----\n",
    );
    let ca = "  client_ca_file: ca.pem\n";
    let suites = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256; those of TLS 1.3 are always there";
    for (text, says) in [
        (
            "tls_server_config: {cert_file: cert.pem}\n".to_owned(),
            "key_file is missing",
        ),
        (
            "tls_server_config: {key_file: key.pem}\n".to_owned(),
            "cert_file is missing",
        ),
        (
            "tls_server_config: {min_version: TLS13}\n".to_owned(),
            "cert_file is missing",
        ),
        (
            "tls_server_config: {cert_file: ''}\n".to_owned(),
            "cert_file is missing",
        ),
        (
            TLS.replace("key.pem", "none.pem"),
            "key_file \"none.pem\": No such file",
        ),
        (
            TLS.replace("cert.pem", "key.pem"),
            "cert_file: no certificate in it",
        ),
        (
            TLS.replace("key.pem", "cert.pem"),
            "key_file: nothing of the kind wanted",
        ),
        (
            TLS.replace("key.pem", "damaged.pem"),
            "key_file: damaged PEM",
        ),
        (
            TLS.replace("key.pem", "empty.pem"),
            "key_file: nothing of the kind wanted",
        ),
        (
            TLS.replace("key.pem", "odd.pem"),
            "key_file: expected a key of RSA",
        ),
        (
            TLS.replace("key.pem", "other.pem"),
            "key_file: this key is not the one of cert_file",
        ),
        (
            format!("{TLS}{ca}"),
            "client_auth_type is missing, and there is a client CA",
        ),
        (
            format!("{TLS}{ca}  client_auth_type: NoClientCert\n"),
            "client_auth_type is missing",
        ),
        (
            format!("{TLS}  client_auth_type: verify\n"),
            "client_auth_type \"verify\": expected NoC",
        ),
        (
            format!("{TLS}  client_auth_type: RequireAndVerifyClientCert\n"),
            "client_ca_file is missing",
        ),
        (
            format!("{TLS}  client_auth_type: VerifyClientCertIfGiven\n"),
            "client_ca_file is missing",
        ),
        (
            format!("{TLS}  client_ca_file: key.pem\n  client_auth_type: RequireAnyClientCert\n"),
            "client_ca_file: no certificate in it",
        ),
        (
            format!("{TLS}  client_allowed_sans: [pi]\n"),
            "client_allowed_sans: expected client_auth",
        ),
        (
            format!(
                "{TLS}{ca}  client_auth_type: VerifyClientCertIfGiven\n  client_allowed_sans: [pi]\n"
            ),
            "client_allowed_sans: expected client_auth",
        ),
        (
            format!("{TLS}  min_version: TLS10\n"),
            "min_version: there is no TLS10, expected TLS12 or TLS13",
        ),
        (
            format!("{TLS}  max_version: TLS11\n"),
            "max_version: there is no TLS11, expected TLS12 or TLS13",
        ),
        (
            format!("{TLS}  max_version: SSL3\n"),
            "max_version \"SSL3\": expected TLS12 or TLS13",
        ),
        (
            format!("{TLS}  min_version: TLS13\n  max_version: TLS12\n"),
            "max_version is below min_version",
        ),
        (
            format!("{TLS}  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n"),
            suites,
        ),
        (
            format!("{TLS}  cipher_suites: [TLS_AES_128_GCM_SHA256]\n  max_version: TLS12\n"),
            "cipher_suites: none of them is of TLS 1.2",
        ),
        (
            format!("{TLS}  curve_preferences: [CurveP521]\n"),
            "curve_preferences \"CurveP521\": there is no such curve, expected X25519, CurveP256, CurveP384",
        ),
    ] {
        let error = lab.refusal(&text);
        assert!(error.starts_with(": tls_server_config."), "{error}");
        assert!(error.contains(says), "{text}{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn what_is_wrong_elsewhere_is_said() {
    let lab = Lab::new();
    for (text, says) in [
        (
            "tls_config: {}\n",
            ":1:1: unknown key \"tls_config\", did you mean \"tls_server_config\"?",
        ),
        (
            "tls_server_config:\n  certfile: x\n",
            ":2:3: unknown key \"certfile\", did you mean \"cert_file\"?",
        ),
        (
            "http_server_config: {http3: true}\n",
            "did you mean \"http2\"?",
        ),
        ("http_server_config: {http2: perhaps}\n", ":1:"),
        (
            "http_server_config: {headers: {Server: x}}\n",
            ": http_server_config.headers \"Server\": can not be set",
        ),
        (
            "basic_auth_users: {prom: s3cret}\n",
            ": basic_auth_users \"prom\": expected a bcrypt hash",
        ),
        (
            "basic_auth_users: {prom: }\n",
            ": basic_auth_users \"prom\": expected a bcrypt hash",
        ),
        (
            "rate_limit: {interval: soon, burst: 1}\n",
            ": rate_limit.interval \"soon\": expected one such as 100ms",
        ),
        ("rate_limit: {interval: 1s, burst: -1}\n", ":1:"),
        (
            "rate_limit: {interval: 1s}\n",
            ": rate_limit.burst: expected at least 1",
        ),
        ("- a list\n", ":1:"),
    ] {
        let error = lab.refusal(text);
        assert!(
            error.starts_with(says) || error.contains(says),
            "{text}{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
    let twice = format!("basic_auth_users:\n  prom: {HASH}\n  prom: {HASH}\n");
    let error = lab.refusal(&twice);
    assert!(error.starts_with(":3:"), "{error}");
}

#[test]
fn no_error_shows_a_secret_wherever_it_was_put() {
    let lab = Lab::new();
    for text in [
        "basic_auth_users: SECRET\n",
        "basic_auth_users: [SECRET]\n",
        "basic_auth_users: {prom: [SECRET]}\n",
        "basic_auth_users: {prom: {a: SECRET}}\n",
        "basic_auth_users:\n  prom: SECRET\n  prom: SECRET\n",
        "basic_auth_users:\n  prom: SECRET\nhttp2: yes\n",
        "basic_auth_users:\n  prom: \"SECRET\n",
        "basic_auth_users:\n prom: SECRET\n  grafana: SECRET\n",
        "tls_server_config: {key: [SECRET]}\n",
        "tls_server_config: {key: SECRET, cert_file: cert.pem}\n",
        "tls_server_config: {key: SECRET, certfile: cert.pem}\n",
        "tls_server_config:\n  key: |\n    SECRET\n  cert_fil: x\n",
        "basic_auth_users: {prom: !!int SECRET}\n",
        "basic_auth_users: {prom: !!binary SECRET}\n",
        "basic_auth_users: {prom: *SECRET}\n",
    ] {
        for secret in [HASH, "s3cret", "-----BEGIN PRIVATE KEY-----MIGHAgEAs3cret"] {
            let text = text.replace("SECRET", secret);
            let error = lab.refusal(&text);
            assert!(
                !error.contains("UFSZ") && !error.contains("s3cret"),
                "{text}{error}"
            );
        }
    }
    // Exchanged: what stands where a user should is the hash.
    for text in ["{SECRET: prom}", "{SECRET: prom, SECRET: nas}"] {
        let text = format!("basic_auth_users: {text}\n").replace("SECRET", HASH);
        let error = lab.refusal(&text);
        assert!(!error.contains("UFSZ"), "{error}");
    }
}

fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("tls_server_config:".to_owned()),
        Just("cert_file: cert.pem".to_owned()),
        Just("key_file: key.pem".to_owned()),
        Just("client_ca_file: ca.pem".to_owned()),
        Just("client_auth_type: VerifyClientCertIfGiven".to_owned()),
        Just("basic_auth_users:".to_owned()),
        Just(format!("prom: {HASH}")),
        Just("prom: s3cret".to_owned()),
        Just("http_server_config: {headers: {X-Frame-Options: deny}}".to_owned()),
        Just("rate_limit: {interval: 9999999h, burst: 4294967295}".to_owned()),
        "[a-z_]{1,8}: [ -~äß]{0,20}",
        "[ -~]{0,20}",
    ];
    let line =
        (0..3_usize, line).prop_map(|(depth, line)| format!("{}{line}\n", "  ".repeat(depth)));
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn whatever_stands_in_it_is_read_or_refused_in_a_line(text in lines()) {
        // Without the files it names: that they are not there is an error as well.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yml");
        std::fs::write(&path, &text).unwrap();
        match WebConfig::read(&path) {
            Ok(config) => {
                prop_assert!(config.rate_limit.is_none_or(|limit| limit.allow()));
            }
            Err(error) => {
                let error = error.to_string();
                prop_assert_eq!(error.lines().count(), 1);
                prop_assert!(!error.contains("UFSZ") && !error.chars().any(char::is_control));
            }
        }
    }
}
