//! Fronts that are told to read their configuration again while they are scraped through.

use std::sync::Arc;
use std::time::Duration;

use adit_tests::fronts::Kind;
use adit_tests::metrics::Metrics;
use adit_tests::scraper::{End, timeout_field};
use adit_tests::target::Target;
use adit_tests::target::answers::{metric, ok};
use adit_tests::turn::measured;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::site::Site;

/// Between two scrapes, none of which waits for the one before it.
const EVERY: Duration = Duration::from_millis(100);
/// The deadline of each, in seconds.
const DEADLINE: u32 = 5;
const RELOADS: usize = 3;

super::behind_each_front!(a_reload_costs_no_scrape);

async fn a_reload_costs_no_scrape(kind: Kind) {
    let target = Target::start(ok(metric("m")));
    let site = Arc::new(Site::start(kind).await);
    let offer = format!("--target=pi:9100=http://{}", target.address());
    let client = site.client(&[&offer]).await;
    let enough = CancellationToken::new();
    let scraping = tokio::spawn(scrape_until(Arc::clone(&site), enough.clone()));
    for _ in 0..RELOADS {
        let before = target.requests().len();
        // Between two reloads clients come back, and are scraped.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(target.requests().len() > before);
        site.front.reload().await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    enough.cancel();
    let took = scraping.await.unwrap();
    let slowest = took.iter().max();
    let metrics = Metrics::of(client.web).await;
    let dials = metrics.sum("adit_client_dials_total");
    measured(
        &format!("{kind:?} reloaded {RELOADS} times: scrapes, slowest, dials"),
        &(took.len(), slowest, dials),
    );
    match kind {
        // It closes every WebSocket, each time.
        Kind::Caddy => assert!((2.0..=4.0).contains(&dials), "{dials}"),
        _ => assert_eq!(dials, 1.0),
    }
}

/// Scrapes, and how long each took; every one of them must be answered in time.
async fn scrape_until(site: Arc<Site>, enough: CancellationToken) -> Vec<Duration> {
    let mut scrapes = JoinSet::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while enough.run_until_cancelled(ticks.tick()).await.is_some() {
        let site = Arc::clone(&site);
        scrapes.spawn(async move {
            let path = "/scrape/http/pi:9100/metrics";
            let answer = site.front.get(path, &[&timeout_field(DEADLINE)]).await;
            let answer = answer.expect(200);
            assert_eq!((answer.text(), &answer.end), (metric("m"), &End::Complete));
            assert!(answer.took < Duration::from_secs(DEADLINE.into()));
            answer.took
        });
    }
    scrapes.join_all().await
}
