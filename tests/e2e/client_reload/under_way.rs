//! What is under way when the configuration is read again.

use adit_tests::pair::{Client, Proxy};
use adit_tests::scraper::{self, Connection, End};
use adit_tests::target::answers::{metric, ok};
use adit_tests::target::{Ear, Gate, Target};
use adit_tests::tls::Authority;
use adit_tests::wait::{PATIENCE, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{File, dials, gated, reloaded, targets};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_targets_that_stay_as_they_are_stay_too() {
    let authority = Authority::new();
    let plain = Target::start(ok(metric("plain")));
    let ear = Ear::tls(authority.server(&["localhost"]));
    let tls = Target::at(vec![ear], ok(metric("tls")));
    let any = Target::start(ok(metric("any")));
    std::fs::copy(authority.ca_file(), authority.folder().join("mine.pem")).unwrap();
    let with = |more: &str| {
        format!(
            "names: [self]\nallow_any_port: true\n{more}targets:\n\
             - {{target: pi:1, url: 'http://{}'}}\n\
             - {{target: pi:2, url: 'https://localhost:{}', tls: {{ca_file: {}/mine.pem}}}}\n",
            plain.address(),
            tls.port(),
            authority.folder().display()
        )
    };
    let file = File::new(&with(""));
    let proxy = Proxy::start(&[]).await;
    let client = Client::start(&[&proxy.url()], &[&file.flag()]).await;
    let uris = [
        "http://pi:1/metrics".to_owned(),
        "http://pi:2/metrics".to_owned(),
        format!("http://self:{}/metrics", any.port()),
    ];
    let scrape_all = async || {
        for uri in &uris {
            scraper::scrape(proxy.address, uri).await.expect(200);
        }
    };
    let opened = || [&plain, &tls, &any].map(|target| target.journal().connections.len());
    scrape_all().await;
    file.write(&with("labels: {site: berlin}\n"));
    reloaded(client.web).await;
    scrape_all().await;
    assert_eq!(opened(), [1, 1, 1]);

    // The same words, and another file behind them: who was let in by the old one is not let stay.
    let other = Authority::new();
    std::fs::copy(other.ca_file(), authority.folder().join("mine.pem")).unwrap();
    reloaded(client.web).await;
    for (uri, status) in uris.iter().zip([200, 502, 200]) {
        let answer = scraper::scrape(proxy.address, uri).await;
        assert_eq!(answer.head.status, status, "{uri}");
    }
    assert_eq!(opened()[0], 1);
    assert_eq!(dials(client.web, &proxy).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_under_way_keeps_what_it_began_with() {
    let gate = Gate::default();
    let (old, new) = (gated(&gate), Target::start(ok(metric("new"))));
    let file = File::new(&targets(&[("pi:9100", old.address())]));
    let proxy = Proxy::start(&[]).await;
    let client = Client::start(&[&proxy.url()], &[&file.flag()]).await;
    let mut connection = Connection::open(proxy.address).await;
    let request = scraper::request("http://pi:9100/metrics", &[]);
    connection.write(request).await;
    let head = connection.head().await;
    file.write(&targets(&[("pi:9100", new.address())]));
    reloaded(client.web).await;
    let answer = scraper::scrape(proxy.address, "http://pi:9100/metrics").await;
    assert_eq!(answer.expect(200).text(), metric("new"));
    gate.open();
    let (body, end) = connection.body(&head).await;
    assert_eq!((&*body, end), (&b"one 1\ntwo 2\n"[..], End::Complete));
    // Nobody will ask the old one again: its connection is not kept.
    old.all_closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connect_to_a_target_that_was_withdrawn_ends_when_it_is_quiet() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (kept, gone) = ("raw:7000", "raw:7001");
    let at = listener.local_addr().unwrap();
    let file = File::new(&targets(&[(kept, at), (gone, at)]));
    let proxy = Proxy::start(&[]).await;
    let client = Client::start(&[&proxy.url()], &[&file.flag()]).await;
    let mut pairs = Vec::new();
    for target in [kept, gone] {
        let mut connection = Connection::open(proxy.address).await;
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        connection.write(request).await;
        assert_eq!(connection.head().await.status, 200);
        let accepting = listener.accept();
        let (outer, _) = within(PATIENCE, "a target is dialled", accepting)
            .await
            .unwrap();
        pairs.push((connection.into_stream(), outer));
    }
    file.write(&targets(&[(kept, at)]));
    reloaded(client.web).await;
    let (mut scraper, _target) = pairs.pop().unwrap();
    let mut byte = [0];
    let ending = within(PATIENCE, "the end of a CONNECT", scraper.read(&mut byte)).await;
    assert!(matches!(ending, Ok(0) | Err(_)), "{ending:?}");
    let (mut scraper, mut target) = pairs.pop().unwrap();
    target.write_all(b"x").await.unwrap();
    let reading = scraper.read_exact(&mut byte);
    within(PATIENCE, "a byte by the other", reading)
        .await
        .unwrap();
    assert_eq!(&byte, b"x");
}
