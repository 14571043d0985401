//! `localhost` is two addresses, and a service may be on either.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use adit_tests::pair::Pair;
use adit_tests::ports;
use adit_tests::scraper;
use adit_tests::target::answers::{metric, ok};
use adit_tests::target::{Ear, Target};
use adit_tests::turn::{alone, measured};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What RFC 8305 gives an attempt before the next begins beside it.
const STAGGER: Duration = Duration::from_millis(250);
/// Twice [`STAGGER`], and what a busy machine adds. Whoever waits
/// for a family that hangs waits for the deadline of the scrape, ten seconds.
const SOON: Duration = Duration::from_secs(5);

/// Listeners on some of the loopbacks, with one port; those not wanted are closed.
fn ears(families: &str) -> Vec<Ear> {
    let (v4, v6) = ports::both_loopbacks();
    match families {
        "IPv4 only" => vec![Ear::Tcp(v4)],
        "IPv6 only" => vec![Ear::Tcp(v6)],
        _ => vec![Ear::Tcp(v4), Ear::Tcp(v6)],
    }
}

/// Gives what it took.
async fn scrape_in_time(what: &str, port: u16) -> Duration {
    let pair = Pair::start(&[&format!("--target=pi:9100=http://localhost:{port}")]).await;
    let answer = pair.scrape("http://pi:9100/metrics").await.expect(200);
    measured(&format!("localhost, {what}"), answer.took);
    assert_eq!(answer.text(), metric("found"));
    assert!(answer.took < SOON, "{what}: {:?}", answer.took);
    answer.took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_on_either_or_both_families_is_found() {
    let _turn = alone().await;
    for what in ["IPv4 only", "IPv6 only", "both"] {
        let target = Target::at(ears(what), ok(metric("found")));
        let took = scrape_in_time(what, target.port()).await;
        let knocks = target.journal().connections.len();
        // A busy machine may take so long that the second rightly sets out.
        assert!(knocks == 1 || took >= STAGGER, "{what}: {knocks} knock");
    }
}

/// A listener whose queue is full: the kernel drops every further SYN, as a firewall does.
async fn hanging(address: SocketAddr) -> (Socket, TcpStream) {
    let domain = if address.is_ipv4() {
        Domain::IPV4
    } else {
        Domain::IPV6
    };
    let socket = Socket::new(domain, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(0).unwrap();
    let filler = TcpStream::connect(address).await.unwrap();
    let probe = timeout(Duration::from_millis(100), TcpStream::connect(address)).await;
    assert!(probe.is_err(), "the queue is not full");
    (socket, filler)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_family_that_hangs_does_not_hang_the_scrape() {
    let _turn = alone().await;
    for hangs in ["IPv4", "IPv6"] {
        let (v4, v6) = ports::both_loopbacks();
        let (works, gone) = if hangs == "IPv4" { (v6, v4) } else { (v4, v6) };
        let address = gone.local_addr().unwrap();
        drop(gone);
        let target = Target::at(vec![Ear::Tcp(works)], ok(metric("found")));
        let _hanging = hanging(address).await;
        scrape_in_time(&format!("{hangs} hangs"), target.port()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_upstream_is_the_targets_port_at_localhost() {
    for what in ["IPv4 only", "IPv6 only"] {
        let target = Target::at(ears(what), ok(metric("found")));
        let pair = Pair::start(&[&format!("--target=pi:{}", target.port())]).await;
        let answer = pair
            .scrape(&format!("http://pi:{}/metrics", target.port()))
            .await;
        assert_eq!(answer.expect(200).text(), metric("found"), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_programs_listen_on_both_loopbacks_by_name() {
    let target = Target::start(ok(metric("found")));
    let port = ports::unused();
    let address = format!("--web.listen-address=localhost:{port}");
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let config = adit_proxy::Config::from_args([&address]).unwrap();
    let listeners = config.bind().await.unwrap();
    assert_eq!(listeners.len(), 2);
    let orders = adit_common::shutdown::Orders::default();
    let running = tokio::spawn(adit_proxy::run(config, listeners, orders.clone()));
    let url = format!("http://localhost:{port}");
    let _client = adit_tests::pair::Client::start(&[&url], &[&flag]).await;
    for address in [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        (Ipv6Addr::LOCALHOST, port).into(),
    ] {
        scraper::scrape(address, "http://pi:9100/metrics")
            .await
            .expect(200);
    }
    orders.shutdown.cancel();
    drop(_client);
    running.await.unwrap().unwrap();
}
