//! The same files are good or bad for exporter-toolkit and for us.

use std::path::Path;
use std::process::Command;

use adit_common::web_config::WebConfig;
use adit_tests::program::{Program, debian};

use super::{Folder, HASH, TLS};

/// Who takes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Both,
    Neither,
    /// We refuse what works and does not do what it says, and what rustls has not.
    Theirs,
    /// It is younger than Debian's node_exporter.
    Ours,
}

/// Whether a node_exporter serves with it.
async fn theirs(file: &Path) -> bool {
    let path = debian("prometheus-node-exporter", "prometheus-node-exporter");
    let mut command = Command::new(path);
    command
        .arg("--collector.disable-defaults")
        .arg("--web.listen-address=127.0.0.1:0")
        .arg(format!("--web.config.file={}", file.display()));
    let program = Program::start(&command);
    program.line_or_end("msg=\"TLS is ").await.is_some()
}

/// What stands in the files, and who takes it.
fn files() -> Vec<(String, Takes)> {
    use Takes::{Both, Neither, Ours, Theirs};
    let tls = |more: &str| format!("{TLS}{more}");
    let auth = |auth: &str, more: &str| {
        format!("{TLS}  client_ca_file: ca.pem\n  client_auth_type: {auth}\n{more}")
    };
    let users = |users: &str| format!("basic_auth_users:\n{users}");
    let header = |header: &str| format!("http_server_config: {{headers: {{{header}}}}}\n");
    vec![
        (String::new(), Both),
        ("# nothing\n".into(), Both),
        (
            "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n".into(),
            Both,
        ),
        ("tls_server_config: {}\nbasic_auth_users: {}\n".into(), Both),
        ("- a list\n".into(), Neither),
        ("a text\n".into(), Neither),
        ("tls_config: {}\n".into(), Neither),
        ("a: [\n".into(), Neither),
        (format!("{TLS}{TLS}"), Neither),
        // The server's certificate.
        (tls(""), Both),
        ("tls_server_config: {cert_file: cert.pem}\n".into(), Neither),
        ("tls_server_config: {key_file: key.pem}\n".into(), Neither),
        (
            "tls_server_config: {client_auth_type: RequireAnyClientCert}\n".into(),
            Neither,
        ),
        (TLS.replace("key.pem", "none.pem"), Neither),
        (TLS.replace("key.pem", "client.key"), Neither),
        (TLS.replace("key.pem", "cert.pem"), Neither),
        (TLS.replace("cert.pem", "key.pem"), Neither),
        (tls("  certfile: cert.pem\n"), Neither),
        // It would be plain HTTP.
        ("tls_server_config: {min_version: TLS13}\n".into(), Theirs),
        // Clients' certificates.
        (auth("RequestClientCert", ""), Both),
        (auth("RequireAnyClientCert", ""), Both),
        (auth("RequireClientCert", ""), Both),
        (auth("VerifyClientCertIfGiven", ""), Both),
        (auth("RequireAndVerifyClientCert", ""), Both),
        (auth("NoClientCert", ""), Neither),
        (auth("requireandverifyclientcert", ""), Neither),
        (tls("  client_ca_file: ca.pem\n"), Neither),
        (
            tls("  client_ca_file: none.pem\n  client_auth_type: RequireAnyClientCert\n"),
            Neither,
        ),
        (tls("  client_auth_type: RequireAnyClientCert\n"), Both),
        (
            auth(
                "RequireAndVerifyClientCert",
                "  client_allowed_sans: [pi]\n",
            ),
            Ours,
        ),
        // Everybody with a certificate of a public CA would come in.
        (
            tls("  client_auth_type: RequireAndVerifyClientCert\n"),
            Theirs,
        ),
        (tls("  client_auth_type: VerifyClientCertIfGiven\n"), Theirs),
        // Nobody would come in.
        (
            auth("RequireAndVerifyClientCert", "").replace("ca.pem", "key.pem"),
            Theirs,
        ),
        // Versions, suites, curves.
        (tls("  min_version: TLS12\n  max_version: TLS13\n"), Both),
        (tls("  min_version: TLS13\n"), Both),
        (tls("  min_version: SSL30\n"), Neither),
        (tls("  min_version: 1.2\n"), Neither),
        (tls("  min_version: TLS10\n"), Theirs),
        (tls("  min_version: TLS11\n"), Theirs),
        (tls("  min_version: TLS13\n  max_version: TLS12\n"), Theirs),
        (
            tls("  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n"),
            Both,
        ),
        (
            tls("  cipher_suites: [TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256]\n"),
            Both,
        ),
        (
            tls("  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384]\n"),
            Both,
        ),
        (tls("  cipher_suites: []\n  curve_preferences: []\n"), Both),
        (
            tls("  cipher_suites: [ECDHE-ECDSA-AES128-GCM-SHA256]\n"),
            Neither,
        ),
        (tls("  cipher_suites: TLS_AES_128_GCM_SHA256\n"), Neither),
        (
            tls("  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA]\n"),
            Theirs,
        ),
        (tls("  prefer_server_cipher_suites: false\n"), Both),
        (tls("  prefer_server_cipher_suites: perhaps\n"), Neither),
        (
            tls("  curve_preferences: [CurveP256, CurveP384, X25519]\n"),
            Both,
        ),
        (tls("  curve_preferences: [P-256]\n"), Neither),
        (tls("  curve_preferences: [CurveP521]\n"), Theirs),
        // HTTP.
        ("http_server_config: {http2: false}\n".into(), Both),
        ("http_server_config: {http2: perhaps}\n".into(), Neither),
        ("http_server_config: {http3: true}\n".into(), Neither),
        (header("X-Frame-Options: deny"), Both),
        (header("X-Frame-Options: DENY"), Neither),
        (header("X-Content-Type-Options: nosniff"), Both),
        (header("X-Content-Type-Options: sniff"), Neither),
        (header("Strict-Transport-Security: max-age=60"), Both),
        (header("X-XSS-Protection: '1'"), Both),
        (header("Content-Security-Policy: default-src 'self'"), Both),
        (header("content-security-policy: none"), Neither),
        (header("Server: x"), Neither),
        // Users.
        (users(&format!("  prom: {HASH}\n  grafana: {HASH}\n")), Both),
        (users(&format!("  2024: {HASH}\n")), Both),
        (
            users(&format!("  prom: {}\n", HASH.replace("$2y", "$2a"))),
            Both,
        ),
        (
            users(&format!("  prom: {}\n", HASH.replace("$2y", "$2b"))),
            Both,
        ),
        (users("  prom: secret\n"), Neither),
        (users("  prom:\n"), Neither),
        (users(&format!("  prom: {}\n", &HASH[..50])), Neither),
        (
            users(&format!("  prom: {}\n", HASH.replace("$2y", "$3y"))),
            Neither,
        ),
        (
            users(&format!("  prom: {}\n", HASH.replace("$10$", "$03$"))),
            Neither,
        ),
        (
            users(&format!("  prom: {}\n", HASH.replace("$10$", "$32$"))),
            Neither,
        ),
        (
            users(&format!("  prom: {}\n", HASH.replace("$10$", "$1x$"))),
            Neither,
        ),
        (users(&format!("  prom: [{HASH}]\n")), Neither),
        (users(&format!("  prom: {HASH}\n  prom: {HASH}\n")), Neither),
        // Nobody would ever have the right password, or wait for the answer.
        (users(&format!("  prom: {HASH}x\n")), Theirs),
        (
            users(&format!("  prom: {}\n", HASH.replace("$10$", "$31$"))),
            Theirs,
        ),
        (users(&format!("  'a:b': {HASH}\n")), Theirs),
        // Younger keys.
        ("rate_limit: {interval: 1s, burst: 20}\n".into(), Ours),
        ("rate_limit: {interval: soon, burst: 20}\n".into(), Neither),
    ]
}

/// Who takes this file, and what we say if we do not.
async fn taken(file: &Path) -> (Takes, String) {
    let (ours, says) = match WebConfig::read(file) {
        Ok(_) => (true, String::new()),
        Err(error) => (false, error.to_string()),
    };
    let takes = match (theirs(file).await, ours) {
        (true, true) => Takes::Both,
        (false, false) => Takes::Neither,
        (true, false) => Takes::Theirs,
        (false, true) => Takes::Ours,
    };
    (takes, says)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_good_or_bad_for_exporter_toolkit_and_for_us() {
    let folder = Folder::new();
    let mut wrong = Vec::new();
    let files = files();
    for (text, takes) in &files {
        let file = folder.write("web.yml", text);
        let (took, says) = taken(&file).await;
        assert!(!says.contains(&HASH[20..]), "{says}");
        if took != *takes {
            wrong.push(format!("{took:?}, not {takes:?}:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files.len() > 70);
}

/// What operators make with openssl, by the commands they find.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_certificates_of_openssl_are_taken_or_said_to_be_wrong() {
    let folder = Folder::new();
    let openssl = debian("openssl", "openssl");
    let [key, cert, csr] = ["key.pem", "cert.pem", "csr.pem"].map(|it| folder.path(it));
    let [key, cert, csr] = [&key, &cert, &csr].map(|it| it.display().to_string());
    let signed = format!("req -x509 -key {key} -days 2 -subj /CN=x -out {cert}");
    let genkey = format!("genpkey -out {key} -algorithm");
    let version1 = format!(
        "genpkey -out {key} -algorithm ed25519; req -new -key {key} -subj /CN=x -out {csr}; \
         x509 -req -in {csr} -signkey {key} -days 2 -out {cert}"
    );
    for (commands, takes, says) in [
        (format!("{genkey} rsa; {signed}"), Takes::Both, ""),
        (
            format!("genrsa -traditional -out {key}; {signed}"),
            Takes::Both,
            "",
        ),
        // With EC PARAMETERS before the key.
        (
            format!("ecparam -name prime256v1 -genkey -out {key}; {signed}"),
            Takes::Both,
            "",
        ),
        (
            format!("ecparam -name secp384r1 -genkey -out {key}; {signed}"),
            Takes::Both,
            "",
        ),
        (format!("{genkey} ed25519; {signed}"), Takes::Both, ""),
        (
            format!("ecparam -name secp521r1 -genkey -out {key}; {signed}"),
            Takes::Theirs,
            "key_file: expected a key of RSA (2048 bits and more), P-256, P-384 or Ed25519",
        ),
        (
            format!("genrsa -out {key} 1024; {signed}"),
            Takes::Theirs,
            "key_file: expected a key of RSA (2048 bits and more), P-256, P-384 or Ed25519",
        ),
        // `openssl x509 -req` makes it, unless told otherwise.
        (
            version1,
            Takes::Theirs,
            "cert_file: a certificate of X.509 version 1, expected 3",
        ),
    ] {
        for command in commands.split("; ") {
            let arguments: Vec<&str> = command.split_whitespace().collect();
            let run = Program::run(&openssl, &arguments).await;
            assert!(run.status.success(), "{command}: {}", run.stderr);
        }
        let (took, said) = taken(&folder.write("web.yml", TLS)).await;
        assert_eq!(took, takes, "{commands}: {said}");
        assert!(said.contains(says), "{commands}: {said}");
    }
}
