//! Who has a name, for how long, and in which order its scrapes go out.

use std::net::SocketAddr;

use adit_tests::ports;
use tokio::net::TcpStream;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_polls_of_two_machines_are_never_mixed() {
    for rule in ["replace", "reject"] {
        let (_folder, config) = file(&format!("duplicates: {rule}\n"));
        let proxy = proxy(&[&config]).await;
        let (one, two) = (Target::start(ok("one 1\n")), Target::start(ok("two 1\n")));
        let first = pi(&proxy).upstream(one.address()).start();
        gauge(&proxy, "adit_proxy_polls", 1.0).await;
        let elsewhere = IpAddr::from(Ipv4Addr::new(127, 0, 0, 2));
        let second = pi(&proxy).upstream(two.address()).local(elsewhere).start();
        gauge(&proxy, "adit_proxy_polls", 2.0).await;
        let mut scraper = Connection::open(proxy.address).await;
        let mut scrape = async || {
            let answer = scraper
                .exchange(scraper::request("http://pi:9100/m", &[]))
                .await;
            answer.expect(200).text()
        };
        for _ in 0..1000 {
            assert_eq!(scrape().await, "one 1\n", "{rule}");
        }
        // Neither was told to go, and neither fights for the name.
        for client in [&first, &second] {
            assert_eq!(client.counters().poll_errors, 0, "{rule}");
        }
        // When the first leaves the second serves, after the time it had to return.
        drop(first);
        assert_eq!(scrape().await, "two 1\n", "{rule}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_replicas_that_poll_all_serve() {
    let (_folder, config) = file("duplicates: replicas\n");
    let proxy = proxy(&[&config]).await;
    let targets = [Target::start(ok("m 1\n")), Target::start(ok("m 1\n"))];
    let mut clients = Vec::new();
    for (n, target) in targets.iter().enumerate() {
        let local = IpAddr::from([127, 0, 0, 2 + u8::try_from(n).unwrap()]);
        clients.push(pi(&proxy).upstream(target.address()).local(local).start());
    }
    gauge(&proxy, "adit_proxy_polls", 2.0).await;
    for _ in 0..100 {
        scrape(&proxy).await.unwrap().expect(200);
    }
    // The newest first: who has just answered polls again.
    let served = targets.each_ref().map(|target| target.requests().len());
    let first = served.iter().position(|served| *served > 0).unwrap();
    assert_eq!(served.iter().sum::<usize>(), 100);
    // One for the other, too.
    drop(clients.remove(first));
    for _ in 0..100 {
        scrape(&proxy).await.unwrap().expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_an_idle_client_stays_listed_and_one_that_is_gone_does_not() {
    let flags = [
        "--tunnel.ping-interval=300ms",
        "--tunnel.dead-after=2s",
        "--registration.timeout=1s",
    ];
    let proxy = proxy(&flags).await;
    let client = |name: &str| {
        let builder = FakePushProx::builder(proxy.address, name);
        builder.retry(RETRY, RETRY).start()
    };
    let (idle, gone) = (client("idle"), client("gone"));
    gauge(&proxy, "adit_proxy_polls", 2.0).await;
    let clients = async || scraper::page(proxy.address, "/clients").await.text();
    assert!(clients().await.contains("gone"));
    drop(gone);
    eventually(PATIENCE, "one that is gone is not listed", async || {
        let list = clients().await;
        // At every moment, between its polls as well.
        assert!(list.contains("idle"), "{list}");
        match list {
            list if list.contains("gone") => Err(list),
            _ => Ok(()),
        }
    })
    .await;
    // Nine redirects, and then interim answers, none of them an error.
    let kept = idle
        .until("a poll is kept alive", |counters| counters.interim >= 5)
        .await;
    assert_eq!(kept.redirects, 9);
    assert_eq!(kept.poll_errors, 0, "{}", kept.last_poll_error);
    let page = clients().await;
    assert_eq!(page, "[{\"targets\":[\"idle\"],\"labels\":null}]\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_a_proxy_that_stops_waits_for_the_pushes_under_way() {
    // Nobody else is given this port when it is free again, as they may be the first.
    let second = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::unused()));
    let proxy = proxy(&[&format!("--web.listen-address={second}")]).await;
    let mut client = manual(&proxy).await;
    let scraping = scrape(&proxy);
    let handed = client.next().await;
    gauge(&proxy, "adit_proxy_polls", 1.0).await;
    let stopping = tokio::spawn(proxy.stop());
    // The poll that waits is sent away, and its client hears that nobody polls here any more.
    client
        .until("the next poll is refused", |counters| {
            counters.poll_errors > 0
        })
        .await;
    // By a connection of its own: there is none that is free.
    client.push(handed.answer("m 1\n")).await;
    assert_eq!(scraping.await.unwrap().expect(200).text(), "m 1\n");
    stopping.await.unwrap();
    // A program that another test has just forked holds all files of ours until it is executed.
    eventually(
        PATIENCE,
        "it listens no more",
        async || match TcpStream::connect(second).await {
            Ok(_) => Err("it does".to_owned()),
            Err(_) => Ok(()),
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_a_push_may_come_by_a_connection_that_was_idle_as_the_proxy_stopped() {
    let proxy = proxy(&[]).await;
    let mut client = manual(&proxy).await;
    let mut idle = Connection::open(proxy.address).await;
    let page = idle
        .exchange("GET /-/healthy HTTP/1.1\r\nHost: proxy\r\n\r\n")
        .await;
    assert_eq!(page.expect(200).head.field("connection"), None);
    let scraping = scrape(&proxy);
    let handed = client.next().await;
    let stopping = tokio::spawn(proxy.stop());
    client
        .until("the next poll is refused", |counters| {
            counters.poll_errors > 0
        })
        .await;
    let answer = handed.answer("m 1\n");
    let length = answer.len();
    let mut push =
        format!("POST /push HTTP/1.1\r\nHost: proxy\r\nContent-Length: {length}\r\n\r\n")
            .into_bytes();
    push.extend(answer);
    let pushed = idle.exchange(push).await;
    // And by no connection that is about to be closed without a word.
    assert_eq!(
        pushed.expect(200).head.field("connection").as_deref(),
        Some("close")
    );
    assert_eq!(scraping.await.unwrap().expect(200).text(), "m 1\n");
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r13_scrapes_of_one_client_queue_for_its_polls_and_none_is_lost() {
    const RTT: Duration = Duration::from_millis(50);
    let target = Target::start(ok("m 1\n"));
    let proxy = proxy(&[]).await;
    let lane = adit_tests::network::Lane::delayed(RTT / 2);
    let relay = adit_tests::network::Relay::to(proxy.address)
        .each_way(lane)
        .start()
        .await;
    let client = FakePushProx::start(relay.address, "pi", target.address());
    gauge(&proxy, "adit_proxy_polls", 1.0).await;
    let scraping = (0..16).map(|_| scraper::scrape(proxy.address, "http://pi:9100/m"));
    for answer in futures_util::future::join_all(scraping).await {
        answer.expect(200);
    }
    // Each was handed out once: nothing was taken for lost.
    assert_eq!(client.counters().requests, 16);
}
