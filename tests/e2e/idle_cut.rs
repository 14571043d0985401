//! A balancer that cuts idle connections, the commonest thing in a client's way. PushProx loses 10
//! of 40 scrapes behind one: each cut leaves a poll that is answered into nothing.
//!
//! The same scenario runs for each [`Kind`] of client.

use std::iter;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use adit_tests::network::{Cut, Relay};
use adit_tests::pair::{Client, Proxy};
use adit_tests::pushprox::FakePushProx;
use adit_tests::scraper;
use adit_tests::target::Target;
use adit_tests::target::answers::ok;
use adit_tests::turn::measured;
use adit_tests::wait::{PATIENCE, within};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What the balancer allows.
const IDLE: Duration = Duration::from_secs(4);
/// Names that are scraped beside one another, and how often each: 40 scrapes in all.
const NAMES: u32 = 8;
const SCRAPES: usize = 5;
/// Between two scrapes of a name: half of the gaps are longer than the balancer allows.
const GAPS: Range<u64> = 100..8000;

/// What dials the proxy through the balancer.
trait Kind {
    /// Gaps that are not drawn, in milliseconds.
    const NO_GAPS: Range<u64> = 0..0;

    /// Dropping it ends it.
    type Client;

    /// What the proxy needs for it.
    fn proxy_flags(&self) -> Vec<&'static str>;

    /// A client called `name`, which offers `target` at port 9100; ready to be scraped.
    async fn start(
        &self,
        proxy: &Proxy,
        relay: &Relay,
        name: &str,
        target: SocketAddr,
    ) -> Self::Client;
}

/// Our own client.
struct Tunnel {
    ping_interval: &'static str,
    proxy_flags: &'static [&'static str],
}

impl Kind for Tunnel {
    type Client = Client;

    fn proxy_flags(&self) -> Vec<&'static str> {
        [&[self.ping_interval], self.proxy_flags].concat()
    }

    async fn start(&self, proxy: &Proxy, relay: &Relay, name: &str, target: SocketAddr) -> Client {
        let target = format!("--target={name}:9100=http://{target}");
        let client = Client::start(&[&relay.url()], &[self.ping_interval, &target]).await;
        proxy.knows(name).await;
        client
    }
}

/// PushProx's.
struct Poll {
    proxy_flags: &'static [&'static str],
}

impl Kind for Poll {
    /// After about as long as the balancer allows a push goes out by an idle connection that is cut
    /// while it is on its way, and nobody sends it again: Go's client has the same hole.
    const NO_GAPS: Range<u64> = IDLE.as_secs() * 1000 - 500..IDLE.as_secs() * 1000 + 500;

    type Client = FakePushProx;

    fn proxy_flags(&self) -> Vec<&'static str> {
        [&["--pushprox.enabled"], self.proxy_flags].concat()
    }

    async fn start(
        &self,
        proxy: &Proxy,
        relay: &Relay,
        name: &str,
        target: SocketAddr,
    ) -> FakePushProx {
        let client = FakePushProx::start(relay.address, name, target);
        proxy.knows(name).await;
        client
    }
}

/// What became of the scrapes.
#[derive(Debug)]
struct Outcome {
    /// Of the gaps.
    seed: u64,
    answered: usize,
    /// What was said instead of an answer.
    lost: Vec<String>,
    /// Connections of clients that the balancer cut.
    cuts: usize,
    /// Connections that clients made.
    connections: usize,
}

impl Outcome {
    fn assert_none_lost(&self) {
        let Self { seed, lost, .. } = self;
        assert!(lost.is_empty(), "seed {seed}: {lost:#?}");
        assert_eq!(self.answered, NAMES as usize * SCRAPES, "{self:?}");
    }
}

/// Forty scrapes at random gaps through a balancer that cuts in this way.
async fn scrape_through_a_balancer<K: Kind>(kind: K, cut: Cut) -> Outcome {
    let seed = fastrand::u32(..).into();
    let target = Target::start(ok("m 1\n"));
    let proxy = Proxy::start(&kind.proxy_flags()).await;
    let relay = Relay::to(proxy.address).idle_cut(IDLE, cut).start().await;
    let names = (0..NAMES).map(|n| format!("host{n}"));
    let mut clients = Vec::new();
    let mut scraping = JoinSet::new();
    for (name, seed) in names.zip(seed..) {
        clients.push(kind.start(&proxy, &relay, &name, target.address()).await);
        scraping.spawn(scrape(proxy.address, name, seed, K::NO_GAPS));
    }
    let bystander = tokio::spawn(bystander(relay.address));
    let answers = scraping.join_all().await.concat();
    bystander.await.unwrap();
    let (answered, lost) = answers.into_iter().partition::<Vec<_>, _>(Result::is_ok);
    Outcome {
        seed,
        answered: answered.len(),
        lost: lost.into_iter().filter_map(Result::err).collect(),
        cuts: relay.idle_cuts() - 1,
        connections: relay.accepted() - 1,
    }
}

/// Scrapes one name again and again; each is answered, or says how it was lost.
async fn scrape(
    proxy: SocketAddr,
    name: String,
    seed: u64,
    no_gaps: Range<u64>,
) -> Vec<Result<(), String>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut gaps = iter::repeat_with(|| random.u64(GAPS)).filter(|gap| !no_gaps.contains(gap));
    let mut answers = Vec::new();
    for number in 1..=SCRAPES {
        let gap = Duration::from_millis(gaps.next().expect("an endless row"));
        tokio::time::sleep(gap).await;
        let answer = scraper::scrape(proxy, &format!("http://{name}:9100/metrics")).await;
        let (head, whole) = (&answer.head, answer.end == scraper::End::Complete);
        answers.push(if head.status == 200 && whole && answer.text() == "m 1\n" {
            Ok(())
        } else {
            let (status, reason, end) = (head.status, &head.reason, &answer.end);
            Err(format!(
                "{name} #{number} after {gap:?}: {status} {reason:?} {end:?} in {:?}",
                answer.took
            ))
        });
    }
    answers
}

/// A connection that says nothing: the balancer cuts it as soon as it may. Without it nobody would
/// know that there is a balancer, where nothing else is cut.
async fn bystander(relay: SocketAddr) {
    // Before the balancer's own clock.
    let opened = tokio::time::Instant::now();
    let mut stream = TcpStream::connect(relay).await.unwrap();
    // FIN or RST.
    let end = within(PATIENCE, "a cut", stream.read_u8()).await;
    assert!(end.is_err(), "{end:?}");
    assert!(opened.elapsed() >= IDLE, "{:?}", opened.elapsed());
}

/// Pings go out more often than the balancer wants: it has nothing to cut.
async fn pinged(cut: Cut) {
    let kind = Tunnel {
        ping_interval: "--tunnel.ping-interval=1s",
        proxy_flags: &[],
    };
    let outcome = scrape_through_a_balancer(kind, cut).await;
    measured(
        &format!("behind a balancer that cuts by {cut:?}, pinged"),
        &outcome,
    );
    outcome.assert_none_lost();
    assert_eq!(outcome.cuts, 0, "{outcome:?}");
    assert_eq!(outcome.connections, NAMES as usize, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_scrape_is_lost_to_a_balancer_that_cuts_the_idle_by_fin() {
    pinged(Cut::Fin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_scrape_is_lost_to_a_balancer_that_cuts_the_idle_by_rst() {
    pinged(Cut::Rst).await;
}

/// Nobody pings in time, so that tunnels are cut again and again: each scrape waits until its client
/// is back.
async fn cut_again_and_again(cut: Cut) {
    let kind = Tunnel {
        ping_interval: "--tunnel.ping-interval=15s",
        // A client is back within a second, and what a busy machine adds.
        proxy_flags: &["--scrape.reconnect-wait=6s"],
    };
    let outcome = scrape_through_a_balancer(kind, cut).await;
    let what = format!("behind a balancer that cuts by {cut:?}, not pinged");
    measured(&what, &outcome);
    outcome.assert_none_lost();
    // Half of 40 gaps are long enough.
    assert!(outcome.cuts > NAMES as usize, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_scrape_is_lost_to_a_balancer_that_cuts_tunnels_again_and_again_by_fin() {
    cut_again_and_again(Cut::Fin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_scrape_is_lost_to_a_balancer_that_cuts_tunnels_again_and_again_by_rst() {
    cut_again_and_again(Cut::Rst).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_scrape_is_lost_to_a_balancer_that_cuts_idle_polls() {
    // Each poll is sent on in time, so that none is cut; what a push was sent by may be.
    let kind = Poll {
        proxy_flags: &["--tunnel.ping-interval=1s"],
    };
    let outcome = scrape_through_a_balancer(kind, Cut::Fin).await;
    measured("polls behind a balancer, kept alive", &outcome);
    outcome.assert_none_lost();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_scrape_is_lost_to_a_balancer_that_cuts_polls_again_and_again() {
    // The client itself waits up to 7.5 s after so many errors in a row, and a scrape for the client.
    let kind = Poll {
        proxy_flags: &["--scrape.reconnect-wait=9s"],
    };
    let outcome = scrape_through_a_balancer(kind, Cut::Rst).await;
    measured("polls behind a balancer, not kept alive", &outcome);
    outcome.assert_none_lost();
    assert!(outcome.cuts > NAMES as usize, "{outcome:?}");
}
