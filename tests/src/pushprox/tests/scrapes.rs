//! What it pushes.

use super::*;

/// A push without the seconds left, which differ.
fn without_time(push: &Request) -> String {
    let text = String::from_utf8_lossy(&push.body).into_owned();
    let (before, after) = text.split_once("X-Prometheus-Scrape-Timeout: ").unwrap();
    let (seconds, after) = after.split_once("\r\n").unwrap();
    assert_eq!(seconds.split_once('.').unwrap().1.len(), 6, "{seconds}");
    format!("{before}TIME\r\n{after}")
}

/// What is pushed when the target answers so.
async fn pushed_for(method: &str, answer: &str) -> String {
    let target = Target::start(vec![Step::send(answer)]);
    let proxy = proxy(vec![ok(work(method, "http://pi:9100/metrics", ""))]);
    let _fake = FakePushProx::start(proxy.address(), "pi", target.address());
    without_time(&pushes(&proxy, 1).await[0])
}

#[tokio::test]
async fn a_poll_that_is_answered_becomes_a_push() {
    let target = Target::start(ok(metric("m")));
    let proxy = proxy(vec![get("http://pi:9100/metrics?b=2&a=%2A")]);
    let fake = FakePushProx::start(proxy.address(), "pi", target.address());
    let push = pushes(&proxy, 1).await.remove(0);
    let length = push.body.len();
    assert_eq!(push.line(), "POST /push HTTP/1.1");
    assert_eq!(push.field("content-length"), Some(length.to_string()));
    let body = metric("m");
    assert_eq!(
        without_time(&push),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: text/plain; version=0.0.4\r\n\
             Id: {ID}\r\nTIME\r\n\r\n{body}",
            body.len()
        )
    );
    let asked = target.request();
    assert_eq!(asked.line(), "GET /metrics?b=2&a=%2A HTTP/1.1");
    assert_eq!(asked.field("host").as_deref(), Some("pi:9100"));
    assert_eq!(asked.field("id").as_deref(), Some(ID));
    let agent = asked.field("user-agent");
    assert_eq!(agent.as_deref(), Some("Go-http-client/1.1"));
    let done = fake
        .until("a push", |c| c.pushes == [200] && c.polls == 2)
        .await;
    assert_eq!(
        (done.requests, done.poll_errors, done.connections),
        (1, 0, 2)
    );
    assert_eq!((done.scrape_errors, done.push_errors), (0, 0));
    // The answer was read to its end, so the next poll came by the same connection.
    let journal = proxy.journal();
    let polls = &journal.connections[0].requests;
    assert_eq!(polls.len(), 2, "{journal:?}");
    let poll = &polls[1];
    assert_eq!(
        poll.head,
        format!(
            "POST /poll HTTP/1.1\r\nHost: {}\r\nUser-Agent: Go-http-client/1.1\r\n\
             Content-Length: 2\r\nContent-Type: \r\nAccept-Encoding: gzip\r\n\r\n",
            proxy.address()
        )
    );
    assert_eq!(poll.body, b"pi");
}

#[tokio::test]
async fn the_shapes_are_gos() {
    for (answer, pushed) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nX-Foo: a\r\nx-foo: b\r\nid: mine\r\n\r\nabcd",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Type: text/plain\r\nId: *\r\nX-Foo: a\r\nX-Foo: b\r\nTIME\r\n\r\nabcd",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcd",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nId: *\r\nTIME\r\n\r\nabcd",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nId: *\r\nTIME\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n3;x=y\r\nefg\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nId: *\r\nTIME\r\n\r\n7\r\nabcdefg\r\n0\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nId: *\r\nTIME\r\n\r\n4\r\nabcd\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nId: *\r\nTIME\r\n\r\n0\r\n\r\n",
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nabcd",
            "HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\nId: *\r\nTIME\r\n\r\nabcd",
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nabcd",
            "HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: 4\r\nId: *\r\nTIME\r\n\r\nabcd",
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\nabcd",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nId: *\r\nTIME\r\n\r\nabcd",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 12\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nEtag: x\r\nId: *\r\nTIME\r\n\r\n",
        ),
        (
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nId: *\r\nTIME\r\n\r\n",
        ),
        (
            "HTTP/1.1 503 Odd words\r\nContent-Length: 2\r\n\r\nno",
            "HTTP/1.1 503 Odd words\r\nContent-Length: 2\r\nId: *\r\nTIME\r\n\r\nno",
        ),
        (
            "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nno",
            "HTTP/1.1 200 200\r\nContent-Length: 2\r\nId: *\r\nTIME\r\n\r\nno",
        ),
        (
            "HTTP/1.1 299 \r\nContent-Length: 2\r\n\r\nno",
            "HTTP/1.1 299 \r\nContent-Length: 2\r\nId: *\r\nTIME\r\n\r\nno",
        ),
    ] {
        let pushed = pushed.replace('*', ID);
        assert_eq!(pushed_for("GET", answer).await, pushed, "{answer:?}");
    }
}

#[tokio::test]
async fn the_shapes_of_head_are_gos() {
    for (fields, pushed) in [
        ("Content-Length: 12\r\n", "Content-Length: 12\r\n"),
        (
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\n",
        ),
        ("", "Connection: close\r\n"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let pushed = format!("HTTP/1.1 200 OK\r\n{pushed}Id: {ID}\r\nTIME\r\n\r\n");
        assert_eq!(pushed_for("HEAD", &answer).await, pushed);
    }
}

#[tokio::test]
async fn gzip_nobody_asked_for_is_undone_and_leaves_no_length() {
    let body = gzip("m 1\n");
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    let target = Target::start(vec![Step::send(answer)]);
    let asks = work("GET", "http://pi:9100/", "").replace("Accept-Encoding: identity\r\n", "");
    let proxy = proxy(vec![ok(asks)]);
    let _fake = FakePushProx::start(proxy.address(), "pi", target.address());
    let push = pushes(&proxy, 1).await.remove(0);
    let expected = format!("HTTP/1.1 200 OK\r\nId: {ID}\r\nTIME\r\n\r\nm 1\n");
    assert_eq!(without_time(&push), expected);
    let asked = target.request().field("accept-encoding");
    assert_eq!(asked.as_deref(), Some("gzip"));
}

#[tokio::test]
async fn what_it_cannot_answer_it_explains_in_version_zero() {
    let port = crate::ports::unused();
    let url = format!("http://pi:{port}/m");
    let untimed = |said: &str| {
        let field = "X-Prometheus-Scrape-Timeout-Seconds: ";
        let timed = work("GET", &url, "");
        timed.replace(&format!("{field}9.8\r\n"), &said.replace('*', field))
    };
    let parsing = |text: &str| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax");
    for (request, words) in [
        (
            work("GET", &url.replace("pi", "Pi"), ""),
            "scrape target doesn't match client fqdn".to_owned(),
        ),
        (
            work("GET", "/m", ""),
            "scrape target doesn't match client fqdn".to_owned(),
        ),
        (untimed(""), parsing("")),
        (untimed("*soon\r\n"), parsing("soon")),
        (
            work("GET", &url, ""),
            format!(
                "failed to scrape {url}: Get \"{url}\": dial tcp 127.0.0.1:{port}: connect: connection refused"
            ),
        ),
    ] {
        let proxy = proxy(vec![ok(&request)]);
        let fake = FakePushProx::builder(proxy.address(), "pi").start();
        let push = pushes(&proxy, 1).await.remove(0);
        let own = "HTTP/0.0 500 Internal Server Error";
        let expected = format!("{own}\r\nId: {ID}\r\nTIME\r\n\r\n{words}");
        assert_eq!(without_time(&push), expected);
        let done = fake.until("a push", |c| c.pushes == [200]).await;
        assert_eq!((done.scrape_errors, done.poll_errors), (1, 0), "{request}");
    }
}

#[tokio::test]
async fn tls_is_asked_for_by_a_parameter_that_goes_no_further() {
    let target = Target::start(ok("m 1\n"));
    let proxy = proxy(vec![
        get("http://pi:9100/m?_scheme=https&b=2&a=1&_scheme=x"),
        get("http://pi:9100/m?_scheme=https"),
        get("http://pi:9100/m?_scheme=x&_scheme=https"),
    ]);
    let _fake = FakePushProx::start(proxy.address(), "pi", target.address());
    pushes(&proxy, 3).await;
    let mut paths: Vec<String> = target
        .requests()
        .iter()
        .map(|r| r.path().to_owned())
        .collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/m", "/m?_scheme=x&_scheme=https", "/m?a=1&b=2"]);
}

#[tokio::test]
async fn a_body_arrives_with_the_head_or_not_at_all() {
    let target = Target::start(ok("m 1\n"));
    for (length, pushed) in [
        (3000, "HTTP/1.1 200 OK\r\n"),
        (5000, "HTTP/0.0 500 Internal Server Error\r\n"),
    ] {
        let field = format!("Content-Length: {length}\r\n");
        let request = work("POST", "http://pi:9100/q", &field) + &"x".repeat(length);
        let proxy = proxy(vec![ok(request)]);
        let _fake = FakePushProx::start(proxy.address(), "pi", target.address());
        let push = pushes(&proxy, 1).await.remove(0);
        let text = String::from_utf8(push.body).unwrap();
        assert!(text.starts_with(pushed), "{length}: {text}");
    }
    assert_eq!(target.request().body.len(), 3000);
}

#[tokio::test]
async fn behind_the_deadline_nothing_is_pushed() {
    let target = Target::start(vec![Step::Stall]);
    let request = work("GET", "http://pi:9100/", "");
    let proxy = proxy(vec![
        ok(request.replace("9.8", "0.1")),
        ok(request.replace("9.8", "NaN")),
    ]);
    let fake = FakePushProx::start(proxy.address(), "pi", target.address());
    let done = fake.until("both deadlines", |c| c.push_errors == 2).await;
    assert_eq!(done.scrape_errors, 2);
    let asked = proxy.requests();
    assert!(asked.iter().all(|r| r.path() == "/poll"), "{asked:?}");
    target.all_closed().await;
}

#[tokio::test]
async fn scrapes_run_beside_the_next_poll() {
    let gate = crate::target::Gate::default();
    let held = gate.clone();
    let target = Target::start(move |request: &Request| match request.path() {
        "/slow" => [vec![Step::Wait(held.clone())], ok("slow 1\n")].concat(),
        _ => ok("fast 1\n"),
    });
    let proxy = proxy(vec![get("http://pi:9100/slow"), get("http://pi:9100/fast")]);
    let fake = FakePushProx::start(proxy.address(), "pi", target.address());
    let first = pushes(&proxy, 1).await.remove(0);
    assert!(first.body.ends_with(b"fast 1\n"), "{first:?}");
    gate.open();
    let second = pushes(&proxy, 2).await.remove(1);
    assert!(second.body.ends_with(b"slow 1\n"), "{second:?}");
    drop(fake);
    proxy.all_closed().await;
}
