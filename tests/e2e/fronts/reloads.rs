//! Fronts that are told to read their configuration again while they are scraped through.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit_tests::fronts::{Kind, Setup};
use adit_tests::metrics::Metrics;
use adit_tests::scraper::{self, Answer, Connection, End, timeout_field};
use adit_tests::target::Target;
use adit_tests::target::answers::{metric, ok};
use adit_tests::turn::measured;
use adit_tests::wait::{PATIENCE, eventually, within};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::site::Site;

/// Between two scrapes, none of which waits for the one before it.
const EVERY: Duration = Duration::from_millis(100);
/// The deadline of each, in seconds.
const DEADLINE: u32 = 5;
const RELOADS: usize = 3;
/// Scrapes between two reloads: clients come back meanwhile.
const BETWEEN: usize = 30;
const PATH: &str = "/scrape/http/pi:9100/metrics";

super::behind_each_front!(a_reload_costs_no_scrape);
super::behind_each_front_of_bytes!(a_reload_costs_no_scrape);

async fn a_reload_costs_no_scrape(kind: Kind) {
    let target = Target::start(ok(metric("m")));
    // As the Caddyfile says: a dial may meet the reload, and then comes the next.
    let flags: &[&str] = match kind {
        Kind::Caddy => &["--scrape.reconnect-wait=4s"],
        _ => &[],
    };
    let site = Arc::new(Site::set_up(kind, Setup::of(kind), flags).await);
    let offer = format!("--target=pi:9100=http://{}", target.address());
    let client = site.client(&[&offer]).await;
    let enough = CancellationToken::new();
    let scraping = |way| scrape_until(Arc::clone(&site), way, enough.clone());
    let kept = scraping(Way::Kept(Mutex::default()));
    let other = scraping(match kind {
        Kind::Caddy => Way::Direct,
        _ => Way::New,
    });
    let mut reloads = Vec::new();
    for _ in 0..RELOADS {
        scraped(&target, BETWEEN).await;
        let started = Instant::now();
        site.front.reload().await;
        reloads.push((started, Instant::now()));
    }
    scraped(&target, BETWEEN).await;
    enough.cancel();
    let (kept, other) = (kept.await.unwrap(), other.await.unwrap());
    let scrapes: Vec<&Scrape> = kept.iter().chain(&other).collect();
    // What Caddy 2.6 is just doing when it is reloaded it breaks off itself, with 502 or nothing (its
    // log says "request canceled", or a nil transport). All that is ours must go on.
    let broken_off = |scrape: &Scrape| {
        let reloaded = |(from, to): &(Instant, Instant)| scrape.from <= *to && scrape.to >= *from;
        let by = scrape.answer.head.field("server");
        let itself = scrape.answer.head.status == 0 || by.as_deref() == Some("Caddy");
        kind == Kind::Caddy && itself && reloads.iter().any(reloaded)
    };
    let failed = scrapes.iter().filter(|scrape| !scrape.is_good());
    let (lost, ours): (Vec<&Scrape>, Vec<&Scrape>) = failed.partition(|scrape| broken_off(scrape));
    assert!(ours.is_empty(), "{ours:?}");
    let metrics = Metrics::of(client.web).await;
    let dials = metrics.sum("adit_client_dials_total");
    let slowest = scrapes.iter().map(|scrape| scrape.to - scrape.from).max();
    measured(
        &format!("{kind:?} reloaded {RELOADS} times: scrapes, broken off by it, slowest, dials"),
        (scrapes.len(), lost.len(), slowest, dials),
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
    eventually(PATIENCE, "a target is scraped on", async || {
        match target.requests().len() - before {
            more if more >= times => Ok(()),
            more => Err(more.to_string()),
        }
    })
    .await;
}

/// How a scrape gets to us.
enum Way {
    /// Through the front, on a connection that is kept, as Prometheus does it.
    Kept(Mutex<Vec<Connection<TlsStream<TcpStream>>>>),
    /// Through the front, on a new connection each.
    New,
    /// Past the front, that only tunnels go through.
    Direct,
}

#[derive(Debug)]
struct Scrape {
    from: Instant,
    to: Instant,
    answer: Answer,
}

impl Scrape {
    fn is_good(&self) -> bool {
        let Self { answer, .. } = self;
        let whole = (answer.head.status, &*answer.text()) == (200, &metric("m"));
        whole && answer.end == End::Complete
    }
}

/// What became of each scrape. None takes longer than its deadline.
fn scrape_until(site: Arc<Site>, way: Way, enough: CancellationToken) -> JoinHandle<Vec<Scrape>> {
    let way = Arc::new(way);
    tokio::spawn(async move {
        let mut scrapes = JoinSet::new();
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while enough.run_until_cancelled(ticks.tick()).await.is_some() {
            let (site, way) = (Arc::clone(&site), Arc::clone(&way));
            scrapes.spawn(async move {
                let from = Instant::now();
                let deadline = Duration::from_secs(DEADLINE.into());
                let answer = within(deadline, "an answer", scrape(&site, &way)).await;
                let to = Instant::now();
                Scrape { from, to, answer }
            });
        }
        scrapes.join_all().await
    })
}

async fn scrape(site: &Site, way: &Way) -> Answer {
    let request = site.front.request(PATH, &[&timeout_field(DEADLINE)]);
    let kept = match way {
        Way::Kept(kept) => kept,
        Way::New => return site.front.connect().await.exchange(&request).await,
        Way::Direct => return scraper::send(site.proxy.address, &request).await,
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
