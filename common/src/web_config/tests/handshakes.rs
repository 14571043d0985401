use std::sync::Arc;

use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion};
use tokio::io::{AsyncWriteExt as _, duplex};

use crate::web_config::lab::{Ca, Client, Lab, Pair, all_kinds_of_names, meet, self_signed, soon};
use crate::web_config::*;

const VERIFIED: &str = "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n";

async fn meeting(
    tls: &ServerTls,
    pair: Option<&Pair>,
    tls12: bool,
) -> Result<PeerNames, Handshake> {
    let client = Client {
        shows: pair,
        only: Some(if tls12 { &TLS12 } else { &TLS13 }),
        ..Client::default()
    };
    meet(tls, client.config()).await.map(|met| met.0)
}

/// How each kind of client fares with each `client_auth_type`: let in unknown, let in by name, or
/// refused.
#[tokio::test]
async fn who_is_let_in_by_which_certificate() {
    let lab = Lab::new();
    let foreign = Ca::new("foreign");
    let good = lab.ca.issue("pi", |_| {});
    let strange = foreign.issue("pi", |_| {});
    let expired = lab
        .ca
        .issue("pi", |it| it.not_after = date_time_ymd(2020, 1, 1));
    let early = lab
        .ca
        .issue("pi", |it| it.not_before = date_time_ymd(3000, 1, 1));
    let servers = lab.ca.issue("pi", |it| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let shown = [
        ("nothing", None),
        ("good", Some(&good)),
        ("strange", Some(&strange)),
        ("expired", Some(&expired)),
        ("early", Some(&early)),
        ("server's", Some(&servers)),
    ];
    // In the order above: `-` unknown, `+` by name, `x` refused.
    for (auth, fares) in [
        ("NoClientCert", "------"),
        ("RequestClientCert", "------"),
        ("RequireAnyClientCert", "x-----"),
        ("RequireClientCert", "x-----"),
        ("VerifyClientCertIfGiven", "-+xxxx"),
        ("RequireAndVerifyClientCert", "x+xxxx"),
    ] {
        let ca = if auth == "NoClientCert" {
            ""
        } else {
            "  client_ca_file: ca.pem\n"
        };
        let tls = lab.tls(&format!("{ca}  client_auth_type: {auth}\n"));
        for ((what, pair), expected) in shown.iter().zip(fares.chars()) {
            for tls12 in [true, false] {
                let got = match meeting(&tls, *pair, tls12).await {
                    Ok(names) if names.is_verified() => {
                        assert_eq!(names.texts().collect::<Vec<_>>(), ["pi"]);
                        '+'
                    }
                    Ok(names) => {
                        assert_eq!(names.iter().count(), 0, "{auth}, {what}");
                        '-'
                    }
                    Err(error) => {
                        assert_eq!(error.word(), "certificate", "{error}");
                        'x'
                    }
                };
                assert_eq!(got, expected, "{auth}, {what}, {tls12}");
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_says_why() {
    let lab = Lab::new();
    let tls = lab.tls(VERIFIED);
    let strange = Ca::new("foreign").issue("pi", |_| {});
    let expired = lab
        .ca
        .issue("pi", |it| it.not_after = date_time_ymd(2020, 1, 1));
    for (pair, says) in [
        (None, "no client certificate shown"),
        (
            Some(&strange),
            "client certificate is of no CA in client_ca_file",
        ),
        (Some(&expired), "client certificate expired"),
    ] {
        let error = meeting(&tls, pair, false).await.unwrap_err();
        assert_eq!(error.to_string(), says);
    }
}

#[tokio::test]
async fn every_kind_of_name_is_known() {
    let lab = Lab::new();
    let tls = lab.tls(VERIFIED);
    let pair = lab.ca.issue("pi.example", all_kinds_of_names);
    let names = meeting(&tls, Some(&pair), false).await.unwrap();
    assert_eq!(
        names.iter().cloned().collect::<Vec<_>>(),
        [
            San::Dns("pi.example".into()),
            San::Email("ops@example.org".into()),
            San::Ip("192.0.2.7".parse().unwrap()),
            San::Ip("192.0.2.8".parse().unwrap()),
            San::Uri("spiffe://example.org/pi".into()),
        ]
    );
    let none = lab.ca.issue("x", |it| it.subject_alt_names.clear());
    let names = meeting(&tls, Some(&none), false).await.unwrap();
    assert!(names.is_verified());
    assert_eq!(names.iter().count(), 0);
}

#[tokio::test]
async fn only_allowed_names_come_in() {
    let lab = Lab::new();
    let pair = lab.ca.issue("pi.example", all_kinds_of_names);
    for auth in ["RequireAndVerifyClientCert", "RequireAnyClientCert"] {
        for (allowed, comes_in) in [
            ("pi.example", true),
            ("ops@example.org", true),
            ("192.0.2.7", true),
            ("192.0.2.8", true),
            ("spiffe://example.org/pi", true),
            ("nas.example, pi.example", true),
            ("PI.example", false),
            ("'*.example'", false),
            ("example", false),
            ("", false),
        ] {
            let tls = lab.tls(&format!(
                "  client_ca_file: ca.pem\n  client_auth_type: {auth}\n  \
                 client_allowed_sans: [{allowed}]\n"
            ));
            let met = meeting(&tls, Some(&pair), false).await;
            assert_eq!(met.is_ok(), comes_in, "{allowed}");
            if let Err(error) = met {
                assert_eq!(error.word(), "certificate");
                assert!(error.to_string().contains("client_allowed_sans"), "{error}");
            }
            assert!(meeting(&tls, None, false).await.is_err());
        }
    }
}

#[tokio::test]
async fn a_self_signed_client_is_known_when_it_is_listed_itself() {
    let lab = Lab::new();
    for (usage, comes_in) in [
        (&[][..], true),
        (&[ExtendedKeyUsagePurpose::ClientAuth][..], true),
        (&[ExtendedKeyUsagePurpose::ServerAuth][..], false),
    ] {
        let pi = self_signed(usage);
        lab.write("ca.pem", &pi.pem[0]);
        let tls = lab.tls(VERIFIED);
        let met = meeting(&tls, Some(&pi), false).await;
        assert_eq!(met.is_ok_and(|names| names.is_verified()), comes_in);
        assert!(
            meeting(&tls, Some(&self_signed(usage)), false)
                .await
                .is_err()
        );
    }
}

/// Somebody has seen a certificate and has not its key.
#[tokio::test]
async fn a_certificate_without_its_key_is_nobodys() {
    let lab = Lab::new();
    let good = lab.ca.issue("pi", |_| {});
    let other = lab.ca.issue("thief", |_| {});
    let key = any_supported_type(&PrivateKeyDer::Pkcs8(other.key.clone().into())).unwrap();
    for auth in [
        "RequestClientCert",
        "RequireAnyClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ] {
        let tls = lab.tls(&format!(
            "  client_ca_file: ca.pem\n  client_auth_type: {auth}\n"
        ));
        for version in [&TLS12, &TLS13] {
            let stolen = CertifiedKey::new(vec![good.der.clone()], Arc::clone(&key));
            let client = Client {
                only: Some(version),
                ..Client::default()
            };
            let mut config = ClientConfig::clone(&client.config());
            config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(stolen));
            let error = meet(&tls, Arc::new(config)).await.map(drop).unwrap_err();
            let says = "client certificate shown by somebody who has not its key";
            assert_eq!(error.to_string(), says, "{auth}");
        }
    }
}

#[tokio::test]
async fn only_http1_is_spoken() {
    let lab = Lab::new();
    let tls = lab.tls("");
    for (alpn, agreed) in [
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"http/1.1"[..])),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let client = Client {
            alpn,
            ..Client::default()
        };
        let (_, _, client) = meet(&tls, client.config()).await.unwrap();
        assert_eq!(client.alpn_protocol(), agreed);
    }
    let only_h2 = Client {
        alpn: &[b"h2"],
        ..Client::default()
    };
    let error = meet(&tls, only_h2.config()).await.map(drop).unwrap_err();
    assert_eq!(error.word(), "protocol");
    assert_eq!(error.to_string(), "the client does not speak http/1.1");
}

#[tokio::test]
async fn versions_suites_and_curves_are_what_the_file_says() {
    let lab = Lab::new();
    let chacha = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    for (more, tls12, tls13) in [
        (String::new(), true, true),
        ("  min_version: TLS13\n".to_owned(), false, true),
        ("  max_version: TLS12\n".to_owned(), true, false),
        (format!("  cipher_suites: [{chacha}]\n"), true, true),
        (
            "  cipher_suites: [TLS_AES_256_GCM_SHA384]\n".to_owned(),
            false,
            true,
        ),
    ] {
        let tls = lab.tls(&more);
        for (version, speaks) in [(&TLS12, tls12), (&TLS13, tls13)] {
            let client = Client {
                only: Some(version),
                ..Client::default()
            };
            let met = meet(&tls, client.config()).await;
            assert_eq!(met.is_ok(), speaks, "{more}{version:?}");
            let Ok((_, _, client)) = met else { continue };
            let suite = client.negotiated_cipher_suite().unwrap().suite();
            if client.protocol_version() == Some(ProtocolVersion::TLSv1_2) && more.contains(chacha)
            {
                assert_eq!(format!("{suite:?}"), chacha);
            }
        }
    }
    let tls = lab.tls("  curve_preferences: [CurveP384, X25519]\n");
    let (_, _, client) = meet(&tls, Client::default().config()).await.unwrap();
    let curve = client.negotiated_key_exchange_group().unwrap().name();
    assert!(
        [NamedGroup::secp384r1, NamedGroup::X25519].contains(&curve),
        "{curve:?}"
    );
    let tls = lab.tls("  curve_preferences: [CurveP384]\n");
    let (_, _, client) = meet(&tls, Client::default().config()).await.unwrap();
    let curve = client.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(curve, NamedGroup::secp384r1);
}

/// A client that keeps its sessions still shows its certificate every time.
#[tokio::test]
async fn no_session_is_resumed() {
    let lab = Lab::new();
    let tls = lab.tls(VERIFIED);
    let pair = lab.ca.issue("pi", |_| {});
    for version in [&TLS12, &TLS13] {
        let client = Client {
            shows: Some(&pair),
            only: Some(version),
            ..Client::default()
        };
        let config = client.config();
        for _ in 0..3 {
            let (names, _, client) = meet(&tls, Arc::clone(&config)).await.unwrap();
            assert!(names.is_verified());
            let kind = client.handshake_kind().unwrap();
            assert_ne!(kind, HandshakeKind::Resumed, "{version:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_handshake_is_told_apart() {
    let lab = Lab::new();
    let tls = lab.tls("");
    let said = async |bytes: &[u8], ends: bool| {
        let (mut near, far) = duplex(64 * 1024);
        near.write_all(bytes).await.unwrap();
        if ends {
            drop(near);
            return tls.accept(far, soon()).await.map(drop).unwrap_err();
        }
        let error = tls.accept(far, soon()).await.map(drop).unwrap_err();
        drop(near);
        error
    };
    let error = said(b"", false).await;
    assert_eq!(
        (error.word(), error.to_string().as_str()),
        ("timeout", "no tls handshake in time")
    );
    let error = said(b"\x16\x03\x01", false).await;
    assert_eq!(error.word(), "timeout");
    for half in [&b""[..], b"\x16\x03\x01"] {
        assert_eq!(said(half, true).await.word(), "closed");
    }
    let error = said(b"GET / HTTP/1.1\r\nHost: proxy\r\n\r\n", true).await;
    assert_eq!(error.to_string(), "the other side does not speak tls");
    assert_eq!(error.word(), "protocol");
}
