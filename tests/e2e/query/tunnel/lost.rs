//! Tunnels that end, or say nothing: whoever waits is sent elsewhere, and who comes back is there.

use std::time::{Duration, Instant};

use adit_tests::fake_prometheus::{Ending, FakePrometheus, Fixed, result_of};
use adit_tests::network::{BOTH, Cut, Relay};
use adit_tests::pair::Client;
use adit_tests::scraper::{self, Connection, End as BodyEnd};
use adit_tests::turn::measured;
use adit_tests::wait::{PATIENCE, within};

use super::behind;
use crate::query::asking::{Side, post, served};

/// A network that has died is known to be dead after so long.
const LIVENESS: [&str; 2] = ["--tunnel.ping-interval=1s", "--tunnel.dead-after=3s"];
/// Against probes that come every 30 s.
const WITHIN_A_PROBE: Duration = Duration::from_secs(10);

/// The tunnel first, and a server that is dialled behind it.
fn far_and_near(near: &FakePrometheus) -> String {
    format!(
        "query:\n  pools:\n  - strategy: first-available\n    fail_back: 0s\n    \
         backends: [{{url: 'tunnel://prom:9090', name: far}}, {{url: '{}', name: near}}]\n    \
         health: {{interval: 30s, timeout: 10s, warm_up: 0s}}\n",
        near.url()
    )
}

/// How a tunnel goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Killed,
    Reset,
    Closed,
    BlackHole,
}

/// Case 58: by every end there is, before the answer has begun and in its first half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_is_cut_in_the_middle_of_a_query_is_no_failure() {
    for end in [End::Killed, End::Reset, End::Closed, End::BlackHole] {
        for begun in [false, true] {
            cut_in_the_middle(end, begun).await;
        }
    }
}

async fn cut_in_the_middle(end: End, begun: bool) {
    let (far, near) = (FakePrometheus::start("far"), FakePrometheus::start("near"));
    let side = Side::with(&far_and_near(&near), &LIVENESS).await;
    let relay = Relay::start(side.proxy.address).await;
    let target = format!("--target=prom:9090=http://{}", far.address());
    let client = Client::start(&[&relay.url()], &[&target, LIVENESS[0], LIVENESS[1]]).await;
    for name in ["far", "near"] {
        side.is(name, "healthy").await;
    }
    side.until("far", "is first", |far| far["selected"] == true)
        .await;
    let stuck = match begun {
        false => Fixed::nothing(Ending::Stall),
        true => Fixed::status(200)
            .body(vec![b'x'; 200_000])
            .cut(100_000, Ending::Stall),
    };
    far.set(|state| state.always("/api/v1/query", stuck));
    let asking = tokio::spawn(scraper::send(side.query, post("/api/v1/query", "query=up")));
    far.until("a query", |journal| journal.of("/api/v1/query").len() == 1)
        .await;
    let cut = Instant::now();
    let mut client = Some(client);
    match end {
        End::Killed => drop(client.take()),
        End::Reset => relay.cut(Cut::Rst),
        End::Closed => relay.cut(Cut::Fin),
        End::BlackHole => relay.swallow(BOTH),
    }
    let answer = within(PATIENCE, "an answer", asking)
        .await
        .unwrap()
        .expect(200);
    measured(
        &format!("{end:?}, begun {begun}, until the other's answer"),
        cut.elapsed(),
    );
    assert_eq!(
        served(&answer),
        ("near".into(), "2".into()),
        "{end:?}: {answer:?}"
    );
    assert_eq!(answer.text(), result_of("near"), "{end:?}");
    let form = near.journal().of("/api/v1/query")[0].body().to_vec();
    assert_eq!(form, b"query=up", "{end:?}");
    drop(client);
}

/// Case 59, and 49's spirit: a cut tunnel is no restart. With its first probe, which does not wait for
/// the interval, a server is what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_back_is_in_rotation_with_its_first_probe() {
    let fake = FakePrometheus::start("a");
    let side = Side::start(
        "query:\n  pools:\n  - backends: [{url: 'tunnel://prom:9090', name: far}]\n    \
         health: {interval: 30s, timeout: 10s, rise: 5}\n",
    )
    .await;
    let far = side.is("far", "down").await;
    assert!(
        far["reason"].as_str().unwrap().contains("no tunnel"),
        "{far}"
    );
    let mut client = behind(&side, &fake).await;
    for round in 0..3 {
        let back = Instant::now();
        side.is("far", "healthy").await;
        measured("from a session to a healthy backend", back.elapsed());
        assert!(
            back.elapsed() < WITHIN_A_PROBE,
            "{round}: {:?}",
            back.elapsed()
        );
        let ready = fake
            .journal()
            .probes()
            .iter()
            .filter(|seen| seen.path() == "/-/ready")
            .count();
        assert_eq!(ready, round + 1, "probes since the first session");
        side.post("/api/v1/query", "query=up").await.expect(200);

        let gone = Instant::now();
        drop(client);
        side.is("far", "down").await;
        assert!(
            gone.elapsed() < WITHIN_A_PROBE,
            "{round}: {:?}",
            gone.elapsed()
        );
        let answer = side.post("/api/v1/query", "query=up").await;
        assert_eq!(answer.head.status, 502, "{answer:?}");
        assert!(
            answer.text().contains("far: no client for prom"),
            "{answer:?}"
        );
        client = behind(&side, &fake).await;
    }
    drop(client);
}

/// Case 60: a tunnel that says nothing keeps a probe, and only its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_stalls_keeps_nobody_elses_probes() {
    let [slow, far, near] = ["slow", "far", "near"].map(FakePrometheus::start);
    let side = Side::start(&format!(
        "query:\n  pools:\n  - strategy: first-available\n    backends:\n    \
         - {{url: 'tunnel://slow:9090', name: slow}}\n    - {{url: 'tunnel://prom:9090', name: far}}\n    \
         - {{url: '{}', name: near}}\n    \
         health: {{interval: 500ms, timeout: 30s, warm_up: 0s}}\n",
        near.url()
    ))
    .await;
    let relay = Relay::start(side.proxy.address).await;
    let target = format!("--target=slow:9090=http://{}", slow.address());
    let _slow = Client::start(&[&relay.url()], &[&target]).await;
    let _far = behind(&side, &far).await;
    for name in ["slow", "far", "near"] {
        side.is(name, "healthy").await;
    }
    relay.stall(BOTH);
    let stalled = Instant::now();
    let probed = [&far, &near].map(|fake| fake.journal().probes().len());
    for (fake, before) in [&far, &near].into_iter().zip(probed) {
        // Two requests a probe.
        let enough = before + 12;
        fake.until("six probes", |journal| journal.probes().len() >= enough)
            .await;
    }
    let took = stalled.elapsed();
    measured("six probes of everybody else beside a stalled tunnel", took);
    assert!(took < Duration::from_secs(20), "{took:?}");
    for name in ["far", "near"] {
        let backend = side.backend(name).await.unwrap();
        assert_eq!(backend["state"], "healthy", "{backend}");
    }
    relay.resume(BOTH);
    side.is("slow", "healthy").await;
}

/// Case 27, behind a tunnel: what the caller has begun to read is cut with it, and never looks whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_answer_ends_with_its_tunnel_and_never_looks_whole() {
    let (far, near) = (FakePrometheus::start("far"), FakePrometheus::start("near"));
    let side = Side::start(&far_and_near(&near)).await;
    side.is("near", "healthy").await;
    let long = Fixed::status(200).body(vec![b'x'; 20 << 20]);
    for answer in [long.clone(), long.clone().chunked(), long.until_close()] {
        let client = behind(&side, &far).await;
        side.until("far", "is first", |far| far["selected"] == true)
            .await;
        far.set(|state| state.once("/api/v1/query", answer.cut(5 << 20, Ending::Stall)));
        let mut connection = Connection::open(side.query).await;
        connection.write(post("/api/v1/query", "query=up")).await;
        let head = connection.head().await;
        assert_eq!(head.status, 200, "{head:?}");
        connection.wait_for_bytes(4 << 20).await;
        drop(client);
        let (_, end) = connection.count(&head).await;
        assert!(matches!(end, BodyEnd::Cut(_)), "{end:?}: {head:?}");
        side.is("far", "down").await;
    }
}
