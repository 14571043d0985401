//! A body that was cut short is never taken for a whole one, wherever it was cut.

use adit_tests::binaries;
use adit_tests::pair::Pair;
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper::{self, Connection, End};
use adit_tests::target::answers::{chunk, halves, head_of_chunks, head_of_length, series};
use adit_tests::target::{Request, Step, Target};

/// Each way a target can die in the middle of a body that is told in each way.
fn deaths() -> Vec<(&'static str, Vec<Step>)> {
    let part = series("half", 200);
    let cut_chunk = head_of_chunks() + "fff\r\n" + &part[..1000];
    let no_last_chunk = head_of_chunks() + &chunk(&part);
    let half_last_chunk = head_of_chunks() + &chunk(&part) + "0\r\n";
    let length = head_of_length(part.len() * 2) + &part;
    let [_, _, (_, until_close)] = halves(&part);
    vec![
        ("length-closed", vec![Step::send(length.clone())]),
        ("length-reset", vec![Step::send(length), Step::Reset]),
        ("chunks-closed", vec![Step::send(no_last_chunk.clone())]),
        ("chunks-reset", vec![Step::send(no_last_chunk), Step::Reset]),
        ("chunks-closed-inside-one", vec![Step::send(cut_chunk)]),
        (
            "chunks-closed-before-the-empty-line",
            vec![Step::send(half_last_chunk)],
        ),
        // The pause lets the bytes pass: an RST overtakes what the peer has not read.
        (
            "end-reset",
            vec![
                Step::send(until_close),
                Step::Pause(std::time::Duration::from_millis(100)),
                Step::Reset,
            ],
        ),
    ]
}

fn dying_target() -> Target {
    let deaths = deaths();
    Target::start(move |request: &Request| {
        let death = deaths
            .iter()
            .find(|(name, _)| request.path() == format!("/{name}"));
        death.expect("a known death").1.clone()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_dies_mid_body_is_a_cut_answer() {
    let target = dying_target();
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    for (name, _) in deaths() {
        let answer = pair.scrape(&format!("http://pi:9100/{name}")).await;
        // Either some of it was on its way already, or all of it was still ours to take back.
        assert!(
            answer.is_cut() || answer.head.status == 502,
            "{name}: {answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_dies_is_not_taken_for_a_client_that_went_away() {
    let target = dying_target();
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    // What the scraper gets depends on how far the head had come when the end of the body did.
    for n in 0..300 {
        let answer = pair.scrape("http://pi:9100/length-closed").await;
        let reason = &answer.head.reason;
        assert!(!reason.contains("went away"), "scrape {n}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_dies_mid_body_is_a_cut_answer_for_http_1_0_too() {
    let target = dying_target();
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    for (name, _) in deaths() {
        let request = format!("GET http://pi:9100/{name} HTTP/1.0\r\nHost: pi:9100\r\n\r\n");
        let answer = scraper::send(pair.proxy.address, request).await;
        assert_ne!(
            answer.end,
            End::UntilClose,
            "{name}: nothing says that this is half: {answer:?}"
        );
        assert!(
            answer.is_cut() || answer.head.status == 502,
            "{name}: {answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_says_down_each_time_a_target_dies_mid_body() {
    let target = dying_target();
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    let jobs: String = deaths()
        .iter()
        .map(|(name, _)| {
            let url = pair.proxy.url();
            format!("- job_name: {name}\n  metrics_path: /{name}\n  proxy_url: {url}\n  static_configs: [{{targets: ['pi:9100']}}]\n")
        })
        .collect();
    // A scrape that times out by itself has other words.
    let prometheus = Prometheus::patient(&jobs).await;
    for (name, _) in deaths() {
        let scrapes = prometheus.scrapes(name, 3).await;
        assert!(scrapes.iter().all(|up| *up == 0.0), "{name}: {scrapes:?}");
        let error = prometheus.target(name).await.last_error;
        assert!(
            error.contains("EOF") || error.contains("502"),
            "{name}: {error}"
        );
    }
    let samples = prometheus
        .query("max_over_time(scrape_samples_scraped[1h])")
        .await;
    assert!(
        samples.iter().all(|(_, values)| values == &[0.0]),
        "{samples:?}"
    );
    assert_eq!(prometheus.query("half").await, []);
}

/// A target that sends half a body of each kind and then waits.
fn stuck_target() -> Target {
    Target::start(|request: &Request| {
        let halves = halves(&series("half", 200));
        let index: usize = request.path()[1..].parse().expect("the number of a kind");
        vec![Step::send(halves[index].1.clone()), Step::Stall]
    })
}

/// A real proxy, a real client, and scrapers that have half a body of each kind.
async fn stuck() -> (binaries::Proxy, binaries::Client, Target, Vec<Connection>) {
    let target = stuck_target();
    let proxy = binaries::Proxy::start(&[]).await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let client = binaries::Client::start(&proxy.url(), &[&flag]).await;
    let mut scrapers = Vec::new();
    for index in 0..3 {
        let mut connection = Connection::open(proxy.address).await;
        connection
            .write(scraper::request(&format!("http://pi:9100/{index}"), &[]))
            .await;
        scrapers.push(connection);
    }
    (proxy, client, target, scrapers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_killed_mid_body_is_a_cut_answer() {
    let (_proxy, mut client, _target, mut scrapers) = stuck().await;
    let mut heads = Vec::new();
    for scraper in &mut scrapers {
        let head = scraper.head().await;
        assert_eq!(head.status, 200);
        scraper.wait_for_bytes(1000).await;
        heads.push(head);
    }
    client.program.kill();
    for (scraper, head) in scrapers.iter_mut().zip(heads) {
        let (body, end) = scraper.body(&head).await;
        assert!(
            matches!(end, End::Cut(_)),
            "{end:?} after {} bytes",
            body.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_killed_mid_body_is_a_cut_answer() {
    let (mut proxy, _client, target, mut scrapers) = stuck().await;
    let mut heads = Vec::new();
    for scraper in &mut scrapers {
        heads.push(scraper.head().await);
        scraper.wait_for_bytes(1000).await;
    }
    proxy.program.kill();
    for (scraper, head) in scrapers.iter_mut().zip(heads) {
        let (_, end) = scraper.body(&head).await;
        assert!(matches!(end, End::Cut(_)), "{end:?}");
    }
    target.all_closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_says_down_when_the_client_is_killed_mid_body() {
    let target = stuck_target();
    let proxy = binaries::Proxy::start(&[]).await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let mut client = binaries::Client::start(&proxy.url(), &[&flag]).await;
    let jobs: String = (0..3)
        .map(|n| {
            let url = proxy.url();
            format!("- job_name: j{n}\n  metrics_path: /{n}\n  proxy_url: {url}\n  static_configs: [{{targets: ['pi:9100']}}]\n")
        })
        .collect();
    // Long enough that no scrape times out by itself.
    let prometheus = Prometheus::with_interval("5s", &jobs).await;
    target
        .until("three scrapes at once", |journal| {
            journal
                .connections
                .iter()
                .filter(|c| c.closed.is_none() && c.written > 0)
                .count()
                == 3
        })
        .await;
    client.program.kill();
    for n in 0..3 {
        let job = format!("j{n}");
        let error = prometheus.is_down(&job).await;
        // Not a timeout; which of the two depends on how far the head had come: without one it was
        // sent once more, and waited for the client's return.
        assert!(
            error.contains("EOF") || error.contains("503 the client for pi is away"),
            "{job}: {error}"
        );
        let scrapes = prometheus.scrapes(&job, 1).await;
        assert!(scrapes.iter().all(|up| *up == 0.0), "{job}: {scrapes:?}");
    }
    assert_eq!(prometheus.query("half").await, []);
}
