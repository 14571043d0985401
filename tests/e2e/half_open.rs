//! A network that has died without a word: both ends find out in time, by themselves or from one
//! another, and whoever waits for an answer gets one. [`super::liveness`] has the settings that
//! everybody has; here they are short, since no clock can be paused over sockets.

use std::net::SocketAddr;
use std::time::Duration;

use adit_tests::network::{BOTH, DOWN, Lane, Link, Relay, UP, Way};
use adit_tests::pair::{Client, Proxy};
use adit_tests::scraper::{self, Connection, Head, timeout_field};
use adit_tests::target::answers::{head_of_length, ok};
use adit_tests::target::{Request, Step, Target};
use adit_tests::turn::{alone, measured};
use adit_tests::wait::{PATIENCE, eventually, within};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const LIVENESS: [&str; 2] = ["--tunnel.ping-interval=1s", "--tunnel.dead-after=3s"];
const DEAD: Duration = Duration::from_secs(3);
/// The setting, and a fifth.
const FOUND: Duration = Duration::from_millis(3600);
/// What we see of it is a page that is polled, on cores that are shared.
const ALLOWANCE: Duration = Duration::from_secs(5);
/// A byte's time is noted when it was written; it may have been read a moment earlier.
const MARGIN: Duration = Duration::from_millis(500);
/// What a scrape whose tunnel was lost may still wait for another.
const RETURN: Duration = Duration::from_secs(2);

/// Streams with a large body: their windows of 512 KiB are together twice what a kernel takes of a
/// writer, 4 MiB, so that it is the socket that blocks and not HTTP/2.
const BODIES: usize = 16;
/// Of one body; nobody ever sends all of it.
const LARGE: usize = 1 << 30;
/// Enough for the bodies to have filled what they can.
const FLOWING: u64 = 4 << 20;

/// A body that takes ten seconds, three times what silence may last.
const SLOW: usize = 400_000;
const SLOW_RATE: u32 = 40_000;

/// What happens in a tunnel while its network dies.
#[derive(Debug, Clone, Copy)]
enum Load {
    Idle,
    /// Scrapes that are sent when it has just died.
    Scrapes,
    /// Large bodies from targets.
    Answers,
    /// Large bodies to them.
    Uploads,
}

struct Case {
    name: String,
    proxy: Proxy,
    client: Client,
    relay: Relay,
    link: Link,
    target: Target,
}

/// When an end said that its tunnel was over, and why.
#[derive(Debug, Clone)]
struct Noticed {
    at: Instant,
    reason: String,
}

impl Case {
    async fn start(name: String, lane: Lane) -> Self {
        let target = Target::start(|request: &Request| match request.path() {
            "/large" => vec![
                Step::send(head_of_length(LARGE)),
                Step::Flood(LARGE as u64),
                Step::Next,
            ],
            "/slow" => ok([b'x'; SLOW]),
            _ => ok("m 1\n"),
        });
        let proxy = Proxy::start(&LIVENESS).await;
        let relay = Relay::to(proxy.address).each_way(lane);
        let relay = relay.socket_buffers(16 * 1024).start().await;
        let flag = format!("--target=pi:9100=http://{}", target.address());
        let flags = [&LIVENESS[..], &[&flag]].concat();
        let client = Client::start(&[&relay.url()], &flags).await;
        let link = relay.link(1).await;
        Self {
            name,
            proxy,
            client,
            relay,
            link,
            target,
        }
    }

    /// Starts what is under way when the network dies; each task gives whether it failed as it may.
    async fn load(&self, load: Load) -> Vec<JoinHandle<bool>> {
        let (way, request) = match load {
            Load::Idle | Load::Scrapes => {
                // Silence, but for pings: one of each end's.
                let quiet = [Way::Up, Way::Down].map(|way| self.link.passed(way));
                eventually(PATIENCE, "a ping passes", async || {
                    let now = [Way::Up, Way::Down].map(|way| self.link.passed(way));
                    let both = now[0] > quiet[0] && now[1] > quiet[1];
                    both.then_some(()).ok_or(format!("{now:?}"))
                })
                .await;
                return Vec::new();
            }
            Load::Answers => {
                let uri = "http://pi:9100/large";
                (Way::Up, scraper::request(uri, &[&timeout_field(60)]))
            }
            Load::Uploads => {
                let length = format!("Content-Length: {LARGE}");
                let uri = "http://pi:9100/api/v1/read";
                let request = scraper::request(uri, &[&timeout_field(60), &length]);
                (Way::Down, request.replacen("GET", "POST", 1))
            }
        };
        let mut connections = Vec::new();
        for _ in 0..BODIES {
            let mut connection = Connection::open(self.proxy.address).await;
            connection.write(&request).await;
            connections.push(connection);
        }
        let mut bodies = Vec::new();
        for mut connection in connections {
            bodies.push(match way {
                Way::Up => {
                    let head = connection.head().await;
                    tokio::spawn(download(connection, head))
                }
                Way::Down => tokio::spawn(upload(connection)),
            });
        }
        eventually(PATIENCE, "bodies are under way", async || {
            let passed = self.link.passed(way);
            (passed > FLOWING).then_some(()).ok_or(passed.to_string())
        })
        .await;
        bodies
    }

    /// One way or both are lost; then asserts what each end and each scrape must see. Gives how long
    /// it took until both ends knew.
    async fn dies(self, lose: fn(&Link, &[Way]), lost: &'static [Way], load: Load) -> Duration {
        let bodies = self.load(load).await;
        lose(&self.link, lost);
        let died = Instant::now();
        self.relay.refuse().await;
        let scrapes = match load {
            Load::Scrapes => Some(tokio::spawn(scrapes(self.proxy.address))),
            _ => None,
        };
        let (proxy, client) = tokio::join!(
            noticed(self.proxy.address, "adit_proxy_sessions_ended_total"),
            noticed(self.client.web, "adit_client_tunnels_ended_total"),
        );
        let case = &self.name;
        let found = proxy.at.max(client.at) - died;
        self.assert_ends(lost, &proxy, &client);
        self.assert_gone().await;
        if let Some(scrapes) = scrapes {
            let took = scrapes.await.unwrap();
            let limit = found + RETURN + ALLOWANCE;
            assert!(
                took <= limit,
                "{case}: a scrape was answered after {took:?}"
            );
        }
        if !bodies.is_empty() {
            for body in bodies {
                assert!(body.await.unwrap(), "{case}");
            }
            let freed = Instant::from_std(self.target.all_closed().await);
            assert!(freed <= client.at + ALLOWANCE, "{case}: {:?}", freed - died);
        }
        self.comes_back().await;
        found
    }

    /// An end that hears nothing notices in time, counted from the last byte; the other one learns
    /// it of that one's end.
    fn assert_ends(&self, lost: &[Way], proxy: &Noticed, client: &Noticed) {
        let case = &self.name;
        for (end, way, other) in [(proxy, Way::Up, client), (client, Way::Down, proxy)] {
            let took = end.at - self.link.last_passed(way);
            if lost.contains(&way) {
                assert_eq!(end.reason, "silent", "{case}");
                assert!(took >= DEAD - MARGIN, "{case}: {took:?}");
                assert!(took <= FOUND + ALLOWANCE, "{case}: {took:?}");
            } else {
                assert_eq!(end.reason, "lost", "{case}");
                let apart = end.at.max(other.at) - end.at.min(other.at);
                assert!(apart <= ALLOWANCE, "{case}: {apart:?}");
            }
        }
    }

    /// What everybody else sees of it.
    async fn assert_gone(&self) {
        let page = async |path| scraper::page(self.proxy.address, path).await.expect(200);
        let metrics = page("/metrics").await.text();
        assert!(metrics.contains("\nadit_proxy_sessions 0\n"), "{metrics}");
        let here = "\nadit_proxy_names{state=\"here\"} 0\n";
        assert!(metrics.contains(here), "{metrics}");
        let ready = scraper::page(self.client.web, "/-/ready").await;
        ready.expect(503);
    }

    async fn comes_back(&self) {
        self.relay.come_back().await;
        adit_tests::pair::ready(self.client.web).await;
        let answer = scraper::scrape(self.proxy.address, "http://pi:9100/m").await;
        assert_eq!(answer.expect(200).text(), "m 1\n", "{}", self.name);
    }
}

/// Waits until the only tunnel has ended, by the counter of such ends.
async fn noticed(address: SocketAddr, counter: &str) -> Noticed {
    eventually(PATIENCE, "a tunnel's end", async || {
        let page = scraper::page(address, "/metrics").await.expect(200).text();
        let mut lines = page.lines();
        let line = lines.find(|line| line.starts_with(counter) && line.ends_with("} 1"));
        let reason = line.and_then(|line| line.split("reason=\"").nth(1)?.split('"').next());
        match reason {
            Some(reason) => Ok(Noticed {
                at: Instant::now(),
                reason: reason.to_owned(),
            }),
            None => Err(format!("no end in {counter}")),
        }
    })
    .await
}

/// Scrapes into a tunnel that is dead already: one is answered at its own deadline, one when the
/// tunnel is found dead; gives how long that took.
async fn scrapes(proxy: SocketAddr) -> Duration {
    let uri = "http://pi:9100/m";
    let (short, long) = (timeout_field(1), timeout_field(20));
    let (short, long) = ([&*short], [&*long]);
    let (short, long) = tokio::join!(
        scraper::scrape_with(proxy, uri, &short),
        scraper::scrape_with(proxy, uri, &long),
    );
    let short = short.refusal(504, "no answer within 0.8s");
    let limit = Duration::from_millis(800) + ALLOWANCE;
    assert!(short.took <= limit, "{:?}", short.took);
    assert!(matches!(long.head.status, 502 | 503), "{long:?}");
    let took = long.took;
    assert!(!long.is_cut(), "{long:?}");
    took
}

/// Reads a large answer; whether it was cut short.
async fn download(mut connection: Connection, head: Head) -> bool {
    let (_, end) = connection.count(&head).await;
    head.status == 200 && matches!(end, scraper::End::Cut(_))
}

/// Writes a large body as long as it is taken; whether an error came for it, or the end.
async fn upload(connection: Connection) -> bool {
    let (stream, ahead) = connection.into_parts();
    assert!(ahead.is_empty(), "an answer before the end: {ahead:?}");
    let (mut read, mut write) = tokio::io::split(stream);
    let mut body = tokio::io::repeat(b'x');
    let mut answer = Vec::new();
    let writing = async {
        let _ = tokio::io::copy(&mut body, &mut write).await;
        // What the other end thinks of it is its answer.
        std::future::pending().await
    };
    let reading = async {
        // An RST is an end as well.
        let _ = read.read_to_end(&mut answer).await;
    };
    let both = async {
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
    };
    within(PATIENCE, "the end of an upload", both).await;
    answer.is_empty() || answer.starts_with(b"HTTP/1.1 50")
}

/// Every load at once, each in a tunnel of its own whose network loses what goes these ways.
async fn lost(ways: &'static [Way]) {
    let _turn = alone().await;
    let case = |fault, lose: fn(&Link, &[Way]), load| async move {
        // Slow enough for bodies to be still under way when the network dies.
        let lane = Lane::at_rate(8_000_000);
        let case = Case::start(format!("{ways:?} {fault}, {load:?}"), lane).await;
        Box::pin(case.dies(lose, ways, load)).await
    };
    let found = tokio::join!(
        case("swallows", Link::swallow, Load::Idle),
        case("swallows", Link::swallow, Load::Scrapes),
        case("swallows", Link::swallow, Load::Answers),
        case("stalls", Link::stall, Load::Answers),
        case("stalls", Link::stall, Load::Uploads),
    );
    let found: [Duration; 5] = found.into();
    measured(&format!("{ways:?} lost, both ends know after"), found);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_bytes_are_lost_is_noticed_by_the_proxy_and_learns_it_from_there() {
    lost(UP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_whose_bytes_are_lost_is_noticed_by_the_client_and_learns_it_from_there() {
    lost(DOWN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_that_lose_each_other_both_notice() {
    lost(BOTH).await;
}

/// A large body that way, with so much of it queued in the network.
async fn slow(way: Way, buffer: usize) {
    let lane = Lane {
        buffer,
        ..Lane::at_rate(SLOW_RATE)
    };
    let case = Case::start(format!("{way:?} slow, {buffer} queued"), lane).await;
    let request = scraper::request("http://pi:9100/slow", &[&timeout_field(60)]);
    let request = match way {
        Way::Up => request,
        Way::Down => {
            let body = "x".repeat(SLOW);
            let length =
                format!("POST http://pi:9100/api/v1/read HTTP/1.1\r\nContent-Length: {SLOW}\r\n");
            request.replacen("GET http://pi:9100/slow HTTP/1.1\r\n", &length, 1) + &body
        }
    };
    let answer = scraper::send(case.proxy.address, request).await.expect(200);
    let carried = match way {
        Way::Up => answer.body.len(),
        Way::Down => case.target.request().body.len(),
    };
    assert_eq!(carried, SLOW, "{}", case.name);
    measured(&case.name, answer.took);
    assert!(answer.took > 2 * DEAD, "{}: {:?}", case.name, answer.took);
    assert_eq!(case.relay.accepted(), 1, "{}", case.name);
    assert_eq!(case.link.ended(), None, "{}", case.name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_network_that_is_busy_is_left_alone() {
    tokio::join!(
        slow(Way::Up, 16 * 1024),
        slow(Way::Up, 1 << 20),
        slow(Way::Down, 16 * 1024),
        slow(Way::Down, 1 << 20),
    );
}
