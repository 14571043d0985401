//! Fronts that are told to read their configuration again while they are scraped through.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit_tests::fronts::Kind;
use adit_tests::metrics::Metrics;
use adit_tests::scraper::{Answer, Connection, End, timeout_field};
use adit_tests::target::Target;
use adit_tests::target::answers::{metric, ok};
use adit_tests::turn::measured;
use adit_tests::wait::within;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::site::Site;

/// Between two scrapes, none of which waits for the one before it.
const EVERY: Duration = Duration::from_millis(100);
/// The deadline of each, in seconds.
const DEADLINE: u32 = 5;
const RELOADS: usize = 3;
/// Scrapes between two reloads: clients come back meanwhile.
const BETWEEN: usize = 15;
const PATH: &str = "/scrape/http/pi:9100/metrics";

super::behind_each_front!(a_reload_costs_no_scrape);
super::behind_each_front_of_bytes!(a_reload_costs_no_scrape);

async fn a_reload_costs_no_scrape(kind: Kind) {
    let target = Target::start(ok(metric("m")));
    let site = Arc::new(Site::start(kind).await);
    let offer = format!("--target=pi:9100=http://{}", target.address());
    let client = site.client(&[&offer]).await;
    let enough = CancellationToken::new();
    let kept = tokio::spawn(scrape_until(
        Arc::clone(&site),
        Some(Kept::default()),
        enough.clone(),
    ));
    // Caddy 2.6 panics over a request on a connection that was new when it was reloaded (a nil
    // transport in reverseproxy.go), and cuts it. Prometheus' connections are seldom new.
    let fresh = match kind {
        Kind::Caddy => None,
        _ => Some(tokio::spawn(scrape_until(
            Arc::clone(&site),
            None,
            enough.clone(),
        ))),
    };
    for _ in 0..RELOADS {
        scraped(&target, BETWEEN).await;
        site.front.reload().await;
    }
    scraped(&target, BETWEEN).await;
    enough.cancel();
    let mut answers = kept.await.unwrap();
    if let Some(fresh) = fresh {
        answers.extend(fresh.await.unwrap());
    }
    for answer in &answers {
        let whole = (answer.head.status, &*answer.text()) == (200, &metric("m"));
        assert!(whole && answer.end == End::Complete, "{answer:?}");
        assert!(answer.took < Duration::from_secs(DEADLINE.into()));
    }
    let slowest = answers.iter().map(|answer| answer.took).max();
    let metrics = Metrics::of(client.web).await;
    let dials = metrics.sum("adit_client_dials_total");
    measured(
        &format!("{kind:?} reloaded {RELOADS} times: scrapes, slowest, dials"),
        (answers.len(), slowest, dials),
    );
    match kind {
        // It closes every WebSocket, each time; a dial may meet it in the middle of that.
        Kind::Caddy => assert!((2.0..=7.0).contains(&dials), "{dials}"),
        _ => assert_eq!(dials, 1.0),
    }
}

/// Returns when the target was asked so many times more.
async fn scraped(target: &Target, times: usize) {
    let before = target.requests().len();
    let what = "a target is scraped again and again";
    let patience = adit_tests::wait::PATIENCE;
    adit_tests::wait::eventually(patience, what, async || {
        match target.requests().len() - before {
            more if more >= times => Ok(()),
            more => Err(more.to_string()),
        }
    })
    .await;
}

/// Connections between two scrapes.
type Kept = Mutex<Vec<Connection<TlsStream<TcpStream>>>>;

/// What became of each scrape: on connections that are kept, as Prometheus', or on new ones.
async fn scrape_until(
    site: Arc<Site>,
    kept: Option<Kept>,
    enough: CancellationToken,
) -> Vec<Answer> {
    let kept = Arc::new(kept);
    let mut scrapes = JoinSet::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while enough.run_until_cancelled(ticks.tick()).await.is_some() {
        let (site, kept) = (Arc::clone(&site), Arc::clone(&kept));
        scrapes.spawn(async move {
            let deadline = Duration::from_secs(DEADLINE.into());
            let scrape = scrape(&site, kept.as_ref().as_ref());
            within(deadline, "an answer", scrape).await
        });
    }
    scrapes.join_all().await
}

async fn scrape(site: &Site, kept: Option<&Kept>) -> Answer {
    let request = site.front.request(PATH, &[&timeout_field(DEADLINE)]);
    let Some(kept) = kept else {
        return site.front.connect().await.exchange(&request).await;
    };
    loop {
        let idle = kept.lock().unwrap().pop();
        let was_kept = idle.is_some();
        let mut connection = match idle {
            Some(connection) => connection,
            None => site.front.connect().await,
        };
        let answer = connection.exchange(&request).await;
        // Go sends a GET again when a connection that was kept ends before the answer begins.
        if was_kept && answer.head.status == 0 {
            continue;
        }
        let closes = answer.head.field("connection").as_deref() == Some("close");
        if answer.end == End::Complete && !closes {
            kept.lock().unwrap().push(connection);
        }
        return answer;
    }
}
