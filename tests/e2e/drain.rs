//! R7: a proxy that stops loses no scrape, whether another is beside it or it comes back itself.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use adit_tests::binaries;
use adit_tests::metrics::Metrics;
use adit_tests::pair::{self, Client, Proxy};
use adit_tests::ports;
use adit_tests::program::Program;
use adit_tests::scraper::{self, Answer, Connection, End};
use adit_tests::target::answers::{chunk, head_of_chunks, ok};
use adit_tests::target::{Gate, Step, Target};
use adit_tests::turn::measured;
use adit_tests::wait::{PATIENCE, eventually, within};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const CLIENTS: usize = 20;
const GAP: Duration = Duration::from_millis(50);
/// What a scrape may take, in seconds: a client that is told to move may find nobody a few times, and
/// waits up to 1, 1, 2, 4 and 8 s in between.
const MOVE: u32 = 20;

/// A proxy at an address that it keeps over restarts.
struct Server {
    address: SocketAddr,
    program: Program,
}

impl Server {
    async fn start(address: SocketAddr) -> Self {
        let mut command = Command::new(binaries::path("adit-proxy"));
        command
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--scrape.startup-wait={MOVE}s"));
        let program = Program::start(&command);
        program.line("msg=listening").await;
        Self { address, program }
    }

    /// Told to stop as systemd does it, and started again as soon as it has.
    async fn restarted(self) -> Self {
        self.program.signal("TERM");
        let ended = self.program.finished().await;
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        Self::start(self.address).await
    }
}

fn address() -> SocketAddr {
    ([127, 0, 0, 1], ports::unused()).into()
}

async fn clients(target: &Target, urls: &[&str]) -> Vec<Client> {
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let flag = format!("--target=site{n}:9100=http://{}", target.address());
        clients.push(Client::start(urls, &[&flag]).await);
    }
    clients
}

/// Scrapes the proxies in turn, and asks the next when one cannot be reached or says nothing: what
/// any balancer does.
async fn scrape(proxies: &[SocketAddr], n: usize) -> Result<Answer, String> {
    let uri = format!("http://site{}:9100/metrics", n % CLIENTS);
    let request = scraper::request(&uri, &[&scraper::timeout_field(MOVE)]);
    let deadline = Instant::now() + Duration::from_secs(MOVE.into());
    let mut proxies = proxies.iter().cycle().skip(n % proxies.len());
    while Instant::now() < deadline {
        let proxy = *proxies.next().expect("a cycle");
        let Ok(stream) = TcpStream::connect(proxy).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let answer = Connection::over(stream).exchange(&request).await;
        // No head: the connection was still waiting to be accepted.
        if answer.head.status != 0 {
            return Ok(answer);
        }
    }
    Err("no proxy answered".into())
}

/// Scrapes every 50 ms while `meanwhile` runs, and gives how many that were. Each must succeed; what
/// `meanwhile` leaves runs until they have.
async fn scraping_while<T>(proxies: &[SocketAddr], meanwhile: impl Future<Output = T>) -> usize {
    let mut scrapes = JoinSet::new();
    let mut ticks = tokio::time::interval(GAP);
    tokio::pin!(meanwhile);
    let mut n = 0;
    let _left = loop {
        tokio::select! {
            biased;
            left = &mut meanwhile => break left,
            _ = ticks.tick() => {}
        }
        let proxies = proxies.to_vec();
        scrapes.spawn(async move { (n, scrape(&proxies, n).await) });
        n += 1;
    };
    let count = scrapes.len();
    let mut failed = Vec::new();
    let mut slowest = Duration::ZERO;
    while let Some(done) = scrapes.join_next().await {
        match done.expect("no panic") {
            (_, Ok(answer)) if answer.head.status == 200 && answer.end == End::Complete => {
                assert_eq!(answer.text(), "m 1\n");
                slowest = slowest.max(answer.took);
            }
            (n, other) => failed.push((n, other)),
        }
    }
    assert!(failed.is_empty(), "{} of {count}: {failed:?}", failed.len());
    measured("the slowest of them", slowest);
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_of_two_proxies_each_can_be_restarted_without_a_failed_scrape() {
    const WHOLE: Duration = Duration::from_secs(60);
    let target = Target::start(ok("m 1\n"));
    let (one, two) = (
        Server::start(address()).await,
        Server::start(address()).await,
    );
    let addresses = [one.address, two.address];
    let urls = addresses.map(|address| format!("http://{address}"));
    let _clients = clients(&target, &[&urls[0], &urls[1]]).await;
    for address in addresses {
        all_here(address).await;
    }
    let started = Instant::now();
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let one = one.restarted().await;
        tokio::time::sleep(Duration::from_secs(15)).await;
        let two = two.restarted().await;
        tokio::time::sleep(WHOLE.saturating_sub(started.elapsed())).await;
        (one, two)
    };
    let count = scraping_while(&addresses, meanwhile).await;
    measured(
        "scrapes over two restarts of two proxies, none failed",
        count,
    );
    assert!(count >= 1000, "{count}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_one_proxy_can_be_restarted_without_a_failed_scrape() {
    let target = Target::start(ok("m 1\n"));
    let proxy = Server::start(address()).await;
    let address = proxy.address;
    let _clients = clients(&target, &[&format!("http://{address}")]).await;
    let meanwhile = async {
        let mut proxy = proxy;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let stopped = Instant::now();
            proxy = proxy.restarted().await;
            measured("a proxy restarted in place within", stopped.elapsed());
            all_here(address).await;
        }
        proxy
    };
    let count = scraping_while(&[address], meanwhile).await;
    measured(
        "scrapes over three restarts of one proxy, none failed",
        count,
    );
}

async fn all_here(proxy: SocketAddr) {
    eventually(PATIENCE, "every client is back", async || {
        let Ok(answer) = scraper::try_page(proxy, "/metrics").await else {
            return Err("nobody listens".to_owned());
        };
        let all = format!("\nadit_proxy_sessions {CLIENTS}\n");
        match answer.text() {
            page if page.contains(&all) => Ok(()),
            page => Err(page),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_a_client_opens_its_next_tunnel_while_the_old_one_finishes_its_scrape() {
    let gate = Gate::default();
    let target = Target::start(vec![
        Step::send(head_of_chunks() + &chunk("one 1\n")),
        Step::Wait(gate.clone()),
        Step::send(chunk("two 2\n") + "0\r\n\r\n"),
        Step::Next,
    ]);
    let proxy = Server::start(address()).await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let url = format!("http://{}", proxy.address);
    let client = Client::start(&[&url], &[&flag]).await;
    let mut scraper = Connection::open(proxy.address).await;
    let request = scraper::request("http://pi:9100/metrics", &[&scraper::timeout_field(60)]);
    scraper.write(request).await;
    let head = scraper.head().await;
    scraper.wait_for_bytes(6).await;
    proxy.program.signal("TERM");
    proxy.program.line("draining").await;
    // It says so before it closes its listener; then its successor takes the address.
    eventually(
        PATIENCE,
        "the old one listens no more",
        async || match TcpStream::connect(proxy.address).await {
            Ok(_) => Err("it does".to_owned()),
            Err(_) => Ok(()),
        },
    )
    .await;
    let successor = Server::start(proxy.address).await;
    pair::knows(successor.address, "pi").await;
    scraper::page(client.web, "/-/ready").await.expect(200);
    // Both ends of the old tunnel are still there, and so is the scrape in it.
    gate.open();
    let (body, end) = scraper.body(&head).await;
    assert_eq!((&*body, end), (&b"one 1\ntwo 2\n"[..], End::Complete));
    let ended = proxy.program.finished().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    scraper::scrape(successor.address, "http://pi:9100/metrics")
        .await
        .expect(200);
    let metrics = Metrics::of(successor.address).await;
    assert_eq!(metrics.sum("adit_proxy_sessions"), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_while_a_proxy_drains_a_connection_that_is_there_is_served_and_closed() {
    let gate = Gate::default();
    let slow = Target::start(vec![
        Step::Wait(gate.clone()),
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nm 1\n"),
        Step::Next,
    ]);
    let quick = Target::start(ok("m 1\n"));
    let proxy = Proxy::start(&[]).await;
    let slow_flag = format!("--target=pi:1=http://{}", slow.address());
    let quick_flag = format!("--target=pi:2=http://{}", quick.address());
    let _client = Client::start(&[&proxy.url()], &[&slow_flag, &quick_flag]).await;
    let mut under_way = Connection::open(proxy.address).await;
    under_way
        .write(scraper::request("http://pi:1/m", &[]))
        .await;
    slow.nth_request(1).await;
    let mut idle = Connection::open(proxy.address).await;
    idle.exchange(scraper::request("http://pi:2/m", &[]))
        .await
        .expect(200);
    // Accepted, and its request is still on its way when the proxy is told to stop.
    let mut fresh = Connection::open(proxy.address).await;
    eventually(PATIENCE, "three connections", async || {
        // And the one that asks.
        match Metrics::of(proxy.address)
            .await
            .sum("adit_proxy_connections")
        {
            count if count >= 5.0 => Ok(()),
            count => Err(count.to_string()),
        }
    })
    .await;
    let stopping = tokio::spawn(proxy.stop());
    let idle = idle.into_stream();
    let closed = async {
        idle.readable().await.expect("a socket");
        idle.try_read(&mut [0; 1])
    };
    let closed = within(PATIENCE, "the idle connection is closed", closed).await;
    assert_eq!(closed.expect("FIN and not RST"), 0);
    let answer = fresh.exchange(scraper::request("http://pi:2/m", &[])).await;
    assert_eq!(answer.expect(200).text(), "m 1\n");
    gate.open();
    let head = under_way.head().await;
    assert_eq!(head.status, 200);
    assert_eq!(head.field("connection").as_deref(), Some("close"));
    let (body, end) = under_way.body(&head).await;
    assert_eq!((&*body, end), (&b"m 1\n"[..], End::Complete));
    stopping.await.expect("a good end");
}
