//! Names in the DNS.

use std::net::{Ipv6Addr, SocketAddr};

use adit_tests::dnsmasq::Dnsmasq;
use adit_tests::fake_prometheus::FakePrometheus;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{World, ask, giver};

/// The same port of ::1 leads to `address`.
async fn also_by_ipv6(address: SocketAddr) -> JoinSet<()> {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await;
    let listener = listener.expect("nobody has the port");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (mut from, _) = listener.accept().await.unwrap();
            open.spawn(async move {
                let mut to = TcpStream::connect(address).await.unwrap();
                // Either may go at any time.
                let _ = copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    tasks
}

fn pool(dnsmasq: &Dnsmasq, dns: &str) -> String {
    let server = dnsmasq.address;
    format!("discovery: {{grace: 1h, dns: [{{server: '{server}', refresh: 100ms, {dns}}}]}}")
}

/// Case 56, and both families.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_are_backends_and_stay_while_the_server_is_away() {
    let fake = FakePrometheus::start("fake");
    let _six = also_by_ipv6(fake.address()).await;
    let both = ["--host-record=prom.test,127.0.0.1,::1"];
    let Some(mut dnsmasq) = Dnsmasq::start(&both) else {
        return;
    };
    let port = fake.port();
    let found = |host: &str| format!("http://{host}:{port} dns");
    for (records, hosts) in [
        ("A", &["127.0.0.1"][..]),
        ("AAAA", &["[::1]"]),
        ("addresses", &["127.0.0.1", "[::1]"]),
    ] {
        let dns = format!("name: prom.test, type: {records}, port: {port}");
        let world = World::new(&pool(&dnsmasq, &dns), |_| {}).await;
        let found: Vec<String> = hosts.iter().map(|host| found(host)).collect();
        world.lists(&found).await;
        world.healthy(hosts.len()).await;
        world.answers_of(&["fake"]).await;
        if records != "addresses" {
            continue;
        }
        dnsmasq.stop();
        let error = world.source("dns", "failing").await;
        assert!(error.contains("prom.test"), "{error}");
        world.lists(&found).await;
        world.answers_of(&["fake"]).await;
        dnsmasq = dnsmasq.with_others(&["--host-record=prom.test,::1"]);
        world.source("dns", "answering").await;
        world.lists(&found[1..]).await;
        world.answers_of(&["fake"]).await;
        world.has_no_series_with(&format!("127.0.0.1:{port}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_have_priorities() {
    let [main, mut spare] = ["main", "spare"].map(FakePrometheus::start);
    let records = |spare_first: bool| {
        let priorities = if spare_first { (20, 10) } else { (10, 20) };
        let service = |port: u16, priority: u16| {
            format!("--srv-host=_prom._tcp.test,localhost,{port},{priority},5")
        };
        [
            service(main.port(), priorities.0),
            service(spare.port(), priorities.1),
        ]
    };
    let (first, second) = (records(false), records(true));
    let Some(dnsmasq) = Dnsmasq::start(&first.each_ref().map(String::as_str)) else {
        return;
    };
    let world = World::new(&pool(&dnsmasq, "name: _prom._tcp.test, type: SRV"), |_| {}).await;
    let found = [&main, &spare].map(|fake| format!("http://localhost:{} dns", fake.port()));
    world.lists(&found).await;
    let pool = world.healthy(2).await;
    for backend in pool["backends"].as_array().unwrap() {
        let is_main = backend["url"]
            .as_str()
            .unwrap()
            .ends_with(&main.port().to_string());
        assert_eq!(
            backend["priority"],
            if is_main { 10 } else { 20 },
            "{backend}"
        );
        assert_eq!(backend["weight"], 5, "{backend}");
    }
    for _ in 0..10 {
        assert_eq!(giver(&ask(world.query()).await.expect(200)), "main");
    }
    let dnsmasq = dnsmasq.with_others(&second.each_ref().map(String::as_str));
    world
        .shows("the spare comes first", |pool| {
            pool["backends"].as_array().unwrap().iter().any(|backend| {
                backend["priority"] == 10
                    && backend["state"] == "healthy"
                    && backend["url"]
                        .as_str()
                        .unwrap()
                        .ends_with(&spare.port().to_string())
            })
        })
        .await;
    for _ in 0..10 {
        assert_eq!(giver(&ask(world.query()).await.expect(200)), "spare");
    }
    spare.kill().await;
    for _ in 0..10 {
        assert_eq!(giver(&ask(world.query()).await.expect(200)), "main");
    }
    drop(dnsmasq);
}
