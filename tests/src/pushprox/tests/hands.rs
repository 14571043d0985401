//! What a test can do to it.

use super::*;

#[tokio::test]
async fn a_cut_is_as_it_says_and_another_poll_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let builder = FakePushProx::builder(proxy, "pi").retry(SOON, SOON);
    let mut fake = builder.manual();
    let mut first = poller(&listener).await;
    fake.cut(Loss::Fin);
    let read = within(PATIENCE, "a FIN", first.read(&mut [0])).await;
    assert_eq!(read.unwrap(), 0);
    let mut second = poller(&listener).await;
    fake.cut(Loss::Reset);
    let read = within(PATIENCE, "an RST", second.read(&mut [0])).await;
    assert_eq!(
        read.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionReset
    );
    let third = poller(&listener).await;
    fake.cut_polls(Loss::Silence);
    let mut fourth = poller(&listener).await;
    // What the proxy says into the silence is taken and not heard.
    third.writable().await.unwrap();
    third
        .try_write(&whole(work("GET", "http://pi:9100/3", "")))
        .unwrap();
    fourth
        .write_all(&whole(work("GET", "http://pi:9100/4", "")))
        .await
        .unwrap();
    assert_eq!(fake.next().await.path(), "/4");
    let nothing = third.try_read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(fake.counters().poll_errors, 3);
}

#[tokio::test]
async fn a_cut_finds_connections_that_nobody_uses() {
    let proxy = proxy(vec![get("http://pi:9100/")]);
    let mut fake = FakePushProx::builder(proxy.address(), "pi").manual();
    fake.next().await;
    fake.pause();
    let mut half = fake.begin_push(Some(100)).await;
    half.write("HTTP/1.1 200 OK\r\n").await;
    // Free when it is done; the other two have the next poll and the half push.
    fake.push("nonsense").await;
    assert_eq!(fake.counters().connections, 3);
    fake.cut(Loss::Fin);
    drop(half);
    proxy.all_closed().await;
    assert_eq!(proxy.journal().connections.len(), 3);
}

#[tokio::test]
async fn a_test_pushes_what_it_likes() {
    let says = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\nlate\n";
    let requests = work("GET", "http://pi:9100/m", "");
    let proxy = Target::start(move |request: &Request| match request.path() {
        "/poll" => ok(&requests),
        _ => vec![Step::send(says), Step::Next],
    });
    let mut fake = FakePushProx::builder(proxy.address(), "pi").manual();
    let handed = fake.next().await;
    assert_eq!((&*handed.method, &*handed.uri), ("GET", "http://pi:9100/m"));
    assert_eq!((handed.hostname(), handed.port()), ("pi", 9100));
    assert_eq!(handed.field("accept-encoding").as_deref(), Some("identity"));
    fake.pause();
    let late = PushAnswer {
        status: 500,
        text: "late\n".into(),
    };
    assert_eq!(fake.push(handed.answer("m 1\n")).await, late);
    assert_eq!(fake.push("nonsense").await, late);
    let mut parts = fake.begin_push(Some(8)).await;
    parts.write("non").await;
    parts.write("sense").await;
    assert_eq!(parts.finish().await.unwrap(), late);
    let mut chunks = fake.begin_push(None).await;
    chunks.write("non").await;
    chunks.write("sense").await;
    assert_eq!(chunks.finish().await.unwrap(), late);
    let pushed = pushes(&proxy, 4).await;
    assert!(pushed[0].body.ends_with(b"\r\n\r\nm 1\n"), "{pushed:?}");
    assert!(
        pushed[1..].iter().all(|p| p.body == b"nonsense"),
        "{pushed:?}"
    );
    assert_eq!(fake.counters().pushes, [500; 4]);
    // The answers had bodies: as with Go, none of the four connections was used again, or closed.
    let journal = proxy.journal();
    let with_pushes = journal.connections.iter().filter(|c| {
        c.requests.iter().any(|request| request.path() == "/push") && c.closed.is_none()
    });
    assert_eq!(with_pushes.count(), 4, "{journal:?}");
}

#[tokio::test]
async fn a_push_that_is_refused_early_is_not_written_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let fake = FakePushProx::builder(proxy, "pi").manual();
    let _poll = poller(&listener).await;
    let size = 64 << 20;
    let pushing = fake.push(vec![b'x'; size]);
    let no = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";
    let refusing = async {
        let (mut push, _) = listener.accept().await.unwrap();
        push.read_exact(&mut [0; 100]).await.unwrap();
        push.write_all(no).await.unwrap();
        push
    };
    let (answer, first) = tokio::join!(pushing, refusing);
    assert_eq!((answer.status, &*answer.text), (413, ""));
    // Half a request is no place for another.
    let refusing = async {
        let (mut push, _) = listener.accept().await.unwrap();
        push.write_all(no).await.unwrap();
    };
    tokio::join!(fake.push("x"), refusing);
    assert_eq!(fake.counters().pushes, [413, 413]);
    drop(first);
}

#[tokio::test]
async fn a_pause_holds_the_next_poll_and_not_the_present_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let mut fake = FakePushProx::builder(proxy, "pi").manual();
    let mut stream = poller(&listener).await;
    fake.pause();
    let answer = whole(work("GET", "http://pi:9100/1", ""));
    stream.write_all(&answer).await.unwrap();
    assert_eq!(fake.next().await.path(), "/1");
    // A push there and back, by the connection that is free now; and still no poll.
    let serving = async {
        stream.read_exact(&mut [0; 100]).await.unwrap();
        let done = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(done).await.unwrap();
    };
    let (answer, ()) = tokio::join!(fake.push("x"), serving);
    assert_eq!((answer.status, fake.counters().polls), (200, 1));
    fake.resume();
    fake.until("a poll after the pause", |c| c.polls == 2).await;
}
