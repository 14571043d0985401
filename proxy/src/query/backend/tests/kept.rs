//! Connections that are kept, and servers that close them.

use super::lab::{Server, failed, get, post, send, text};
use crate::query::backend::Failure;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server that closes right behind its answer, and has not said that it would.
#[tokio::test]
async fn who_closes_after_an_answer_costs_no_failure() {
    let server = Server::start(|_, mut peer| async move {
        peer.answer(ANSWER).await;
    })
    .await;
    let backend = server.backend();
    for _ in 0..100 {
        assert_eq!(text(&backend, get("/")).await, "ok");
    }
}

/// The close crosses the next request: nobody can tell, and what may come twice goes out again.
#[tokio::test]
async fn what_may_come_twice_survives_a_close_that_crosses_it() {
    for repeatable in [false, true] {
        let server = Server::start(|number, mut peer| async move {
            peer.answer(ANSWER).await;
            // Every other connection takes a second one, and closes instead of an answer.
            if number.is_multiple_of(2) {
                peer.request().await;
            }
        })
        .await;
        let backend = server.backend();
        for _ in 0..20 {
            assert_eq!(text(&backend, get("/")).await, "ok");
            let mut question = post("/api/v1/query", "query=1");
            question.repeatable = repeatable;
            match send(&backend, question).await {
                Ok(_) => {}
                Err(failure) => {
                    assert!(!repeatable, "{failure:?}");
                    assert!(matches!(failure, Failure::Reset(_)), "{failure:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn of_all_that_may_not_come_twice_nothing_is_sent_twice() {
    // A connection that was kept, and then: closed, or closed within the head.
    for (question, half) in [(post("/api/v1/write", "x"), ""), (get("/"), "HTTP/1.1 200")] {
        let server = Server::start(move |_, mut peer| async move {
            peer.answer(ANSWER).await;
            peer.answer(half).await;
        })
        .await;
        let backend = server.backend();
        assert_eq!(text(&backend, get("/")).await, "ok");
        let failure = failed(send(&backend, question).await.map(|_| ()));
        assert!(matches!(failure, Failure::Reset(_)), "{failure:?}");
        assert_eq!(server.dials(), 1);
    }
}

/// All that were kept are found closed, one after the other: there is an end to it.
#[tokio::test]
async fn a_server_that_came_back_is_asked_by_a_new_connection() {
    let server = Server::start(|number, mut peer| async move {
        peer.answer(ANSWER).await;
        match number {
            // Not an end: it closes as soon as it is asked again.
            0..8 => drop(peer.request().await),
            _ => while peer.answer(ANSWER).await {},
        }
    })
    .await;
    let backend = server.backend();
    let eight = (0..8).map(|_| send(&backend, get("/")));
    let answers = futures_util::future::join_all(eight).await;
    for answer in answers {
        assert_eq!(super::lab::whole(answer.unwrap()).await.unwrap(), "ok");
    }
    assert_eq!(server.dials(), 8);
    assert_eq!(text(&backend, get("/")).await, "ok");
    assert_eq!(server.dials(), 9);
}
