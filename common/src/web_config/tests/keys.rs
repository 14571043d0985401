use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use crate::web_config::lab::{HASH, Lab, TLS};
use crate::web_config::*;

#[test]
fn a_file_that_says_nothing_asks_nothing() {
    let lab = Lab::new();
    for text in [
        "",
        "# nothing yet\n",
        "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n",
        "tls_server_config: {}\nhttp_server_config: {http2: true, headers: {}}\n",
        "basic_auth_users: {}\nrate_limit: {interval: 0s, burst: 0}\n",
        "tls_server_config: {cert_file: , key: }\n",
    ] {
        let config = lab.read(text).expect(text);
        assert!(config.tls.is_none() && !config.asks(), "{text}");
        assert!(config.headers.is_empty() && config.rate_limit.is_none());
    }
    assert!(!WebConfig::default().asks());
}

#[test]
fn every_key_is_read() {
    let lab = Lab::new();
    let config = lab
        .read(&format!(
            "{TLS}  client_ca_file: ca.pem
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [pi, ops@example.org]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [X25519, CurveP384]
http_server_config:
  http2: no
  headers:
    X-Frame-Options: deny
basic_auth_users:
  prom: {HASH}
  2024: {HASH}
rate_limit: {{interval: 10ms, burst: 20}}
"
        ))
        .unwrap();
    assert!(config.tls.as_ref().unwrap().requires_verified());
    assert_eq!(config.headers["x-frame-options"], "deny");
    assert_eq!(config.users.names().collect::<Vec<_>>(), ["2024", "prom"]);
    assert!(config.rate_limit.as_ref().unwrap().allow());
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("UFSZ") && !shown.contains("PRIVATE"),
        "{shown}"
    );
}

#[test]
fn who_is_asked() {
    let lab = Lab::new();
    let users = format!("basic_auth_users: {{prom: {HASH}}}\n");
    assert!(lab.read(&users).unwrap().asks());
    let with_ca = format!("{TLS}  client_ca_file: ca.pem\n  client_auth_type: ");
    for (auth, asks) in [
        ("RequestClientCert", false),
        ("RequireAnyClientCert", false),
        ("RequireClientCert", false),
        ("VerifyClientCertIfGiven", false),
        ("RequireAndVerifyClientCert", true),
    ] {
        let config = lab.read(&format!("{with_ca}{auth}\n")).unwrap();
        assert_eq!(config.asks(), asks, "{auth}");
    }
    assert!(!lab.read(TLS).unwrap().asks());
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[test]
fn certificates_may_stand_in_the_file_itself() {
    let lab = Lab::new();
    let pair = lab.serve_as("proxy");
    let [cert, key] = pair.pem.each_ref().map(|pem| indented(pem));
    let ca = indented(&lab.ca.1);
    let text = format!(
        "tls_server_config:\n  cert: |\n{cert}  key: |\n{key}  client_ca: |\n{ca}  \
         client_auth_type: RequireAndVerifyClientCert\n"
    );
    assert!(lab.read(&text).unwrap().tls.unwrap().requires_verified());
    let both = format!("{TLS}  key: |\n{key}");
    let error = lab.refusal(&both);
    assert_eq!(error, ": tls_server_config.key and key_file are both set");
}

#[test]
fn files_are_beside_the_file_that_names_them() {
    let lab = Lab::new();
    std::fs::create_dir(lab.folder.path().join("tls")).unwrap();
    for file in ["cert.pem", "key.pem"] {
        let here = lab.folder.path().join(file);
        std::fs::rename(&here, lab.folder.path().join("tls").join(file)).unwrap();
    }
    let relative = TLS
        .replace(": cert", ": tls/cert")
        .replace(": key", ": tls/key");
    assert!(lab.read(&relative).unwrap().tls.is_some());
    let folder = lab.folder.path().display();
    let absolute = relative.replace("tls/", &format!("{folder}/tls/"));
    assert!(lab.read(&absolute).unwrap().tls.is_some());
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is logged while a file is read that says this, and that these may read.
fn logged(lab: &Lab, text: &str, mode: u32) -> String {
    let path = lab.write("web.yml", text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || WebConfig::read(&path).unwrap());
    let log = log.0.lock().unwrap();
    String::from_utf8_lossy(&log).into_owned()
}

#[test]
fn a_key_that_everybody_may_read_is_warned_of() {
    let lab = Lab::new();
    let key = std::fs::read_to_string(lab.folder.path().join("key.pem")).unwrap();
    assert_eq!(logged(&lab, TLS, 0o644), "");
    let open = |file: &str| {
        let path = lab.folder.path().join(file);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    };
    // The certificate is everybody's.
    open("cert.pem");
    assert_eq!(logged(&lab, TLS, 0o644), "");
    open("key.pem");
    let said = logged(&lab, TLS, 0o644);
    assert!(said.contains("WARN") && said.contains("key.pem"), "{said}");
    assert!(said.contains("chmod o-r"), "{said}");

    let inline = format!(
        "tls_server_config:\n  cert_file: cert.pem\n  key: |\n{}",
        indented(&key)
    );
    assert_eq!(logged(&lab, &inline, 0o600), "");
    let said = logged(&lab, &inline, 0o604);
    assert!(
        said.contains("web.yml") && said.contains("chmod o-r"),
        "{said}"
    );
    assert!(!said.contains("PRIVATE"), "{said}");
}
