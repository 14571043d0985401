//! The rows, as PushProx's polls meet them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use adit_tests::metrics::Metrics;
use adit_tests::pair::Proxy;
use adit_tests::pushprox::{FakePushProx, Loss, Manual};
use adit_tests::scraper::{self, Answer, Connection};
use adit_tests::target::answers::{chunk, head_of_chunks, ok};
use adit_tests::target::{Step, Target};
use adit_tests::wait::{PATIENCE, eventually};

use super::{file, gauge};

/// Half a second to a second after an error: fast, for a test.
const RETRY: Duration = Duration::from_millis(500);

async fn proxy(flags: &[&str]) -> Proxy {
    Proxy::start(&[&["--pushprox.enabled"], flags].concat()).await
}

fn pi(proxy: &Proxy) -> adit_tests::pushprox::Builder {
    FakePushProx::builder(proxy.address, "pi").retry(RETRY, RETRY)
}

/// A client whose scrapes the test answers itself, once its first poll is there.
async fn manual(proxy: &Proxy) -> Manual {
    let client = pi(proxy).manual();
    gauge(proxy, "adit_proxy_polls", 1.0).await;
    client
}

fn scrape(proxy: &Proxy) -> tokio::task::JoinHandle<Answer> {
    let address = proxy.address;
    tokio::spawn(async move { scraper::scrape(address, "http://pi:9100/m").await })
}

async fn at_rest(proxy: &Proxy) {
    for name in ["scrapes_in_flight", "scrapes_waiting"] {
        gauge(proxy, &format!("adit_proxy_{name}"), 0.0).await;
    }
}

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
            answer.took < Duration::from_secs(2),
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
    let flags = ["--tunnel.ping-interval=1s", "--tunnel.dead-after=3s"];
    let proxy = proxy(&flags).await;
    let client = pi(&proxy).manual();
    gauge(&proxy, "adit_proxy_polls", 1.0).await;
    client.pause();
    client.cut(Loss::Silence);
    let silent = Instant::now();
    gauge(&proxy, "adit_proxy_polls", 0.0).await;
    assert!(
        silent.elapsed() < Duration::from_millis(2500),
        "{:?}",
        silent.elapsed()
    );
}

/// A poll on a connection of its own, which the test may close when it likes.
async fn poll(proxy: &Proxy) -> Connection {
    let mut connection = Connection::open(proxy.address).await;
    let poll = "POST /poll HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\npi";
    connection.write(poll).await;
    gauge(proxy, "adit_proxy_polls", 1.0).await;
    connection
}

/// What was handed to it: the text of a request.
async fn read(connection: &mut Connection) -> String {
    let head = connection.head().await;
    assert_eq!(head.status, 200, "{head:?}");
    let (text, _) = connection.body(&head).await;
    String::from_utf8(text).unwrap()
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
        started.elapsed() < Duration::from_secs(2),
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
    let proxy = proxy(&[]).await;
    let mut client = manual(&proxy).await;
    let scraping = scrape(&proxy);
    let handed = client.next().await;
    gauge(&proxy, "adit_proxy_polls", 1.0).await;
    let address = proxy.address;
    let stopping = tokio::spawn(proxy.stop());
    // The poll that waits is sent away, and its client hears that nobody polls here any more.
    client
        .until("the next poll is refused", |counters| {
            counters.poll_errors > 0
        })
        .await;
    // By a connection of its own.
    client.push(handed.answer("m 1\n")).await;
    assert_eq!(scraping.await.unwrap().expect(200).text(), "m 1\n");
    stopping.await.unwrap();
    let gone = tokio::net::TcpStream::connect(address).await;
    assert!(gone.is_err(), "it still listens");
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
async fn r10_a_foreign_push_is_refused_at_once_and_holds_nothing() {
    let proxy = proxy(&[]).await;
    let mut client = manual(&proxy).await;
    let scraping = scrape(&proxy);
    let handed = client.next().await;
    let id = handed.id();
    for foreign in [
        "f47ac10b-58cc-4372-a567-0e02b2c3d479".to_owned(),
        String::new(),
        "x".repeat(36),
        format!("{id}0"),
    ] {
        let push = String::from_utf8(handed.answer("foreign 1\n")).unwrap();
        let answer = client.push(push.replace(&id, &foreign)).await;
        assert_eq!(answer.status, 410, "{foreign}");
    }
    // One without an end is not waited for: its head is enough.
    let mut endless = client.begin_push(Some(10_000_000)).await;
    let head = "HTTP/1.1 200 OK\r\nId: f47ac10b-58cc-4372-a567-0e02b2c3d479\r\n\r\n";
    endless.write(head).await;
    assert_eq!(endless.answer().await.unwrap().status, 410);
    for nonsense in ["<html>", "HTTP/1.1 abc\r\n\r\n", "", "\r\n\r\n"] {
        assert_eq!(client.push(nonsense).await.status, 400, "{nonsense:?}");
    }
    client.push(handed.answer("mine 1\n")).await;
    assert_eq!(scraping.await.unwrap().expect(200).text(), "mine 1\n");
    let again = client.push(handed.answer("twice 1\n")).await;
    assert_eq!(again.status, 410, "the same push a second time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_an_answer_that_comes_at_once_finds_its_scrape() {
    const NAMES: usize = 16;
    const EACH: usize = 100;
    let target = Target::start(ok("m 1\n"));
    let proxy = proxy(&[]).await;
    let clients: Vec<FakePushProx> = (0..NAMES)
        .map(|n| FakePushProx::start(proxy.address, &format!("n{n}"), target.address()))
        .collect();
    gauge(&proxy, "adit_proxy_polls", NAMES as f64).await;
    let scraping = (0..NAMES).map(|n| async move {
        let uri = format!("http://n{n}:9100/m");
        uri
    });
    let uris = futures_util::future::join_all(scraping).await;
    let scraping = uris.iter().map(|uri| async {
        let mut scraper = Connection::open(proxy.address).await;
        for _ in 0..EACH {
            let answer = scraper.exchange(scraper::request(uri, &[])).await;
            assert_eq!(answer.expect(200).text(), "m 1\n");
        }
    });
    futures_util::future::join_all(scraping).await;
    for client in &clients {
        let counters = client.counters();
        assert_eq!(counters.requests, EACH as u64);
        assert_eq!(counters.poll_errors, 0, "{}", counters.last_poll_error);
    }
    at_rest(&proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r12_a_push_that_comes_with_the_deadline_is_one_answer() {
    const SCRAPES: u64 = 60;
    let proxy = proxy(&[]).await;
    let mut client = manual(&proxy).await;
    let mut ended = 0;
    for n in 0..SCRAPES {
        let address = proxy.address;
        let scraping = tokio::spawn(async move {
            let field = "X-Prometheus-Scrape-Timeout-Seconds: 0.2";
            scraper::scrape_with(address, "http://pi:9100/m", &[field]).await
        });
        let handed = client.next().await;
        // The deadline is after 100 ms: what is left is for our words.
        tokio::time::sleep(Duration::from_millis(70 + n)).await;
        let status = client.push(handed.answer("m 1\n")).await.status;
        let answer = scraping.await.unwrap();
        match answer.head.status {
            200 => assert_eq!((answer.text().as_str(), status), ("m 1\n", 200)),
            504 => {}
            _ => panic!("{answer:?}"),
        }
        ended += 1;
        let outcomes = Metrics::of(proxy.address)
            .await
            .sum("adit_proxy_scrape_outcomes_total");
        assert_eq!(outcomes, f64::from(ended), "each ended once");
    }
    at_rest(&proxy).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r14_a_push_that_its_target_cut_short_is_a_502() {
    let cut_chunk = head_of_chunks() + &chunk("half 1\n");
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf 1\n".to_owned();
    let proxy = proxy(&[]).await;
    for cut in [cut_chunk, short] {
        let target = Target::start(vec![Step::send(cut.clone())]);
        let client = pi(&proxy).upstream(target.address()).start();
        gauge(&proxy, "adit_proxy_polls", 1.0).await;
        let answer = scrape(&proxy).await.unwrap();
        answer.refusal(502, "broke off");
        drop(client);
        gauge(&proxy, "adit_proxy_polls", 0.0).await;
    }
    // What is too large to be held back is cut, and not ended.
    let large = head_of_chunks() + &chunk(&"large 1\n".repeat(100_000));
    let target = Target::start(vec![Step::send(large)]);
    let _client = pi(&proxy).upstream(target.address()).start();
    gauge(&proxy, "adit_proxy_polls", 1.0).await;
    let answer = scrape(&proxy).await.unwrap();
    assert!(answer.is_cut(), "{} bytes", answer.body.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r14_a_client_that_dies_in_its_push_is_no_answer() {
    let proxy = proxy(&["--scrape.reconnect-wait=0s"]).await;
    let mut client = manual(&proxy).await;
    let scraping = scrape(&proxy);
    let handed = client.next().await;
    let whole = handed.answer("whole 1\n");
    let mut push = client.begin_push(Some(whole.len())).await;
    push.write(&whole[..whole.len() - 3]).await;
    client.pause();
    drop(push);
    client.cut(Loss::Reset);
    let answer = scraping.await.unwrap();
    assert!(matches!(answer.head.status, 502 | 503), "{answer:?}");
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
