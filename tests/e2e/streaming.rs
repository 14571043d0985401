//! Bodies stream: whoever is slow is waited for, and nobody holds what is not read.

use std::time::Duration;

use adit_tests::binaries;
use adit_tests::pair::Pair;
use adit_tests::scraper::{self, Connection, End};
use adit_tests::target::answers::{head_of_length, ok, series};
use adit_tests::target::{Request, Step, Target};
use adit_tests::turn::{alone, measured};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// `/flood` is a gibibyte, all else is small.
fn target() -> Target {
    Target::start(|request: &Request| match request.path() {
        "/flood" => {
            let length = usize::try_from(GIB).expect("64 bits");
            vec![
                Step::send(head_of_length(length)),
                Step::Flood(GIB),
                Step::Next,
            ]
        }
        _ => ok(series("small", 100)),
    })
}

fn flood_request() -> String {
    scraper::request("http://pi:9100/flood", &[&scraper::timeout_field(120)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_passes_in_the_memory_of_a_few_windows() {
    let _turn = alone().await;
    let target = target();
    let proxy = binaries::Proxy::start(&[]).await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let client = binaries::Client::start(&proxy.url(), &[&flag]).await;
    for _ in 0..20 {
        scraper::scrape(proxy.address, "http://pi:9100/small")
            .await
            .expect(200);
    }
    let before = [proxy.program.memory(), client.program.memory()];
    let mut connection = Connection::open(proxy.address).await;
    let started = std::time::Instant::now();
    connection.write(flood_request()).await;
    let head = connection.head().await;
    let (count, end) = connection.count(&head).await;
    let took = started.elapsed();
    assert_eq!((count, end), (GIB, End::Complete));
    let after = [proxy.program.memory(), client.program.memory()];
    for (name, before, after) in [
        ("proxy", before[0], after[0]),
        ("client", before[1], after[1]),
    ] {
        let growth = after.peak.saturating_sub(before.resident);
        measured(
            &format!("1 GiB in {took:.1?} (debug): growth of the {name}, KiB"),
            growth / 1024,
        );
        assert!(growth < 16 * MIB, "{name}: {} MiB", growth / MIB);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scraper_that_does_not_read_holds_back_its_target_and_nobody_else() {
    let _turn = alone().await;
    let target = target();
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    let mut idle = Connection::open(pair.proxy.address).await;
    idle.write(flood_request()).await;
    target.nth_request(1).await;

    let mut slowest = Duration::ZERO;
    let mut written = Vec::new();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let flooding = target.journal().connections[0].written;
        written.push(flooding / MIB);
        for _ in 0..5 {
            let answer = pair.scrape("http://pi:9100/small").await.expect(200);
            slowest = slowest.max(answer.took);
        }
    }
    measured(
        "MiB the held-back target could write, second by second",
        &written,
    );
    measured("slowest other scrape of that client meanwhile", slowest);
    assert!(written[9] < 16, "{written:?}");
    assert_eq!(
        written[4], written[9],
        "it is held back, not slowed down: {written:?}"
    );
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");

    // And when the scraper reads again, all of it comes.
    let head = idle.head().await;
    let (count, end) = idle.count(&head).await;
    assert_eq!((count, end), (GIB, End::Complete));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_bytes_do_not_wait_for_the_last() {
    let target = Target::start(vec![
        Step::send(head_of_length(24) + "first 1\n"),
        Step::Stall,
    ]);
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    let mut connection = Connection::open(pair.proxy.address).await;
    connection
        .write(scraper::request("http://pi:9100/metrics", &[]))
        .await;
    let head = connection.head().await;
    assert_eq!(head.status, 200);
    connection.wait_for_bytes(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_trickles_is_streamed_and_ends_whole() {
    let body: String = series("slow", 60);
    let target = Target::start(vec![
        Step::send(head_of_length(body.len())),
        Step::Trickle(body.clone().into(), Duration::from_millis(1)),
        Step::Next,
    ]);
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    let answer = pair.scrape("http://pi:9100/metrics").await.expect(200);
    assert_eq!(answer.text(), body);
}
