//! How it asks for work.

use super::*;

#[tokio::test]
async fn nine_redirects_in_a_row_are_followed_and_the_tenth_is_an_error() {
    let redirect = || {
        vec![
            Step::send(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: poll\r\nContent-Length: 2\r\n\r\nno",
            ),
            Step::Next,
        ]
    };
    let mut answers: Vec<_> = (0..9).map(|_| redirect()).collect();
    answers.push(get("http://pi:9100/1"));
    answers.extend((0..10).map(|_| redirect()));
    answers.push(get("http://pi:9100/2"));
    let proxy = proxy(answers);
    let builder = FakePushProx::builder(proxy.address(), "pi").prefix("/behind/it");
    let mut fake = builder.retry(SOON, SOON).manual();
    assert_eq!(fake.next().await.path(), "/1");
    assert_eq!(fake.next().await.path(), "/2");
    let done = fake.until("21 polls", |c| c.polls > 20).await;
    assert_eq!((done.redirects, done.poll_errors), (18, 1), "{done:?}");
    assert!(done.last_poll_error.contains("10 redirects"), "{done:?}");
    assert_eq!(done.connections, 1);
    for poll in &proxy.requests()[..21] {
        assert_eq!(poll.line(), "POST /behind/it/poll HTTP/1.1");
        assert_eq!(poll.body, b"pi");
    }
}

#[tokio::test]
async fn interim_answers_are_heard_and_nothing_more() {
    let mut steps: Vec<Step> = (0..8)
        .map(|_| Step::send("HTTP/1.1 102 Processing\r\n\r\n"))
        .collect();
    steps.extend(get("http://pi:9100/"));
    let proxy = proxy(vec![steps]);
    let mut fake = FakePushProx::builder(proxy.address(), "pi").manual();
    assert_eq!(fake.next().await.id(), ID);
    let done = fake.counters();
    assert_eq!((done.interim, done.poll_errors), (8, 0));
}

#[tokio::test]
async fn an_answer_that_is_no_request_is_a_poll_error_whatever_its_status() {
    let html = "<html>\r\n<body>504 Gateway Time-out</body>\r\n\r\n</html>\r\n";
    let answers: [(&str, &str, &str); 9] = [
        (
            "504 Gateway Time-out",
            html,
            "malformed HTTP request \"<html>\"",
        ),
        ("200 OK", "", "EOF"),
        ("200 OK", "\r\n", "malformed HTTP request \"\""),
        (
            "408 Request Timeout",
            "request is expired",
            "malformed HTTP version",
        ),
        (
            "200 OK",
            "GET http://pi:9100/ HTTP/1.1\r\nHost: pi",
            "unexpected EOF",
        ),
        (
            "200 OK",
            "GET http://pi:9100/%zz HTTP/1.1\r\n\r\n",
            "invalid URI",
        ),
        ("200 OK", "GET pi:9100 HTTP/1.1\r\n\r\n", "invalid URI"),
        ("200 OK", "G@T / HTTP/1.1\r\n\r\n", "invalid method"),
        (
            "200 OK",
            "\r\nGET http://pi:9100/ HTTP/1.1\r\n\r\n",
            "malformed HTTP request \"\"",
        ),
    ];
    for (status, body, error) in answers {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        let valid = whole(work("GET", "http://pi:9100/", ""));
        let valid = String::from_utf8(valid)
            .unwrap()
            .replace("200 OK", "503 No");
        let proxy = proxy(vec![
            vec![Step::send(answer), Step::Next],
            vec![Step::send(valid), Step::Next],
        ]);
        let builder = FakePushProx::builder(proxy.address(), "pi");
        let mut fake = builder.retry(SOON, SOON).manual();
        fake.next().await;
        let done = fake.counters();
        assert_eq!((done.poll_errors, done.requests), (1, 1), "{done:?}");
        assert!(done.last_poll_error.contains(error), "{error}: {done:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_at_its_end_costs_the_connection() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let request = work("GET", "http://pi:9100/", "");
    let chunk = format!("{:x}\r\n{request}\r\n", request.len());
    for (answer, connections) in [
        (format!("{head}{chunk}0\r\n\r\n"), 1),
        (format!("{head}{chunk}"), 2),
        (
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{request}"),
            2,
        ),
    ] {
        let steps = vec![Step::send(answer), Step::Next];
        let proxy = proxy(vec![steps.clone(), steps]);
        let mut fake = FakePushProx::builder(proxy.address(), "pi").manual();
        fake.next().await;
        fake.next().await;
        assert_eq!(fake.counters().connections, connections);
        assert_eq!(fake.counters().poll_errors, 0);
    }
}

#[tokio::test]
async fn it_dials_from_where_it_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let builder = FakePushProx::builder(proxy, "pi");
    let _fake = builder.local([127, 0, 0, 2]).start();
    let peer = poller(&listener).await.peer_addr().unwrap();
    assert_eq!(peer.ip(), IpAddr::from([127, 0, 0, 2]));
}

#[tokio::test]
async fn other_redirects_lose_method_and_body() {
    let proxy = proxy(vec![
        vec![
            Step::send("HTTP/1.1 303 See Other\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"),
            Step::Next,
        ],
        get("http://pi:9100/"),
    ]);
    let mut fake = FakePushProx::builder(proxy.address(), "pi").manual();
    fake.next().await;
    let second = proxy.nth_request(2).await;
    assert_eq!(second.line(), "GET /x HTTP/1.1");
    assert_eq!(second.field("content-length"), None);
    let referer = format!("http://{}/poll", proxy.address());
    assert_eq!(second.field("referer"), Some(referer));
}
