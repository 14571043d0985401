//! Polls and scrapers that go at the wrong moment.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_a_poll_that_was_closed_is_sent_nothing() {
    let proxy = proxy(&["--scrape.reconnect-wait=0s"]).await;
    for loss in [Loss::Fin, Loss::Reset] {
        let client = pi(&proxy).manual();
        gauge(&proxy, "adit_proxy_polls", 1.0).await;
        client.pause();
        client.cut(loss);
        let answer = scraper::scrape(proxy.address, "http://pi:9100/m").await;
        assert_eq!(answer.head.status, 503, "{loss:?}: {answer:?}");
        assert!(
            answer.took < Duration::from_secs(5),
            "{loss:?}: {:?}",
            answer.took
        );
        assert_eq!(client.counters().requests, 0);
    }
    gauge(&proxy, "adit_proxy_polls", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_a_scrape_waits_for_a_client_that_was_cut_and_polls_again() {
    let target = Target::start(ok("back 1\n"));
    let proxy = proxy(&["--scrape.reconnect-wait=5s"]).await;
    let client = pi(&proxy).upstream(target.address()).start();
    for loss in [Loss::Fin, Loss::Reset] {
        gauge(&proxy, "adit_proxy_polls", 1.0).await;
        client.cut(loss);
        let answer = scrape(&proxy).await.unwrap();
        assert_eq!(answer.expect(200).text(), "back 1\n", "{loss:?}");
    }
    at_rest(&proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_a_poll_that_is_half_open_is_given_up_within_the_ping_interval() {
    let flags = ["--tunnel.ping-interval=2s", "--tunnel.dead-after=30s"];
    let proxy = proxy(&flags).await;
    let client = pi(&proxy).manual();
    gauge(&proxy, "adit_proxy_polls", 1.0).await;
    client.pause();
    client.cut(Loss::Silence);
    let silent = Instant::now();
    gauge(&proxy, "adit_proxy_polls", 0.0).await;
    assert!(
        silent.elapsed() < Duration::from_secs(10),
        "{:?}",
        silent.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_a_scrape_whose_poll_dies_is_handed_to_the_next() {
    let proxy = proxy(&["--scrape.reconnect-wait=5s"]).await;
    let mut dying = poll(&proxy).await;
    let scraping = scrape(&proxy);
    let lost = read(&mut dying).await;
    assert!(
        lost.starts_with("GET http://pi:9100/m HTTP/1.1\r\n"),
        "{lost}"
    );
    // Whether it was read nobody can tell; its client has not used the connection again.
    drop(dying);
    gauge(&proxy, "adit_proxy_scrapes_waiting", 1.0).await;
    let mut client = pi(&proxy).manual();
    let again = client.next().await;
    assert_eq!(again.uri, "http://pi:9100/m");
    // What is pushed for the first counts no more.
    let lost = lost
        .lines()
        .find_map(|line| line.strip_prefix("Id: "))
        .unwrap();
    let late = String::from_utf8(again.answer("late 1\n")).unwrap();
    let late = client.push(late.replace(&again.id(), lost)).await;
    assert_eq!(late.status, 410);
    client.push(again.answer("again 1\n")).await;
    assert_eq!(scraping.await.unwrap().expect(200).text(), "again 1\n");
    at_rest(&proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_a_post_whose_poll_dies_is_not_sent_twice() {
    let proxy = proxy(&[]).await;
    let mut client = manual(&proxy).await;
    let request = scraper::request("http://pi:9100/m", &["Content-Length: 2"]);
    let request = request.replacen("GET", "POST", 1) + "hi";
    let scraping = tokio::spawn(scraper::send(proxy.address, request));
    let handed = client.next().await;
    assert_eq!(
        (&*handed.method, handed.body.as_deref()),
        ("POST", Some(&b"hi"[..]))
    );
    client.push(handed.answer("done 1\n")).await;
    assert_eq!(scraping.await.unwrap().expect(200).text(), "done 1\n");
    let request = scraper::request("http://pi:9100/m", &["Content-Length: 0"]);
    let request = request.replacen("GET", "DELETE", 1);
    drop(client);
    gauge(&proxy, "adit_proxy_polls", 0.0).await;
    let mut dying = poll(&proxy).await;
    let scraping = tokio::spawn(scraper::send(proxy.address, request));
    read(&mut dying).await;
    drop(dying);
    let answer = scraping.await.unwrap();
    answer.refusal(502, "pi:9100");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r3_a_scraper_that_leaves_while_its_scrape_waits_leaves_nothing() {
    let proxy = proxy(&["--scrape.reconnect-wait=20s"]).await;
    let first = manual(&proxy).await;
    drop(first);
    gauge(&proxy, "adit_proxy_polls", 0.0).await;
    let mut scraper = Connection::open(proxy.address).await;
    scraper
        .write(scraper::request("http://pi:9100/m", &[]))
        .await;
    gauge(&proxy, "adit_proxy_scrapes_waiting", 1.0).await;
    drop(scraper);
    at_rest(&proxy).await;
    let mut client = manual(&proxy).await;
    let scraping = scrape(&proxy);
    let handed = client.next().await;
    client.push(handed.answer("m 1\n")).await;
    scraping.await.unwrap().expect(200);
    assert_eq!(client.counters().requests, 1, "nothing of the first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_a_push_whose_scraper_has_left_is_refused_at_once() {
    let proxy = proxy(&[]).await;
    let mut client = manual(&proxy).await;
    let mut scraper = Connection::open(proxy.address).await;
    scraper
        .write(scraper::request("http://pi:9100/m", &[]))
        .await;
    let handed = client.next().await;
    drop(scraper);
    at_rest(&proxy).await;
    let started = Instant::now();
    assert_eq!(client.push(handed.answer("late 1\n")).await.status, 410);
    // PushProx holds the body for 15 s.
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    // And one that has begun is not read to its end.
    let mut scraper = Connection::open(proxy.address).await;
    scraper
        .write(scraper::request("http://pi:9100/m", &[]))
        .await;
    let handed = client.next().await;
    let mut push = client.begin_push(Some(100_000)).await;
    push.write(handed.answer("begun 1\n")).await;
    drop(scraper);
    let _ = push.answer().await;
    at_rest(&proxy).await;
    gauge(&proxy, r#"adit_proxy_pushes_total"#, 2.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_polls_that_come_and_never_return_leave_nothing() {
    const ROUNDS: usize = 10_000;
    const AT_ONCE: usize = 100;
    let flags = ["--pushprox.enabled"];
    let proxy = adit_tests::binaries::Proxy::start(&flags).await;
    let before = adit_tests::metrics::Held::by_proxy(proxy.address).await;
    for round in 0..ROUNDS / AT_ONCE {
        let mut connections = Vec::new();
        for n in 0..AT_ONCE {
            let name = format!("n{}", n + round % 2);
            let mut connection = Connection::open(proxy.address).await;
            let poll = format!(
                "POST /poll HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{name}",
                name.len()
            );
            connection.write(poll).await;
            connections.push(connection);
        }
    }
    before.again("ten thousand polls").await;
    let polls = Metrics::of(proxy.address).await.sum("adit_proxy_polls");
    assert_eq!(polls, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r15_many_polls_of_one_name_at_once_leave_one_and_lose_nothing() {
    let target = Target::start(ok("m 1\n"));
    let proxy = proxy(&[]).await;
    let clients: Vec<FakePushProx> = (0..64)
        .map(|_| pi(&proxy).upstream(target.address()).start())
        .collect();
    proxy.knows("pi").await;
    // One machine's next poll says that the one before is dead: these are all one machine's.
    for _ in 0..200 {
        scrape(&proxy).await.unwrap().expect(200);
    }
    drop(clients);
    gauge(&proxy, "adit_proxy_polls", 0.0).await;
    at_rest(&proxy).await;
}
