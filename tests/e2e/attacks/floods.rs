//! Ten thousand who hold on to what they have half opened, while somebody scrapes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_tests::binaries::Proxy;
use adit_tests::metrics::Metrics;
use adit_tests::pair::config;
use adit_tests::room::room_for;
use adit_tests::scraper::{self, Answer, Connection};
use adit_tests::tls::Authority;
use adit_tests::tunnel::FakeClient;
use adit_tests::turn::{alone, measured};
use adit_tests::wait::{PATIENCE, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

const ATTACKERS: usize = 10_000;
/// Held when it counts: a few may be on their way.
const HELD: f64 = 9_500.0;
/// Longer than all of them take to come and a scraper to look, on a slow machine: by the default those
/// who came first would have been thrown out meanwhile.
const LIMITS: &str = "limits: {head_time: 60s, handshake_time: 60s}\n";
/// Of whom a few, and not all, would be connecting at a time.
const AT_ONCE: usize = 128;
const SCRAPES: usize = 200;
/// What two cores add that others use as well.
const SLACK: Duration = Duration::from_millis(100);

/// What somebody sends before they fall silent.
#[derive(Debug, Clone, Copy)]
enum Half {
    Nothing,
    /// The beginning of a request.
    Head,
    /// A head that never ends, some bytes a second.
    Drip,
    /// The beginning of a ClientHello.
    Hello,
}

const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
const HEAD: &[u8] = b"GET http://pi:9100/metrics HTTP/1.1\r\nHost: pi:9100\r\nX-Slow: ";

/// Dials, says its half, and dials again when it is thrown out.
async fn hold_on(proxy: SocketAddr, source: Ipv4Addr, half: Half, dialling: Arc<Semaphore>) {
    loop {
        let permit = dialling.acquire().await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        let Ok(mut stream) = socket.connect(proxy).await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        drop(permit);
        let said = match half {
            Half::Nothing => &b""[..],
            Half::Head | Half::Drip => HEAD,
            Half::Hello => HELLO,
        };
        if stream.write_all(said).await.is_err() {
            continue;
        }
        let mut pace = interval(Duration::from_millis(500));
        let mut buffer = [0; 1024];
        loop {
            tokio::select! {
                read = stream.read(&mut buffer) => match read {
                    Ok(1..) => {}
                    _ => break,
                },
                _ = pace.tick(), if matches!(half, Half::Drip) => {
                    if stream.write_all(b"x").await.is_err() {
                        break;
                    }
                }
            }
        }
    }
}

/// All of them, each from somewhere else.
fn attack(proxy: SocketAddr, kinds: &[Half]) -> JoinSet<()> {
    let dialling = Arc::new(Semaphore::new(AT_ONCE));
    let mut attackers = JoinSet::new();
    for n in 0..ATTACKERS {
        let [_, _, high, low] = u32::try_from(n).unwrap().to_be_bytes();
        let source = Ipv4Addr::new(127, 2, high, low);
        let half = kinds[n % kinds.len()];
        attackers.spawn(hold_on(proxy, source, half, Arc::clone(&dialling)));
    }
    attackers
}

/// Whoever scrapes meanwhile, in clear or by TLS.
struct Scraper<'a> {
    proxy: SocketAddr,
    tls: Option<&'a Authority>,
}

impl Scraper<'_> {
    async fn ask(&self, request: &str) -> Answer {
        let stream = TcpStream::connect(self.proxy).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match self.tls {
            None => Connection::over(stream).exchange(request).await,
            Some(authority) => {
                let tls = authority.connect("localhost", stream).await;
                Connection::over(tls).exchange(request).await
            }
        }
    }

    async fn metrics(&self) -> Metrics {
        let page = self.ask(&scraper::page_request("/metrics")).await;
        Metrics::parse(&page.expect(200).text())
    }

    /// The median and the 99th of a hundred: of scrapes each on a connection of its own, the dearer
    /// kind.
    async fn latency(&self) -> [Duration; 2] {
        let mut took = Vec::with_capacity(SCRAPES);
        for _ in 0..SCRAPES {
            let started = Instant::now();
            let answer = self
                .ask(&scraper::request("http://pi:9100/metrics", &[]))
                .await;
            assert_eq!(answer.expect(200).text(), "fake 1\n");
            took.push(started.elapsed());
        }
        took.sort_unstable();
        [took[SCRAPES / 2], took[SCRAPES * 99 / 100]]
    }

    /// Connections and tasks, files and memory.
    async fn held(&self) -> [f64; 3] {
        let metrics = self.metrics().await;
        [
            "adit_proxy_connections",
            "adit_proxy_tasks",
            "process_open_fds",
        ]
        .map(|gauge| metrics.sum(gauge))
    }
}

async fn withstand(what: &str, proxy: &Proxy, scraper: &Scraper<'_>, kinds: &[Half]) {
    let free = scraper.held().await;
    let before = scraper.latency().await;
    let started = Instant::now();
    let attackers = attack(proxy.address, kinds);
    let besieged = async || match scraper.metrics().await.sum("adit_proxy_connections") {
        HELD.. => Ok(()),
        held => Err(held.to_string()),
    };
    eventually(PATIENCE, "ten thousand hold on", besieged).await;
    measured(&format!("10,000 {what} came within"), started.elapsed());
    let during = scraper.latency().await;
    besieged().await.expect("they are still there");
    measured(
        &format!("a scrape before and during them, p50 and p99, {what}"),
        (before, during),
    );
    assert!(
        during[0] < 2 * before[0] + SLACK,
        "{what}: {before:?}, {during:?}"
    );
    let each = proxy.program.memory().resident / ATTACKERS as u64;
    measured(&format!("memory for each, bytes, {what}"), each);
    assert!(each < 64 << 10, "{each} bytes for each");
    drop(attackers);
    let left = Instant::now();
    eventually(PATIENCE, "all of it is given back", async || {
        let now = scraper.held().await;
        // One of its own tasks more or less may be under way.
        match now.iter().zip(&free).all(|(now, free)| *now <= free + 2.0) {
            true => Ok(()),
            false => Err(format!("{now:?}, {free:?} before")),
        }
    })
    .await;
    measured(&format!("all given back after, {what}"), left.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_slow_heads_do_not_slow_a_scrape() {
    let _turn = alone().await;
    room_for(2 * ATTACKERS as u64).await;
    let (_folder, config) = config(LIMITS);
    let proxy = Proxy::start(&[&config]).await;
    let client = FakeClient::register(proxy.address, r#"{"names":["pi"]}"#).await;
    client.accepted().await;
    let scraper = Scraper {
        proxy: proxy.address,
        tls: None,
    };
    let kinds = [
        Half::Nothing,
        Half::Head,
        Half::Head,
        Half::Head,
        Half::Drip,
    ];
    withstand("slow heads", &proxy, &scraper, &kinds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_half_handshakes_do_not_slow_a_scrape() {
    let _turn = alone().await;
    room_for(2 * ATTACKERS as u64).await;
    let authority = Authority::new();
    authority.issue("proxy", &["localhost"]);
    let web = authority.folder().join("web.yml");
    let text = "tls_server_config: {cert_file: proxy.pem, key_file: proxy-key.pem}\n";
    std::fs::write(&web, text).unwrap();
    let (_folder, config) = config(LIMITS);
    let web = format!("--web.config.file={}", web.display());
    let proxy = Proxy::start(&[&web, &config]).await;
    let url = format!("https://localhost:{}", proxy.address.port());
    let target = adit_tests::target::Target::start(adit_tests::target::answers::ok("fake 1\n"));
    let _client = adit_tests::pair::Client::start(
        &[&url],
        &[
            &format!("--tls.ca-file={}", authority.ca_file().display()),
            &format!("--target=pi:9100=http://{}", target.address()),
        ],
    )
    .await;
    let scraper = Scraper {
        proxy: proxy.address,
        tls: Some(&authority),
    };
    withstand(
        "half handshakes",
        &proxy,
        &scraper,
        &[Half::Nothing, Half::Hello],
    )
    .await;
}
