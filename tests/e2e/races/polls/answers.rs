//! Pushes that are late, foreign, early, or not whole.

use super::*;

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
