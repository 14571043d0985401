//! What goes out and what comes back, of a backend that is dialled.

use http::HeaderValue;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep};

use super::lab::{Server, failed, get, open, post, send, text, whole, within};
use crate::outbound::MOST_HEAD;
use crate::query::backend::Failure;

/// Case 5, of the path prefix and the user.
#[tokio::test]
async fn a_backend_is_sent_what_came_below_its_prefix_and_with_its_own_user() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Server::start(move |_, mut peer| {
        let tell = tell.clone();
        async move {
            while let Some(request) = peer.request().await {
                tell.send(request).unwrap();
                peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
            }
        }
    })
    .await;
    let port = server.address.port();
    let backend = open(&format!("http://us%40er:p%3Ass@LocalHost:{port}/a/b/"));
    let mut question = post("/api/v1/query?x=%2a", "query=up");
    for (name, value) in [
        ("authorization", "Bearer callers"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-forwarded-for", "192.0.2.1"),
        ("host", "grafana.example"),
        ("content-length", "4711"),
    ] {
        question
            .headers
            .insert(name, HeaderValue::from_static(value));
    }
    assert_eq!(text(&backend, question).await, "ok");
    let request = told.recv().await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines.remove(0), "POST /a/b/api/v1/query?x=%2a HTTP/1.1");
    lines.sort_unstable();
    let host = format!("Host: LocalHost:{port}");
    assert_eq!(
        lines,
        [
            "Authorization: Basic dXNAZXI6cDpzcw==",
            "Content-Length: 8",
            "Content-Type: application/x-www-form-urlencoded",
            &host,
            "X-Forwarded-For: 192.0.2.1",
        ]
    );
    assert_eq!(body, "query=up");
}

#[tokio::test]
async fn an_answer_passes_whole_and_without_what_is_between_two_hops() {
    let server = Server::start(|_, mut peer| async move {
        peer.answer(
            "HTTP/1.1 422 Unprocessable Entity\r\nTransfer-Encoding: chunked\r\n\
             Keep-Alive: timeout=5\r\nAdit-Fault: refused\r\nX-Warning: 1\r\n\r\n\
             3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        )
        .await;
        peer.closed().await;
    })
    .await;
    let answer = send(&server.backend(), get("/")).await.unwrap();
    assert_eq!(answer.status(), 422);
    let names: Vec<&str> = answer.headers().keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["x-warning"]);
    assert_eq!(whole(answer).await.unwrap(), "abcde");
}

#[tokio::test]
async fn a_head_without_a_body_says_how_long_that_would_be() {
    let server = Server::start(|_, mut peer| async move {
        peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 4711\r\n\r\n")
            .await;
        peer.closed().await;
    })
    .await;
    let mut question = get("/");
    question.method = http::Method::HEAD;
    let answer = send(&server.backend(), question).await.unwrap();
    assert_eq!(answer.headers()["content-length"], "4711");
    assert_eq!(whole(answer).await.unwrap(), "");
}

/// As a limiter does that has seen the head and wants no more.
#[tokio::test]
async fn an_answer_that_comes_before_the_body_was_read_is_one() {
    let server = Server::start(|_, mut peer| async move {
        peer.0.peek(&mut [0]).await.unwrap();
        peer.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n")
            .await;
        std::future::pending::<()>().await;
    })
    .await;
    let backend = server.backend();
    let question = post("/api/v1/read", "x".repeat(64 << 20));
    let answer = send(&backend, question).await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(whole(answer).await.unwrap(), "no\n");
}

/// Case 27's other half: what breaks is never a clean end.
#[tokio::test]
async fn a_body_that_breaks_off_is_never_taken_for_a_whole_one() {
    for (answer, came) in [
        ("Content-Length: 10\r\n\r\nabc", 3),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 3),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nabc", 3),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", 3),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n", 3),
    ] {
        for resets in [false, true] {
            let server = Server::start(move |_, mut peer| async move {
                peer.answer(format!("HTTP/1.1 200 OK\r\n{answer}")).await;
                if resets {
                    // What was said is read first.
                    sleep(Duration::from_millis(50)).await;
                    peer.reset();
                }
            })
            .await;
            let answered = send(&server.backend(), get("/")).await.unwrap();
            let mut body = answered.into_body();
            let mut bytes = 0;
            let broken = loop {
                match within("a frame", body.frame()).await {
                    Some(Ok(frame)) => bytes += frame.into_data().unwrap().len(),
                    Some(Err(error)) => break error,
                    None => panic!("{answer:?}: taken for whole"),
                }
            };
            assert!(
                matches!(broken, Failure::Truncated(_)),
                "{answer:?}: {broken:?}"
            );
            assert!(bytes <= came, "{answer:?}: {bytes}");
        }
    }
}

/// Case 28, of what is held: a large body passes in pieces, and one that nobody reads is not read.
#[tokio::test]
async fn a_large_body_is_never_held() {
    const SIZE: usize = 256 << 20;
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Server::start(move |_, mut peer| {
        let tell = tell.clone();
        async move {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
            peer.answer(head).await;
            let piece = vec![b'x'; 1 << 20];
            for _ in 0..SIZE / piece.len() {
                peer.say(&piece).await;
                tell.send(()).unwrap();
            }
        }
    })
    .await;
    let answer = send(&server.backend(), get("/")).await.unwrap();
    // Until no more is taken: then that is what sockets hold, and we do.
    let mut ahead = 0;
    while tokio::time::timeout(Duration::from_millis(500), told.recv())
        .await
        .is_ok()
    {
        ahead += 1;
    }
    assert!(ahead <= 32, "{ahead} MiB are held");
    let mut body = answer.into_body();
    let (mut bytes, mut largest) = (0, 0);
    while let Some(frame) = within("a frame", body.frame()).await {
        let length = frame.unwrap().into_data().unwrap().len();
        bytes += length;
        largest = largest.max(length);
    }
    assert_eq!(bytes, SIZE);
    assert!(largest <= 2 * MOST_HEAD, "{largest}");
}

#[tokio::test]
async fn a_head_has_a_bound() {
    let large = format!("X-Large: {}\r\n", "x".repeat(2 * MOST_HEAD));
    let many: String = (0..101).map(|n| format!("X-{n}: 1\r\n")).collect();
    let endless = "X-Endless: 1\r\n".repeat(100_000);
    for fields in [large, many, endless] {
        let server = Server::start(move |_, mut peer| {
            let fields = fields.clone();
            async move {
                peer.answer(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"))
                    .await;
                peer.closed().await;
            }
        })
        .await;
        let failure = failed(send(&server.backend(), get("/")).await.map(|_| ()));
        let Failure::Reset(words) = failure else {
            panic!("{failure:?}");
        };
        assert!(words.contains("head of its answer"), "{words}");
    }
}
