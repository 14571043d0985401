//! What a caller of ours sees on its connection.

use std::time::Duration;

use http::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::fake::{Fake, Step, answer};
use super::*;

/// Every byte that comes for a request until the connection ends.
async fn bytes_for(bench: &Bench, class: Class, granted: Duration, fake: &Fake) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let order = bench.order(&[fake.address]);
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(|_| async {
            let answered = bench
                .within(granted, asked(class, Method::GET, b""), order.clone())
                .await;
            Ok::<Response<_>, std::convert::Infallible>(answered.unwrap().response)
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        // It breaks when its answer does.
        let _ = connection.await;
    };
    let ask = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut all = Vec::new();
        let _ = timeout(LONG, stream.read_to_end(&mut all)).await.unwrap();
        all
    };
    tokio::join!(serve, ask).1
}

fn body_of(answer: &[u8]) -> &[u8] {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    &answer[end.unwrap() + 4..]
}

/// Case 27: nobody takes a part for the whole, and the part does come.
#[tokio::test]
async fn a_caller_sees_that_an_answer_broke() {
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").into_bytes();
    let held = vec![b'x'; 1 << 20];
    let chunk = [format!("{:x}\r\n", held.len()).as_bytes(), &held, b"\r\n"].concat();
    let length = head("content-length: 20000000");
    let chunked = head("transfer-encoding: chunked");
    for (head, part, deadline) in [
        (&length, &held, false),
        (&chunked, &chunk, false),
        (&length, &held, true),
        (&chunked, &chunk, true),
    ] {
        let mut steps = vec![Step::Send([&head[..], part].concat())];
        if deadline {
            steps.push(Step::Hang);
        }
        let fake = Fake::start(steps).await;
        let bench = Bench::new(|_| {});
        let granted = if deadline {
            Duration::from_secs(1)
        } else {
            LONG
        };
        let got = bytes_for(&bench, READ, granted, &fake).await;
        let text = String::from_utf8_lossy(&got[..200]).to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 200 ok\r\n"), "{text}");
        let body = body_of(&got);
        assert!(body.len() >= held.len(), "what was held is passed on");
        match text.contains("content-length: 20000000\r\n") {
            true => assert!(body.len() < 20_000_000),
            false => {
                assert!(text.contains("transfer-encoding: chunked\r\n"), "{text}");
                assert!(!body.ends_with(b"0\r\n\r\n"));
            }
        }
    }
}

/// Also of one that breaks right behind its head: the status is told before the connection ends.
#[tokio::test]
async fn what_came_before_the_break_is_flushed() {
    let part = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_vec();
    let fake = Fake::start(vec![Step::Send(part)]).await;
    let class = Class {
        hold: false,
        hedge: false,
        ..READ
    };
    let got = bytes_for(&Bench::new(|_| {}), class, LONG, &fake).await;
    assert!(got.starts_with(b"HTTP/1.1 200 OK\r\n"), "{got:?}");
    assert_eq!(body_of(&got), b"abc");
}

/// A whole one has its length, however it came.
#[tokio::test]
async fn a_caller_gets_a_whole_answer_with_its_length() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    for bytes in [chunked.to_vec(), answer("200 OK", "", b"abcde")] {
        let fake = Fake::start(vec![Step::Send(bytes)]).await;
        let got = bytes_for(&Bench::new(|_| {}), READ, LONG, &fake).await;
        let text = String::from_utf8_lossy(&got).to_ascii_lowercase();
        assert!(text.contains("content-length: 5\r\n"), "{text}");
        assert_eq!(body_of(&got), b"abcde");
    }
}
