//! An endpoint that says what it is told to.

use std::path::PathBuf;

use adit_common::http_config::CredentialFile;
use adit_common::net::tls::ClientTls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};

use super::*;
use crate::config::query::Manner;

/// Answers one request with exactly these bytes, and gives the request.
async fn answers(bytes: Vec<u8>) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        // Whoever has read enough hangs up.
        let _ = stream.write_all(&bytes).await;
        String::from_utf8(request).unwrap().to_ascii_lowercase()
    };
    (port, tokio::spawn(serve))
}

fn source(port: u16, credentials: Option<PathBuf>) -> HttpSource {
    HttpSource {
        url: format!("http://127.0.0.1:{port}/sd/targets?style=x").into(),
        refresh: Duration::from_secs(30),
        tls: ClientTls::default(),
        credentials: credentials.map(CredentialFile::Bearer),
        manner: Manner::default(),
    }
}

async fn looked(answer: &str) -> Result<Vec<Found>, String> {
    let (port, _task) = answers(answer.as_bytes().to_vec()).await;
    let (report, _heard) = Report::for_tests();
    look(&source(port, None), &report).await
}

fn with_body(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn it_is_asked_as_prometheus_does_with_credentials_read_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    let (report, _heard) = Report::for_tests();
    for word in ["one", "two"] {
        std::fs::write(&token, word).unwrap();
        let body = r#"[{"targets":["a:9090"],"labels":{"__scheme__":"https"}}]"#;
        let (port, asked) = answers(with_body(body).into_bytes()).await;
        let found = look(&source(port, Some(token.clone())), &report)
            .await
            .unwrap();
        assert_eq!(found[0].url.to_string(), "https://a:9090");
        let asked = asked.await.unwrap();
        assert!(
            asked.starts_with("get /sd/targets?style=x http/1.1\r\n"),
            "{asked}"
        );
        for field in [
            "accept: application/json",
            "x-prometheus-refresh-interval-seconds: 30",
            &format!("host: 127.0.0.1:{port}"),
            &format!("authorization: bearer {word}"),
        ] {
            assert!(
                asked.contains(&format!("\r\n{field}\r\n")),
                "{field}: {asked}"
            );
        }
    }
    std::fs::remove_file(&token).unwrap();
    let error = look(&source(1, Some(token)), &report).await.unwrap_err();
    assert!(error.contains("token"), "{error}");
}

#[tokio::test]
async fn an_empty_list_is_an_answer_and_everything_else_a_failure() {
    assert_eq!(looked(&with_body("[]")).await, Ok(Vec::new()));
    for (answer, says) in [
        (with_body("{"), "its list:1:"),
        (with_body("[{\"targets\":[\"a b\"]}]"), "its list:1:"),
        (with_body("<html>"), "its list:1:"),
        (
            "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "redirects are not followed",
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n[]".to_owned(),
            "it answered 503 Service Unavailable",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]".to_owned(),
            "its list broke off",
        ),
        ("SSH-2.0-x\r\n".to_owned(), "it does not answer in HTTP"),
        (String::new(), "before it had answered"),
    ] {
        let error = looked(&answer).await.unwrap_err();
        assert!(error.contains(says), "{answer}: {error}");
    }
}

#[tokio::test]
async fn nobody_there_is_a_failure() {
    // Held, and never listening: no other test is given its port.
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = held.local_addr().unwrap().port();
    let (report, _heard) = Report::for_tests();
    let error = look(&source(port, None), &report).await.unwrap_err();
    assert!(error.contains("could not connect"), "{error}");
}

#[tokio::test]
async fn a_list_without_end_is_not_read_to_its_end() {
    let body = "[".to_owned() + &" ".repeat(MOST_BYTES) + "]";
    let error = looked(&with_body(&body)).await.unwrap_err();
    assert_eq!(error, format!("its list has over {MOST_BYTES} bytes"));
}

#[test]
fn a_user_in_the_url_is_refused_and_not_shown() {
    for url in ["http://u:s3cret@a:1/", "a/b", "http://"] {
        let source = HttpSource {
            url: url.to_owned().into(),
            ..source(1, None)
        };
        let error = request(&source, None).unwrap_err();
        assert!(
            error.contains("expected http(s)://") && !error.contains("s3cret"),
            "{error}"
        );
    }
}
