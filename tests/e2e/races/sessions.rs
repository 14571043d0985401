//! The rows, as sessions meet them. R8 and R9 are in `leaks.rs`, the half-open part of R1 and R6 in
//! `half_open.rs`, R7 in `drain.rs`, the rest of R14 in `truncation.rs`.

use std::time::{Duration, Instant};

use adit_tests::metrics::Metrics;
use adit_tests::network::{Cut, Relay};
use adit_tests::pair::{Client, Pair, Proxy};
use adit_tests::scraper::{self, Connection, End};
use adit_tests::target::answers::{chunk, head_of_chunks, ok, whole};
use adit_tests::target::{Step, Target};
use adit_tests::tunnel::FakeClient;
use adit_tests::wait::{PATIENCE, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{file, gauge};

const PI: &str = r#"{"names":["pi"],"any_port":true}"#;
const NO_WAIT: &str = "--scrape.reconnect-wait=0s";

fn url(target: &Target) -> String {
    format!("--target=pi:9100=http://{}", target.address())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_a_client_that_disconnected_while_idle_is_sent_nothing() {
    let proxy = Proxy::start(&[NO_WAIT]).await;
    for cut in [Cut::Fin, Cut::Rst] {
        let relay = Relay::start(proxy.address).await;
        let client = FakeClient::register(relay.address, PI).await;
        client.accepted().await;
        relay.cut(cut);
        let answer = scraper::scrape(proxy.address, "http://pi:9100/m").await;
        assert_eq!(answer.head.status, 503, "{cut:?}: {answer:?}");
        assert!(
            answer.took < Duration::from_secs(5),
            "{cut:?}: {:?}",
            answer.took
        );
        assert_eq!(client.asked(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_a_scrape_waits_for_a_client_that_was_cut_and_dials_again() {
    let target = Target::start(ok("back 1\n"));
    let proxy = Proxy::start(&["--scrape.reconnect-wait=5s"]).await;
    let relay = Relay::start(proxy.address).await;
    let _client = Client::start(&[&relay.url()], &[&url(&target)]).await;
    for cut in [Cut::Fin, Cut::Rst] {
        relay.cut(cut);
        let answer = scraper::scrape(proxy.address, "http://pi:9100/m").await;
        assert_eq!(answer.expect(200).text(), "back 1\n");
    }
    gauge(&proxy, "adit_proxy_scrapes_waiting", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_a_scrape_whose_client_dies_is_answered_by_another_replica_or_at_once() {
    let (_folder, config) = file("duplicates: replicas\n");
    let target = Target::start(ok("replica 1\n"));
    let proxy = Proxy::start(&[&config, NO_WAIT]).await;
    let _replica = Client::start(&[&proxy.url()], &[&url(&target)]).await;
    for (method, status) in [("GET", 200), ("HEAD", 200), ("POST", 502)] {
        let dying = FakeClient::register(proxy.address, PI).await;
        dying.accepted().await;
        let request = scraper::request("http://pi:9100/stall", &[]);
        let request = request.replacen("GET", method, 1);
        let request = request.replacen("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n", 1);
        let scrape = tokio::spawn(scraper::send(proxy.address, request));
        dying.is_asked(1).await;
        let died = Instant::now();
        drop(dying);
        let answer = scrape.await.unwrap();
        assert_eq!(answer.head.status, status, "{method}: {answer:?}");
        assert!(
            died.elapsed() < Duration::from_secs(5),
            "{:?}",
            died.elapsed()
        );
        gauge(&proxy, "adit_proxy_scrapes_in_flight", 0.0).await;
    }
    let retries = Metrics::of(proxy.address)
        .await
        .sum("adit_proxy_scrape_retries_total");
    assert_eq!(retries, 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r3_a_scraper_that_leaves_while_its_scrape_waits_leaves_nothing() {
    let proxy = Proxy::start(&["--scrape.reconnect-wait=20s"]).await;
    let client = FakeClient::register(proxy.address, PI).await;
    client.accepted().await;
    drop(client);
    gauge(&proxy, "adit_proxy_sessions", 0.0).await;
    let mut scraper = Connection::open(proxy.address).await;
    let request = scraper::request("http://pi:9100/m", &[&scraper::timeout_field(30)]);
    scraper.write(request).await;
    gauge(&proxy, "adit_proxy_scrapes_waiting", 1.0).await;
    drop(scraper);
    gauge(&proxy, "adit_proxy_scrapes_waiting", 0.0).await;
    gauge(&proxy, "adit_proxy_scrapes_in_flight", 0.0).await;
    let client = FakeClient::register(proxy.address, PI).await;
    client.accepted().await;
    // What comes after it, and is answered, was sent after it.
    scraper::scrape(proxy.address, "http://pi:9100/m")
        .await
        .expect(200);
    assert_eq!(client.asked(), 1);
    let gone = r#"adit_proxy_scrape_outcomes_total{outcome="scraper-gone"}"#;
    assert_eq!(Metrics::of(proxy.address).await.series(gone), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_a_scrape_whose_scraper_leaves_is_withdrawn_at_the_target() {
    let target = Target::start(vec![Step::Stall]);
    let pair = Pair::start(&[&url(&target)]).await;
    let mut scraper = Connection::open(pair.proxy.address).await;
    scraper
        .write(scraper::request("http://pi:9100/m", &[]))
        .await;
    target.nth_request(1).await;
    let left = Instant::now();
    drop(scraper);
    let closed = target.all_closed().await;
    // 200 ms are wanted, and a millisecond is usual; the deadline would be ten seconds.
    assert!(
        closed - left < Duration::from_secs(5),
        "{:?}",
        closed - left
    );
    gauge(&pair.proxy, "adit_proxy_scrapes_in_flight", 0.0).await;
    gauge(&pair.proxy, "adit_proxy_sessions", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_two_instances_with_one_name_are_never_mixed() {
    for (rule, serves) in [("replace", "newer 1\n"), ("reject", "older 1\n")] {
        let (_folder, config) = file(&format!("duplicates: {rule}\n"));
        let (older, newer) = (
            Target::start(ok("older 1\n")),
            Target::start(ok("newer 1\n")),
        );
        let proxy = Proxy::start(&[&config]).await;
        let _older = Client::start(&[&proxy.url()], &[&url(&older)]).await;
        // Instances are told apart by the millisecond they started.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let _newer = Client::launch(&[&proxy.url()], &[&url(&newer)]).await;
        let told = match rule {
            "replace" => "adit_proxy_sessions_ended_total",
            _ => "adit_proxy_registrations_refused_total",
        };
        gauge(&proxy, told, 1.0).await;
        let mut scraper = Connection::open(proxy.address).await;
        for _ in 0..1000 {
            let answer = scraper
                .exchange(scraper::request("http://pi:9100/m", &[]))
                .await;
            assert_eq!(answer.expect(200).text(), serves, "{rule}");
        }
        let metrics = Metrics::of(proxy.address).await;
        // The one that was told does not fight for the name.
        assert_eq!(metrics.sum(told), 1.0, "{rule}");
        assert_eq!(metrics.sum("adit_proxy_sessions"), 1.0, "{rule}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_replicas_serve_newest_first_and_one_for_the_other() {
    let (_folder, config) = file("names: [{match: pi, duplicates: replicas}]\n");
    let (one, two) = (Target::start(ok("one 1\n")), Target::start(ok("two 1\n")));
    let proxy = Proxy::start(&[&config]).await;
    let _one = Client::start(&[&proxy.url()], &[&url(&one)]).await;
    let second = Client::start(&[&proxy.url()], &[&url(&two)]).await;
    let scrape = async || {
        let answer = scraper::scrape(proxy.address, "http://pi:9100/m").await;
        answer.expect(200).text()
    };
    for _ in 0..100 {
        assert_eq!(scrape().await, "two 1\n");
    }
    drop(second);
    // It goes in its own time; until then it serves, and nobody fails.
    gauge(&proxy, "adit_proxy_sessions", 1.0).await;
    for _ in 0..100 {
        assert_eq!(scrape().await, "one 1\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_an_idle_client_stays_listed_and_one_that_is_gone_does_not() {
    let flags = [
        "--tunnel.ping-interval=500ms",
        "--tunnel.dead-after=2s",
        "--registration.timeout=1s",
    ];
    let proxy = Proxy::start(&flags).await;
    let _idle = Client::start(&[&proxy.url()], &["--target=idle:9100"]).await;
    let gone = Client::start(&[&proxy.url()], &["--target=gone:9100"]).await;
    let clients = async || scraper::page(proxy.address, "/clients").await.text();
    assert!(clients().await.contains("gone"));
    drop(gone);
    eventually(
        PATIENCE,
        "one that is gone is not listed",
        async || match clients().await {
            list if list.contains("gone") => Err(list),
            _ => Ok(()),
        },
    )
    .await;
    // By now the idle one has been idle for longer than every time that is set.
    assert_eq!(
        clients().await.trim_end(),
        r#"[{"targets":["idle"],"labels":null}]"#
    );
}

/// An HTTP/2 frame without a payload to speak of (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_an_answer_to_a_stream_nobody_opened_ends_only_the_tunnel_it_came_by() {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const DATA: u8 = 0;
    let victim = Target::start(vec![Step::send(head_of_chunks()), Step::Stall]);
    let pair = Pair::start(&[&url(&victim)]).await;
    let mut scraper = Connection::open(pair.proxy.address).await;
    scraper
        .write(scraper::request("http://pi:9100/m", &[]))
        .await;
    let head = scraper.head().await;
    // `:status: 200` is the eighth of HPACK's static table.
    for (kind, payload) in [(HEADERS, &[0x88][..]), (DATA, b"not yours")] {
        for stream in [1, 3, 5, 1001] {
            let mut foreign = FakeClient::raw(pair.proxy.address).await;
            foreign
                .write_all(&frame(SETTINGS, 0, 0, &[]))
                .await
                .unwrap();
            foreign
                .write_all(&frame(kind, 0x5, stream, payload))
                .await
                .unwrap();
            foreign.flush().await.unwrap();
            // Until the proxy closes, which it does for all but the stream it has opened itself:
            // that one is the registration's, and this is none.
            let mut rest = Vec::new();
            let reading = tokio::time::timeout(PATIENCE, foreign.read_to_end(&mut rest));
            assert!(reading.await.is_ok(), "{kind} {stream}: the tunnel goes on");
        }
    }
    gauge(&pair.proxy, "adit_proxy_sessions", 1.0).await;
    drop(victim);
    let (body, end) = scraper.body(&head).await;
    assert!(
        body.is_empty() && matches!(end, End::Cut(_)),
        "{body:?} {end:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_an_answer_that_comes_at_once_finds_its_scrape() {
    const SCRAPERS: usize = 32;
    const EACH: usize = 320;
    let proxy = Proxy::start(&[]).await;
    let client = FakeClient::register(proxy.address, PI).await;
    client.accepted().await;
    let scraping = (0..SCRAPERS).map(|_| async {
        let mut scraper = Connection::open(proxy.address).await;
        for _ in 0..EACH {
            let request = scraper::request("http://pi:9100/m", &[]);
            let answer = scraper.exchange(request).await;
            assert_eq!(answer.expect(200).text(), "fake 1\n");
        }
    });
    futures_util::future::join_all(scraping).await;
    assert_eq!(client.asked(), SCRAPERS * EACH);
    gauge(&proxy, "adit_proxy_scrapes_in_flight", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r12_an_answer_that_comes_with_the_deadline_is_one_answer() {
    // The target waits about as long as the scrape may take: 300 ms, less what is kept for our own
    // words.
    let delays = (0..120).map(|n| Duration::from_millis(90 + n));
    let scripts = delays.map(|delay| {
        Target::start(vec![
            Step::Pause(delay),
            Step::send(whole("m 1\n")),
            Step::Next,
        ])
    });
    let proxy = Proxy::start(&[]).await;
    let (mut targets, mut flags) = (Vec::new(), Vec::new());
    for (n, target) in scripts.enumerate() {
        flags.push(format!("--target=pi:{}=http://{}", n + 1, target.address()));
        targets.push(target);
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let _client = Client::start(&[&proxy.url()], &flags).await;
    let scraping = (0..targets.len()).map(|n| {
        let field = "X-Prometheus-Scrape-Timeout-Seconds: 0.3";
        let uri = format!("http://pi:{}/m", n + 1);
        let address = proxy.address;
        async move { scraper::scrape_with(address, &uri, &[field]).await }
    });
    let answers = futures_util::future::join_all(scraping).await;
    for answer in &answers {
        let is_good = answer.head.status == 200 && (answer.text() == "m 1\n" || answer.is_cut());
        assert!(is_good || answer.head.status == 504, "{answer:?}");
    }
    gauge(&proxy, "adit_proxy_scrapes_in_flight", 0.0).await;
    let outcomes = Metrics::of(proxy.address)
        .await
        .sum("adit_proxy_scrape_outcomes_total");
    assert_eq!(outcomes, targets.len() as f64, "each ended once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r13_scrapes_of_one_client_go_out_side_by_side() {
    const RTT: Duration = Duration::from_millis(300);
    let target = Target::start(ok("m 1\n"));
    let proxy = Proxy::start(&[]).await;
    let lane = adit_tests::network::Lane::delayed(RTT / 2);
    let relay = Relay::to(proxy.address).each_way(lane).start().await;
    let _client = Client::start(&[&relay.url()], &[&url(&target)]).await;
    let started = Instant::now();
    let scraping = (0..16).map(|_| scraper::scrape(proxy.address, "http://pi:9100/m"));
    for answer in futures_util::future::join_all(scraping).await {
        answer.expect(200);
    }
    // One by one they would take 16 round trips.
    assert!(started.elapsed() < RTT * 8, "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r14_an_answer_that_is_cut_short_is_no_answer() {
    let cut = head_of_chunks() + &chunk("half 1\n");
    let target = Target::start(vec![Step::send(cut)]);
    let pair = Pair::start(&[&url(&target)]).await;
    let answer = pair.scrape("http://pi:9100/m").await;
    // What was not sent of the head when the end was seen is ours to take back.
    let taken_back = answer.head.status == 502;
    assert!(answer.is_cut() || taken_back, "{answer:?}");
}
