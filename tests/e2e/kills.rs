//! Each program killed in the middle of scrapes: the scraper sees a failure, the others give back
//! all they held for it, and when it is started again things work as before.

use std::net::SocketAddr;
use std::process::Command;

use adit_tests::binaries::{Client, Proxy};
use adit_tests::metrics::{Held, Metrics, SOON};
use adit_tests::pair;
use adit_tests::ports;
use adit_tests::program::{Program, debian};
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper::{Answer, Connection, End, Head, scrape};
use adit_tests::target::answers::{chunk, head_of_chunks, ok};
use adit_tests::target::{Request, Step, Target};
use adit_tests::turn::measured;
use adit_tests::wait::{PATIENCE, eventually};

/// How far a scrape has come when somebody is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    BeforeTheHead,
    MidBody,
    /// In the middle of a body that is inside a CONNECT: no framing of ours is around it.
    MidConnect,
}

const EACH: [When; 3] = [When::BeforeTheHead, When::MidBody, When::MidConnect];

/// A scrape that has come so far and no further.
struct Stuck {
    when: When,
    connection: Connection,
    /// Of the answer that has begun.
    head: Option<Head>,
}

impl Stuck {
    /// Asks `pi:9100` by this proxy, and waits for the first part of the body where there is one.
    async fn at(proxy: SocketAddr, when: When, path: &str) -> Self {
        let mut connection = Connection::open(proxy).await;
        let mut uri = format!("http://pi:9100{path}");
        if when == When::MidConnect {
            let connect = "CONNECT pi:9100 HTTP/1.1\r\nHost: pi:9100\r\n\r\n";
            connection.write(connect).await;
            assert_eq!(connection.head_and_no_more().await.status, 200);
            uri = path.to_owned();
        }
        // Not compressed: the first part of a body shall be a small part.
        let request = format!("GET {uri} HTTP/1.1\r\nHost: pi:9100\r\n\r\n");
        connection.write(request).await;
        let mut head = None;
        if when != When::BeforeTheHead {
            let first = connection.head().await;
            assert_eq!(first.status, 200, "{when:?}: {first:?}");
            connection.wait_for_bytes(4).await;
            head = Some(first);
        }
        Self {
            when,
            connection,
            head,
        }
    }

    /// Reads to the end, which must not look like a good one.
    async fn fails(mut self) {
        let (status, end) = match &self.head {
            Some(head) => (head.status, self.connection.body(head).await.1),
            None => {
                let Answer { head, end, .. } = self.connection.exchange("").await;
                (head.status, end)
            }
        };
        let cut = matches!(end, End::Cut(_));
        let refused = self.when == When::BeforeTheHead && status >= 500;
        assert!(cut || refused, "{:?}: {status}, {end:?}", self.when);
    }
}

/// One of each kind, at a target that does as [`stalling`] does.
async fn one_of_each(proxy: SocketAddr, target: &Target) -> Vec<Stuck> {
    let mut stuck = Vec::new();
    for when in EACH {
        let path = match when {
            When::BeforeTheHead => "/nothing",
            When::MidBody | When::MidConnect => "/half",
        };
        stuck.push(Stuck::at(proxy, when, path).await);
    }
    target.nth_request(EACH.len()).await;
    stuck
}

/// Answers `/half` by half, `/nothing` not at all, and anything else as it should.
fn stalling() -> Target {
    Target::start(|request: &Request| match request.path() {
        "/nothing" => vec![Step::Stall],
        "/half" => vec![
            Step::send(head_of_chunks() + &chunk("half 1\n")),
            Step::Stall,
        ],
        _ => ok("whole 1\n"),
    })
}

fn offering(target: SocketAddr) -> String {
    format!("--target=pi:9100=http://{target}")
}

async fn works(proxy: SocketAddr) {
    let answer = scrape(proxy, "http://pi:9100/metrics").await;
    assert!(!answer.expect(200).body.is_empty());
}

async fn nothing_under_way(client: &Client) {
    eventually(SOON, "a client without a scrape", async || {
        let metrics = Metrics::of(client.web).await;
        let gauges = ["sessions", "scrapes_in_flight", "connects_open"];
        let left = gauges.map(|gauge| metrics.sum(&format!("adit_client_{gauge}")));
        if left == [0.0; 3] {
            Ok(())
        } else {
            Err(format!("{gauges:?} {left:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_killed_leaves_nothing_at_the_proxy() {
    let target = stalling();
    let proxy = Proxy::start(&[]).await;
    let before = Held::by_proxy(proxy.address).await;
    let flag = offering(target.address());
    let mut client = Client::start(&proxy.url(), &[&flag]).await;
    let stuck = one_of_each(proxy.address, &target).await;

    client.program.kill();
    for scrape in stuck {
        scrape.fails().await;
    }
    let took = before.again("its client was killed").await;
    measured(
        "a client was killed, its proxy back at its base after",
        took,
    );
    target.all_closed().await;

    let _client = Client::start(&proxy.url(), &[&flag]).await;
    works(proxy.address).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_is_killed_leaves_nothing_at_the_client() {
    let target = stalling();
    let address = SocketAddr::from(([127, 0, 0, 1], ports::unused()));
    let listen = format!("--web.listen-address={address}");
    let mut proxy = Proxy::start(&[&listen]).await;
    let url = format!("http://{address}");
    let client = Client::start(&url, &[&offering(target.address())]).await;
    let before = Held::by_client(client.web).await;
    let stuck = one_of_each(address, &target).await;

    proxy.program.kill();
    for scrape in stuck {
        scrape.fails().await;
    }
    nothing_under_way(&client).await;
    target.all_closed().await;

    let _proxy = Proxy::start(&[&listen]).await;
    let took = before.again("its proxy was started again").await;
    measured("a proxy is back, its client at its base after", took);
    works(address).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_that_is_killed_leaves_nothing_anywhere() {
    let target = stalling();
    let proxy = Proxy::start(&[]).await;
    let client = Client::start(&proxy.url(), &[&offering(target.address())]).await;
    pair::knows(proxy.address, "pi").await;
    let before = [
        Held::by_proxy(proxy.address).await,
        Held::by_client(client.web).await,
    ];
    let job = |path: &str| {
        let url = proxy.url();
        format!(
            "- job_name: {path}\n  metrics_path: /{path}\n  proxy_url: {url}\n  \
             static_configs: [{{targets: ['pi:9100']}}]\n"
        )
    };
    let jobs = job("nothing") + &job("half");
    let mut prometheus = Prometheus::with_interval("5s", &jobs).await;
    let both = |journal: &adit_tests::target::Journal| {
        let open = journal.connections.iter().filter(|c| c.closed.is_none());
        let asked: Vec<&str> = open.flat_map(|c| &c.requests).map(Request::path).collect();
        asked.contains(&"/nothing") && asked.contains(&"/half")
    };
    target.until("both scrapes at once", both).await;

    prometheus.kill();
    for held in &before {
        let took = held.again("its Prometheus was killed").await;
        measured("Prometheus was killed, all given back after", took);
    }
    target.all_closed().await;

    let prometheus = Prometheus::start(&(jobs + &job("metrics"))).await;
    prometheus.is_up("metrics").await;
    for path in ["nothing", "half"] {
        prometheus.is_down(path).await;
    }
    assert_eq!(prometheus.query("half").await, []);
}

/// A real exporter that can be started again where it was.
struct Exporter {
    address: SocketAddr,
    folder: tempfile::TempDir,
    program: Program,
}

impl Exporter {
    /// With a page of 16 MiB, far more than all the buffers on its way hold.
    async fn with_a_large_page() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let label = "x".repeat(16 * 1024);
        let page: String = (0..1024)
            .map(|n| format!("large{{n=\"{n}\",x=\"{label}\"}} {n}\n"))
            .collect();
        std::fs::write(folder.path().join("large.prom"), page).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], ports::unused()));
        let program = Self::launch(address, folder.path()).await;
        Self {
            address,
            folder,
            program,
        }
    }

    async fn start_again(&mut self) {
        std::fs::remove_file(self.folder.path().join("large.prom")).unwrap();
        self.program = Self::launch(self.address, self.folder.path()).await;
    }

    async fn launch(address: SocketAddr, folder: &std::path::Path) -> Program {
        let path = debian("prometheus-node-exporter", "prometheus-node-exporter");
        let mut command = Command::new(path);
        command
            .arg(format!("--web.listen-address={address}"))
            .arg("--collector.disable-defaults")
            .arg("--collector.textfile")
            .arg(format!(
                "--collector.textfile.directory={}",
                folder.display()
            ));
        let program = Program::start(&command);
        program.line("Listening on").await;
        program
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_killed_leaves_nothing_anywhere() {
    let mut exporter = Exporter::with_a_large_page().await;
    let proxy = Proxy::start(&[]).await;
    let client = Client::start(&proxy.url(), &[&offering(exporter.address)]).await;
    pair::knows(proxy.address, "pi").await;
    let before = [
        Held::by_proxy(proxy.address).await,
        Held::by_client(client.web).await,
    ];
    let mut stuck = Vec::new();
    for when in [When::MidBody, When::MidConnect] {
        stuck.push(Stuck::at(proxy.address, when, "/metrics").await);
    }
    // Stopped, it takes connections and answers none.
    exporter.program.signal("STOP");
    stuck.push(Stuck::at(proxy.address, When::BeforeTheHead, "/metrics").await);
    eventually(PATIENCE, "all at the client", async || {
        let metrics = Metrics::of(client.web).await;
        let gauges = ["scrapes_in_flight", "connects_open"];
        let under_way = gauges.map(|gauge| metrics.sum(&format!("adit_client_{gauge}")));
        if under_way == [2.0, 1.0] {
            Ok(())
        } else {
            Err(format!("{gauges:?} {under_way:?}"))
        }
    })
    .await;

    exporter.program.kill();
    for scrape in stuck {
        scrape.fails().await;
    }
    for held in &before {
        let took = held.again("the target was killed").await;
        measured("a target was killed, all given back after", took);
    }

    exporter.start_again().await;
    works(proxy.address).await;
}
