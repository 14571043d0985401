//! Kept connections that end as they are used. (What servers say is told in [`crate::query::backend`].)

use adit_common::net::tls::ClientTls;
use http::{Method, Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Answers once, says nothing of an end, and ends a moment later: about when the next is sent.
async fn closes_behind(mut stream: TcpStream, moment: Duration) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut seen).await {
            Ok(1..) => {}
            _ => return,
        }
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let _ = stream.write_all(answer).await;
    let started = Instant::now();
    while started.elapsed() < moment {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_handed_a_connection_as_it_ends_does_not_wait_for_the_deadline() {
    const REQUESTS: u32 = 3000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        for n in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let moment = Duration::from_micros(n * 7 % 150);
            tokio::spawn(closes_behind(stream, moment));
        }
    });
    let outbound = Outbound::new(&ClientTls::default()).unwrap();
    for method in [Method::GET, Method::POST] {
        for n in 0..REQUESTS {
            let request = Request::builder()
                .method(&method)
                .uri(format!("http://{address}/{n}"))
                .body(Full::default())
                .unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            match outbound.send(request, deadline).await {
                Ok(answer) => assert_eq!(answer.status(), StatusCode::OK),
                // It had been written: whether it came is not known.
                Err(OutboundError::Reset(_)) if method == Method::POST => {}
                Err(error) => panic!("{method} {n}: {error:?}"),
            }
        }
    }
    serving.abort();
}

#[tokio::test]
async fn a_connection_is_gone_when_its_socket_is_closed_and_nobody_sent_it_elsewhere() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let outbound = Outbound::new(&ClientTls::default()).unwrap();
    let mut request = Request::get(uri).body(Full::default()).unwrap();
    let captured = capture_connection(&mut request);
    let asking = tokio::spawn(outbound.0.request(request));
    let (stream, _) = listener.accept().await.unwrap();
    let gone = gone(captured);
    tokio::pin!(gone);
    let while_it_is_there = tokio::time::timeout(3 * A_MOMENT, &mut gone).await;
    assert!(while_it_is_there.is_err());
    drop(stream);
    let past = tokio::time::timeout(Duration::from_secs(20), gone).await;
    assert!(!past.unwrap().has_answered());
    // hyper says so itself, in less than that moment.
    assert!(asking.await.unwrap().is_err());
}
