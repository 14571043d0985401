//! Whoever asks leaves: the backend is told at once.

use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::lab::{PATIENCE, Server, get, open_with, post, send, within};
use adit_common::net::tls::ClientTls;

/// Where the one who asked leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Handshake,
    Sending,
    Waiting,
    InTheHead,
    Body,
    BodyWithMoreOfIt,
}

/// Case 21, and case 33's disconnect: the connection of whoever left is closed.
#[tokio::test]
async fn the_connection_of_whoever_leaves_is_closed() {
    for stage in [
        Stage::Handshake,
        Stage::Sending,
        Stage::Waiting,
        Stage::InTheHead,
        Stage::Body,
        Stage::BodyWithMoreOfIt,
    ] {
        let (reach, mut reached) = mpsc::unbounded_channel();
        let (close, mut closed) = mpsc::unbounded_channel();
        let server = Server::start(move |_, mut peer| {
            let (reach, close) = (reach.clone(), close.clone());
            async move {
                if !matches!(stage, Stage::Handshake | Stage::Sending) {
                    peer.request().await;
                }
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n";
                match stage {
                    Stage::Handshake | Stage::Sending | Stage::Waiting => {}
                    Stage::InTheHead => peer.say(head).await,
                    Stage::Body => peer.say(format!("{head}\r\nabc")).await,
                    Stage::BodyWithMoreOfIt => {
                        peer.say(format!("{head}\r\n{}", "x".repeat(50_000))).await;
                    }
                }
                if stage == Stage::Sending {
                    peer.0.peek(&mut [0]).await.unwrap();
                }
                reach.send(()).unwrap();
                peer.closed().await;
                close.send(()).unwrap();
            }
        })
        .await;
        let scheme = match stage {
            Stage::Handshake => "https",
            _ => "http",
        };
        let url = format!("{scheme}://{}", server.address);
        let backend = open_with(&url, ClientTls::default(), None);
        if matches!(stage, Stage::Body | Stage::BodyWithMoreOfIt) {
            let mut body = send(&backend, get("/")).await.unwrap().into_body();
            within("a frame", body.frame()).await.unwrap().unwrap();
            assert!(
                closed.try_recv().is_err(),
                "{stage:?}: before it was dropped"
            );
            drop(body);
        } else {
            let question = match stage {
                // More than any socket holds.
                Stage::Sending => post("/", "x".repeat(64 << 20)),
                _ => get("/"),
            };
            let asking = backend.send(question, Instant::now() + PATIENCE * 9);
            tokio::select! {
                answer = asking => panic!("{stage:?}: {:?}", answer.map(|_| ())),
                _ = reached.recv() => {}
            }
        }
        within(&format!("{stage:?}: its end"), closed.recv()).await;
    }
}

/// Of whatever came back whole nothing is closed, though its end was not asked for.
#[tokio::test]
async fn an_answer_that_has_come_whole_keeps_its_connection() {
    let server = Server::start(|_, mut peer| async move {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        while peer.answer(answer).await {}
    })
    .await;
    let backend = server.backend();
    for _ in 0..20 {
        let mut body = send(&backend, get("/")).await.unwrap().into_body();
        within("a frame", body.frame()).await.unwrap().unwrap();
    }
    assert_eq!(server.dials(), 1);
}
