//! Many scrapes in one tunnel do not wait for one another, near or far.

use std::time::{Duration, Instant};

use adit_tests::network::{Lane, Relay};
use adit_tests::pair::{Client, Pair, Proxy};
use adit_tests::scraper::{self, Answer, Connection};
use adit_tests::target::answers::{ok, series};
use adit_tests::target::{Request, Step, Target};
use adit_tests::turn::{alone, measured};
use tokio::task::JoinSet;

/// A network of 50 ms of round trip.
async fn far_away(proxy: &Proxy, round_trip: Duration) -> Relay {
    let far = Lane::delayed(round_trip / 2);
    Relay::to(proxy.address).each_way(far).start().await
}

/// So many scrapes at once, each on a connection of its own that is open already.
async fn at_once(pair: std::net::SocketAddr, count: usize) -> (Duration, Vec<Answer>) {
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(Connection::open(pair).await);
    }
    let started = Instant::now();
    let mut scrapes = JoinSet::new();
    for mut connection in connections {
        let request = scraper::request("http://pi:9100/good", &[]);
        scrapes.spawn(async move { connection.exchange(request).await });
    }
    let answers = scrapes.join_all().await;
    (started.elapsed(), answers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_scrapes_in_flight_one_that_stalls_delays_none() {
    let _turn = alone().await;
    let target = Target::start(|request: &Request| match request.path() {
        "/stall" => vec![Step::Stall],
        _ => {
            let mut steps = vec![Step::Pause(Duration::from_millis(100))];
            steps.extend(ok(series("m", 500)));
            steps
        }
    });
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    let (alone, _) = at_once(pair.proxy.address, 63).await;
    let mut stalled = Connection::open(pair.proxy.address).await;
    stalled
        .write(scraper::request(
            "http://pi:9100/stall",
            &[&scraper::timeout_field(60)],
        ))
        .await;
    target
        .until("the stalled scrape", |j| {
            j.requests().any(|r| r.path() == "/stall")
        })
        .await;
    let (beside, answers) = at_once(pair.proxy.address, 63).await;
    measured("63 scrapes of a 100 ms target at once", alone);
    measured("the same beside one that stalls", beside);
    for answer in answers {
        answer.expect(200);
    }
    assert!(beside < Duration::from_secs(5), "{beside:?}");
    let open = target
        .journal()
        .connections
        .iter()
        .filter(|c| !c.aborted && c.closed.is_none())
        .count();
    assert!(open >= 1, "the stalled one still waits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_scrapes_over_50_ms_of_round_trip_take_one() {
    let _turn = alone().await;
    let target = Target::start(ok(series("far", 500)));
    let proxy = Proxy::start(&[]).await;
    let relay = far_away(&proxy, Duration::from_millis(50)).await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let _client = Client::start(&[&relay.url()], &[&flag]).await;

    let single = scraper::scrape(proxy.address, "http://pi:9100/good")
        .await
        .expect(200)
        .took;
    measured("one scrape over 50 ms of round trip", single);
    assert!(
        single >= Duration::from_millis(50),
        "the relay delays: {single:?}"
    );
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let (took, answers) = at_once(proxy.address, 16).await;
        for answer in answers {
            answer.expect(200);
        }
        measured("16 at once over 50 ms of round trip", took);
        best = best.min(took);
    }
    // One after the other they would take 800 ms.
    assert!(best < Duration::from_millis(600), "{best:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_megabyte_over_200_ms_of_round_trip_is_not_stop_and_go() {
    let _turn = alone().await;
    let target = Target::start(ok(series("far", 60_000)));
    let proxy = Proxy::start(&[]).await;
    let relay = far_away(&proxy, Duration::from_millis(200)).await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let _client = Client::start(&[&relay.url()], &[&flag]).await;
    let answer = scraper::scrape(proxy.address, "http://pi:9100/big")
        .await
        .expect(200);
    assert!(answer.body.len() > 1_000_000, "{}", answer.body.len());
    measured("1.2 MB over 200 ms of round trip", answer.took);
    // With HTTP/2's first window of 64 KiB it would take twenty round trips, four seconds.
    assert!(answer.took < Duration::from_secs(3), "{:?}", answer.took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_at_one_client_are_told_so_and_others_are_served() {
    let target = Target::start(|request: &Request| match request.path() {
        "/stall" => vec![Step::Stall],
        _ => ok("good 1\n"),
    });
    // As many as one target takes, twice.
    let [first, second] =
        [9100, 9101].map(|port| format!("--target=pi:{port}=http://{}", target.address()));
    let pair = Pair::start(&[&first, &second]).await;
    let other = format!("--target=nas:9100=http://{}", target.address());
    let _other = Client::start(&[&pair.proxy.url()], &[&other]).await;
    pair.proxy.knows("nas").await;
    let mut held = Vec::new();
    for n in 0..128 {
        let mut connection = Connection::open(pair.proxy.address).await;
        let uri = format!("http://pi:{}/stall", 9100 + n % 2);
        connection
            .write(scraper::request(&uri, &[&scraper::timeout_field(60)]))
            .await;
        held.push(connection);
    }
    target
        .until("128 stalled scrapes", |journal| {
            journal.requests().count() == 128
        })
        .await;
    pair.scrape("http://pi:9100/good").await.refusal(429, "128");
    pair.scrape("http://nas:9100/good").await.expect(200);
    drop(held);
    let freed = |journal: &adit_tests::target::Journal| {
        journal.connections.iter().filter(|c| c.aborted).count() == 128
    };
    target.until("128 scrapes given up", freed).await;
    pair.scrape("http://pi:9100/good").await.expect(200);
}
