//! a and h: a dead link that is taken for slow, and a slow one that is taken for dead.

use http_body_util::channel::{Channel, Sender};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::link::{Lane, Switch, WIDE, link};
use super::*;

/// As [`Tunnel::open`], with the keep-alive that people switch on at a client against row a: its
/// timeout stays hyper's default, 20 s.
async fn open<F>(settings: Settings, sockets: (Socket, Socket), answer: F) -> Tunnel
where
    F: Fn(Request<Incoming>) -> Response<Answer> + Send + Sync + 'static,
{
    if settings == Ours {
        return Tunnel::open(settings, sockets, answer).await;
    }
    let (proxy, mut client) = defaults();
    client.keep_alive_interval(Duration::from_secs(15));
    Tunnel::over(sockets, Endings::default(), proxy, client, answer).await
}

/// A tunnel whose link is dead from now on, in the middle of a scrape.
struct DeadLink {
    tunnel: Tunnel,
    since: Instant,
    scrape: Incoming,
    target: Sender<Bytes>,
}

async fn dead_link(settings: Settings) -> DeadLink {
    let uplink = Lane {
        buffer: 64 * 1024,
        ..WIDE
    };
    let (proxy, client, to_client, to_proxy) = link(WIDE, uplink);
    let (targets, mut target) = mpsc::unbounded_channel();
    let tunnel = open(settings, (proxy, client), move |_| {
        let (sender, body) = Channel::new(1);
        targets.send(sender).unwrap();
        Response::new(settings.body(body))
    })
    .await;
    let scrape = tunnel.head(get("/metrics")).await.unwrap().into_body();
    to_client.hold();
    to_proxy.hold();
    DeadLink {
        tunnel,
        since: Instant::now(),
        scrape,
        target: target.recv().await.unwrap(),
    }
}

/// More than the link takes and less than one stream's window: it waits for the socket alone.
const UNSENT: &[u8] = &[b'x'; 256 * 1024];

#[tokio::test(start_paused = true)]
async fn a_dead_link_with_data_unsent() {
    // hyper's keep-alive does its work as long as there is nothing to send,
    let idle = dead_link(Defaults).await;
    assert!(within(idle.tunnel.client).await.unwrap().is_err());
    assert_eq!(idle.since.elapsed().as_secs(), 35);
    // and never ends otherwise: the GOAWAY it says first cannot leave.
    let mut busy = dead_link(Defaults).await;
    busy.target.send_data(UNSENT.into()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!busy.tunnel.client.is_finished());

    let mut busy = dead_link(Ours).await;
    busy.target.send_data(UNSENT.into()).await.unwrap();
    assert!(within(&mut busy.tunnel.client).await.unwrap().is_err());
    assert_eq!(busy.since.elapsed().as_secs(), 45);
    assert!(drain(busy.scrape).await.is_err());
    assert_eq!(busy.since.elapsed().as_secs(), 45);
    let silent = End::Silent(Duration::from_secs(45));
    assert_eq!(busy.tunnel.ends(), (Some(&silent), Some(&silent)));
}

const MBIT: u32 = 1_000_000 / 8;

/// Scrapes over an uplink of 1 Mbit/s that has 4 MiB of buffer, half a minute, in front of it.
async fn slow_uplink(
    settings: Settings,
    scrapes: usize,
    length: usize,
) -> (Tunnel, Switch, Vec<JoinHandle<hyper::Result<usize>>>) {
    let delay = Duration::from_millis(25);
    let downlink = Lane { delay, ..WIDE };
    let uplink = Lane {
        rate: Some(MBIT),
        delay,
        buffer: 4 * 1024 * 1024,
    };
    let (proxy, client, _, to_proxy) = link(downlink, uplink);
    let tunnel = open(settings, (proxy, client), move |request| {
        Response::new(match request.uri().path() {
            "/large" => settings.body(pieces(length / 4096, &[b'x'; 4096])),
            _ => full("ok"),
        })
    })
    .await;
    let mut scraping = Vec::new();
    for _ in 0..scrapes {
        let head = tunnel.head(get("/large"));
        scraping.push(tokio::spawn(async { drain(head.await?.into_body()).await }));
    }
    (tunnel, to_proxy, scraping)
}

/// Scrapes and the bytes of each. An end that receives updates a window when half of it was used:
/// with sixteen scrapes of 1 MiB that is every half minute, with 64 of a quarter never.
const LOADS: [(usize, usize); 2] = [(16, 1 << 20), (64, 1 << 18)];

#[tokio::test(start_paused = true)]
async fn h_a_slow_uplink_with_much_queued_and_defaults() {
    for (scrapes, length) in LOADS {
        let start = Instant::now();
        let (mut tunnel, uplink, scraping) = slow_uplink(Defaults, scrapes, length).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        let delivered = uplink.delivered();
        assert!(
            delivered > 29 * u64::from(MBIT),
            "busy all the time: {delivered}"
        );

        tunnel.assert_died("KeepAliveTimedOut").await;
        assert!(start.elapsed().as_secs() < 75, "{:?}", start.elapsed());
        let mut failed = 0;
        for scrape in scraping {
            failed += usize::from(scrape.await.unwrap().is_err());
        }
        assert!(failed > scrapes / 2, "{failed}");
    }
}

#[tokio::test(start_paused = true)]
async fn h_a_slow_uplink_with_much_queued_and_ours() {
    for (scrapes, length) in LOADS {
        let start = Instant::now();
        let (tunnel, _, scraping) = slow_uplink(Ours, scrapes, length).await;
        for scrape in scraping {
            assert_eq!(within(scrape).await.unwrap().unwrap(), length);
        }
        assert!(start.elapsed().as_secs() > 130, "{:?}", start.elapsed());
        tunnel.assert_alive().await;
    }
}
